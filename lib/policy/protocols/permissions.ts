/**
 * What a rule is about, taken apart into atoms that can be compared: whether one includes another,
 * whether two have a call in common. Patterns are compared as patterns, so the answers hold for
 * every call there could be. `includes` may be told no where yes is right, and `meets` yes where no
 * is right; never the other way.
 */
import { type Segment, parseSegment, segmentIncludes, segmentsMeet } from '../../net/segment.ts';
import type { Rule } from '../model/rule.ts';
import { COMMON_METHODS } from './http.ts';

export type Atom =
  /** Everything that can be asked, as where rules only report. */
  | { readonly kind: 'all' }
  /** A connection in which nothing is seen. */
  | { readonly kind: 'connection' }
  | {
      readonly kind: 'http';
      readonly method: string;
      readonly path: string;
      readonly websocket: boolean;
      readonly content: boolean;
    }
  | { readonly kind: 'tool' | 'prompt' | 'resource' | 'method'; readonly name: string }
  | { readonly kind: 'call'; readonly service: string; readonly method: string };

/** A method, a name, a service: every one. */
const EVERY = '*';

/** A deny rule about nothing in particular is about all; an allow rule about nothing. */
export function atomsOf(rule: Rule): readonly Atom[] {
  const { http, mcp, grpc } = rule;
  if (http !== undefined) return httpAtoms(rule, http);
  if (grpc !== undefined) {
    const methods = [...(grpc.methods ?? [EVERY])];
    return [...(grpc.services ?? [EVERY])].flatMap((service) =>
      methods.map((method) => ({ kind: 'call', service, method }) as const),
    );
  }
  if (mcp === undefined) return rule.effect === 'deny' ? [{ kind: 'all' }] : [];
  return [
    ...Array.from(mcp.tools, (name) => ({ kind: 'tool', name }) as const),
    ...Array.from(mcp.prompts, (name) => ({ kind: 'prompt', name }) as const),
    ...mcp.resources.map(({ text }) => ({ kind: 'resource', name: text }) as const),
    ...Array.from(mcp.methods, (name) => ({ kind: 'method', name }) as const),
  ];
}

function httpAtoms(
  { effect }: Rule,
  { methods, paths, websocket, contentOnGet }: NonNullable<Rule['http']>,
): readonly Atom[] {
  const all = [...(methods ?? (effect === 'deny' ? [EVERY] : COMMON_METHODS))];
  const places = paths?.map(({ text }) => text) ?? ['/**'];
  const upgrades = websocket || effect === 'deny';
  return all.flatMap((method) => {
    const content = contentOnGet === true || effect === 'deny';
    return places.map(
      (path) => ({ kind: 'http', method, path, websocket: upgrades, content }) as const,
    );
  });
}

/** In words: `GET /v1/**`, `tool pay`. */
export function atomText(atom: Atom): string {
  switch (atom.kind) {
    case 'all':
      return 'everything';
    case 'connection':
      return 'a connection, unseen inside';
    case 'http':
      return (
        `${atom.method === EVERY ? 'every method' : atom.method} ` +
        `${atom.path}${atom.websocket ? ' and WebSocket' : ''}`
      );
    case 'call':
      return `call ${atom.service}/${atom.method}`;
    case 'tool':
    case 'prompt':
    case 'resource':
    case 'method':
      return `${atom.kind} ${atom.name}`;
  }
}

/** The method of MCP by which a thing is used: a rule about the method is about all of them. */
const BY_METHOD = Object.freeze({
  tool: 'tools/call',
  prompt: 'prompts/get',
  resource: 'resources/read',
  method: '',
});

/** Whether `a` includes everything that `b` is. */
export function includes(a: Atom, b: Atom): boolean {
  if (a.kind === 'all') return true;
  if (a.kind === 'http')
    return (
      b.kind === 'http' &&
      same(a.method, b.method) &&
      (a.websocket || !b.websocket) &&
      (a.content || !b.content) &&
      pathIncludes(a.path, b.path)
    );
  if (a.kind === 'call')
    return b.kind === 'call' && same(a.service, b.service) && same(a.method, b.method);
  if (a.kind === 'connection' || !('name' in b)) return a.kind === b.kind;
  if (a.kind === b.kind)
    return a.kind === 'resource' ? resourceIncludes(a.name, b.name) : same(a.name, b.name);
  // Resources are used by several methods: no one of them includes a resource.
  return a.kind === 'method' && b.kind !== 'resource' && BY_METHOD[b.kind] === a.name;
}

/** Whether something is both. */
export function meets(a: Atom, b: Atom): boolean {
  if (a.kind === 'all' || b.kind === 'all') return true;
  if (a.kind === 'http' && b.kind === 'http')
    return either(a.method, b.method) && pathsMeet(a.path, b.path);
  if (a.kind === 'call' && b.kind === 'call')
    return either(a.service, b.service) && either(a.method, b.method);
  if (!('name' in a) || !('name' in b)) return a.kind === b.kind;
  if (a.kind === 'resource' && b.kind === 'resource')
    return resourceIncludes(a.name, b.name) || resourceIncludes(b.name, a.name);
  if (a.kind === b.kind) return either(a.name, b.name);
  return a.kind === 'method' || b.kind === 'method';
}

function same(wide: string, narrow: string): boolean {
  return wide === EVERY || wide === narrow;
}

function either(a: string, b: string): boolean {
  return same(a, b) || same(b, a);
}

/** Deny rules see through letter case in resources, so what they include is held against that. */
function resourceIncludes(wide: string, narrow: string): boolean {
  const below = wide.endsWith('/**');
  return below ? narrow.startsWith(wide.slice(0, -2)) : wide === narrow;
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

function pathIncludes(wide: string, narrow: string): boolean {
  const [a, b] = [segmentsOf(wide), segmentsOf(narrow)];
  if (a.fixed.length > b.fixed.length) return false;
  if (!a.open && (b.open || a.fixed.length !== b.fixed.length)) return false;
  return a.fixed.every((segment, i) => segmentIncludes(segment, b.fixed[i] ?? NOTHING));
}

const NOTHING: Segment = Object.freeze(['']);

function pathsMeet(one: string, other: string): boolean {
  const [a, b] = [segmentsOf(one), segmentsOf(other)];
  const common = Math.min(a.fixed.length, b.fixed.length);
  for (let i = 0; i < common; i += 1) {
    if (!segmentsMeet(a.fixed[i] ?? NOTHING, b.fixed[i] ?? NOTHING)) return false;
  }
  if (a.fixed.length === b.fixed.length) return true;
  return a.fixed.length > b.fixed.length ? b.open : a.open;
}
