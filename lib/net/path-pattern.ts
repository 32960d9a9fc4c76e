/**
 * Path patterns: segments to be matched whole. `*` is one segment that is not empty, `**` (last
 * only) any number, none included; `{id}` stands for one character or more of a segment
 * (`/v1/{sid}.json`, `/v1/topics/{name}:publish`). The rest is compared octet by octet after
 * undoing escapes, so `/a%21` is `/a!`. `/v1/notes` is not `/v1/notes/`: `/v1/notes/**` is both and
 * all below.
 */
import { Fault } from '../base/fault.ts';
import { quote } from './host.ts';
import { canonicalTarget, collapsed } from './path.ts';
import { decodedSegment, parseSegment, segmentMatches, type Segment } from './segment.ts';

export interface PathPattern {
  readonly text: string;
  /** `path` must be canonical, as its destination keeps it. */
  matches(path: string): boolean;
  /**
   * Whether it matches what is sent, or what a server may make of that: `%2F` taken for `/`, `//`
   * for `/`. For deny rules.
   */
  denies(path: string): boolean;
}

const PARAMETER = /\{[A-Za-z_][A-Za-z0-9_.-]{0,63}\}/g;

/** A pattern of a document, or a `bad-pattern` Fault. */
export function parsePathPattern(text: string): PathPattern {
  const bad = (problem: string, hint: string): Fault =>
    new Fault('bad-pattern', `path pattern ${quote(text)} ${problem}`, { hint });
  if (!text.startsWith('/')) throw bad('does not begin with a slash', `write ${quote(`/${text}`)}`);
  if (/[?#]/.test(text)) throw bad('has a query or fragment', 'patterns match the path alone');
  requireCanonical(text, bad);
  const segments = text.split('/').slice(1);
  const open = segments.at(-1) === '**';
  const fixed = open ? segments.slice(0, -1) : segments;
  if (fixed.includes('**'))
    throw bad('has `**` before its end', '`**` may only be the last segment');
  if (fixed.some((segment) => segment.includes('*') && segment !== '*')) {
    const hint =
      '`*` stands for one whole segment, `{name}` for a part of one; a literal star is %2A';
    throw bad('has `*` as part of a segment', hint);
  }
  if (/\}\{/.test(text))
    throw bad('has two parameters side by side', 'put a literal between them, or make them one');
  const wanted = fixed.map(parseSegment);
  const literal = !open && !/[%*{]/.test(text);
  const matches = (path: string): boolean =>
    literal && !path.includes('%') ? path === text : matchSegments(path, wanted, open);
  return Object.freeze({
    text,
    matches,
    denies: (path: string) => matches(path) || formsOf(path).some(matches),
  });
}

const NONE: readonly string[] = Object.freeze([]);

/** What a server may make of a path that keeps `%2F` or `//`. */
function formsOf(path: string): readonly string[] {
  if (!path.includes('%2F') && !path.includes('//')) return NONE;
  const split = path.replaceAll('%2F', '/');
  return [split, collapsed(path), collapsed(split)];
}

function requireCanonical(text: string, bad: (problem: string, hint: string) => Fault): void {
  // A parameter stands for characters that need no escape.
  const sample = text.replaceAll(PARAMETER, '~');
  if (/[{}]/.test(sample))
    throw bad('has a brace that is no parameter', 'write {name} with letters, digits, _ . and -');
  let canonical: string;
  try {
    // What only some destinations keep is held against the destination
    // (lib/config/checks/upstream.ts).
    canonical = canonicalTarget(sample, {
      encodedSlash: /%2f/i.test(sample),
      emptySegments: true,
    }).path;
  } catch (error) {
    const fault = Fault.from(error, 'bad-pattern');
    throw bad(fault.message.replace(/^the path /, ''), fault.hint ?? '');
  }
  if (canonical === sample) return;
  const judged =
    sample === text
      ? `requests are judged as ${quote(canonical)}: write that`
      : 'undo what needs no escape';
  throw bad('is not in canonical form', judged);
}

function matchSegments(path: string, wanted: readonly Segment[], open: boolean): boolean {
  let from = 1;
  for (const [i, want] of wanted.entries()) {
    if (from > path.length) return false;
    const slash = path.indexOf('/', from);
    const end = slash < 0 ? path.length : slash;
    if (!segmentMatches(want, decodedSegment(path.slice(from, end)))) return false;
    from = end + 1;
    if (i === wanted.length - 1 && !open) return slash < 0;
  }
  return true;
}
