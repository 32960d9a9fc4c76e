/** What rules about HTTP permit, as permissions that can be compared. */
import { type Segment, parseSegment, segmentIncludes, segmentsMeet } from '../../net/segment.ts';
import { EVERY, type Permission, nameCovers, namesOverlap } from '../model/permission.ts';
import { COMMON_METHODS, type HttpRule } from './http-rules.ts';

class HttpPermission implements Permission {
  readonly method: string;
  readonly path: string;
  readonly #websocket: boolean;
  readonly #content: boolean;

  constructor(method: string, path: string, { http, effect }: HttpRule) {
    this.method = method;
    this.path = path;
    this.#websocket = http.websocket || effect === 'deny';
    this.#content = http.contentOnGet === true || effect === 'deny';
  }

  get text(): string {
    const method = this.method === EVERY ? 'every method' : this.method;
    return `${method} ${this.path}${this.#websocket ? ' and WebSocket' : ''}`;
  }

  covers(other: Permission): boolean {
    return (
      other instanceof HttpPermission &&
      nameCovers(this.method, other.method) &&
      (this.#websocket || !other.#websocket) &&
      (this.#content || !other.#content) &&
      pathCovers(this.path, other.path)
    );
  }

  overlaps(other: Permission): boolean {
    return (
      other instanceof HttpPermission &&
      namesOverlap(this.method, other.method) &&
      pathsOverlap(this.path, other.path)
    );
  }
}

export function httpPermissions(rule: HttpRule): readonly Permission[] {
  const { effect, http } = rule;
  const methods = [...(http.methods ?? (effect === 'deny' ? [EVERY] : COMMON_METHODS))];
  const paths = http.paths?.map(({ text }) => text) ?? ['/**'];
  return methods.flatMap((method) => paths.map((path) => new HttpPermission(method, path, rule)));
}

interface Segments {
  readonly fixed: readonly Segment[];
  /** Any number of segments may follow, none included. */
  readonly open: boolean;
}

function segmentsOf(pattern: string): Segments {
  const all = pattern.split('/').slice(1);
  const open = all.at(-1) === '**';
  return { fixed: (open ? all.slice(0, -1) : all).map(parseSegment), open };
}

function pathCovers(wide: string, narrow: string): boolean {
  const [a, b] = [segmentsOf(wide), segmentsOf(narrow)];
  if (a.fixed.length > b.fixed.length) return false;
  if (!a.open && (b.open || a.fixed.length !== b.fixed.length)) return false;
  return a.fixed.every((segment, i) => segmentIncludes(segment, b.fixed[i] ?? NOTHING));
}

const NOTHING: Segment = Object.freeze(['']);

function pathsOverlap(one: string, other: string): boolean {
  const [a, b] = [segmentsOf(one), segmentsOf(other)];
  const common = Math.min(a.fixed.length, b.fixed.length);
  for (let i = 0; i < common; i += 1) {
    if (!segmentsMeet(a.fixed[i] ?? NOTHING, b.fixed[i] ?? NOTHING)) return false;
  }
  if (a.fixed.length === b.fixed.length) return true;
  return a.fixed.length > b.fixed.length ? b.open : a.open;
}
