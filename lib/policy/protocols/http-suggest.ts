/**
 * From requests that were seen to the least rules that would allow them. A segment of a path
 * becomes `*` only where several identifiers were seen in its place.
 */
import { byText, sorted } from '../../base/sorted.ts';
import type { Observation, ProposedRule } from '../model/observation.ts';

const READS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * One rule for the paths that were asked for by the same methods of one action: nothing that was
 * not seen is allowed by their combination.
 */
export function suggestHttp(seen: readonly Observation[]): readonly ProposedRule[] {
  const requests = seen.flatMap(({ method, path }) =>
    method === undefined || path === undefined ? [] : [{ method, path }],
  );
  const byPath = new Map<string, Set<string>>();
  for (const [method, asked] of Map.groupBy(requests, (one) => one.method)) {
    for (const pattern of generalised(asked.map(({ path }) => path))) {
      const key = `${READS.has(method) ? 'read' : 'write'} ${pattern}`;
      byPath.set(key, (byPath.get(key) ?? new Set()).add(method));
    }
  }
  const groups = Map.groupBy(
    byPath,
    ([key, methods]) => `${key.split(' ', 1)[0]} ${sorted(methods).join()}`,
  );
  return Array.from(groups, ([key, members]) => {
    const [action = '', methods = ''] = key.split(' ');
    const paths = sorted(members.map(([one]) => one.slice(action.length + 1)));
    return { action, about: { http: { methods: methods.split(','), paths } } };
  }).toSorted((a, b) => byText(a.action, b.action));
}

/** Patterns of paths that were asked for by one method. */
function generalised(paths: readonly string[]): ReadonlySet<string> {
  const shapes = Map.groupBy(new Set(paths), (path) =>
    path
      .split('/')
      .map((one) => (isId(one) ? '*' : escaped(one)))
      .join('/'),
  );
  const patterns = new Set<string>();
  for (const [shape, members] of shapes) {
    const [first = ''] = members;
    const varying = first
      .split('/')
      .map((_, i) => new Set(members.map((path) => path.split('/')[i])).size > 1);
    for (const path of members) {
      const parts = path
        .split('/')
        .map((one, i) => (varying[i] === true ? (shape.split('/')[i] ?? one) : escaped(one)));
      patterns.add(parts.join('/'));
    }
  }
  return patterns;
}

/** A number, a UUID, or a long text of letters and digits. */
function isId(segment: string): boolean {
  if (/^\d+$/.test(segment) || /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(segment))
    return true;
  return (
    /^[\w-]{8,}$/.test(segment) && /\d.*\d/.test(segment) && /^[0-9a-f-]+$|^.{16,}$/i.test(segment)
  );
}

/** A literal star in a pattern. */
function escaped(segment: string): string {
  return segment.replaceAll('*', '%2A');
}
