/**
 * Request targets in origin-form (RFC 9112 section 3.2.1) and path patterns.
 *
 * A path is made canonical once; that text is judged, recorded and sent:
 *   1. only what RFC 3986 allows in a path gets in; `;`, `\`, `#`, white space, raw non-ASCII and bad `%` escapes are malformed;
 *   2. `%2F`, `%5C`, escaped control characters and escapes that are not UTF-8 are malformed: servers differ over what they mean;
 *   3. escapes of unreserved characters are undone, other escapes are kept in upper case; `%25` is undone by nobody, so a double escape stays one;
 *   4. runs of `/` become one, then `.` and `..` segments are resolved; above the root is malformed.
 * Case and a trailing slash are kept and count. The query is checked, never changed.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { Fault } from '../base/fault.ts';
import { quote } from './host.ts';

/** Characters of a path, of a query; a longer one is `target-too-long`. */
export const LONGEST_PATH = 4096;
export const LONGEST_QUERY = 8192;

export interface Target {
  /** Canonical, begins with `/`. */
  readonly path: string;
  /** With its leading `?`, or ''. */
  readonly query: string;
}

const PATH_ALLOWED = /^(?:[A-Za-z0-9\-._~!$&'()*+,=:@/]|%[0-9A-Fa-f]{2})*$/;
const QUERY_ALLOWED = /^[!"$-~]*$/;
const UNRESERVED = /[A-Za-z0-9\-._~]/;
/** A path made of these alone, without `//` and without a segment that begins with a dot, is canonical already. */
const PLAIN = /^(?:\/[A-Za-z0-9\-_~!$&'()*+,=:@][A-Za-z0-9\-._~!$&'()*+,=:@]*)*\/?$/;

/** Splits and canonicalises an origin-form target; Fault `malformed` or `target-too-long`. */
export function canonicalTarget(originForm: string): Target {
  const mark = originForm.indexOf('?');
  const rawPath = mark < 0 ? originForm : originForm.slice(0, mark);
  const query = mark < 0 ? '' : originForm.slice(mark);
  if (rawPath.length > LONGEST_PATH) throw tooLong('path', LONGEST_PATH);
  if (query.length > LONGEST_QUERY) throw tooLong('query', LONGEST_QUERY);
  if (query !== '' && !queryAllowed(query)) {
    throw malformed(
      'the query has characters that a query cannot have',
      'percent-encode spaces, `#`, `%` and everything beyond ASCII; leave NUL out',
    );
  }
  if (rawPath !== '' && PLAIN.test(rawPath)) return { path: rawPath, query };
  return { path: canonicalPath(rawPath), query };
}

function queryAllowed(query: string): boolean {
  return QUERY_ALLOWED.test(query) && !/%(?![0-9A-Fa-f]{2})|%00/.test(query);
}

function canonicalPath(raw: string): string {
  if (!raw.startsWith('/'))
    throw malformed(`the target ${quote(raw)} does not begin with a slash`, 'send an absolute path');
  if (!PATH_ALLOWED.test(raw)) {
    throw malformed(
      `the path ${quote(raw)} has characters that a path cannot have`,
      'percent-encode them (`;` as %3B)',
    );
  }
  const decoded = raw.includes('%') ? undoEscapes(raw) : raw;
  const segments = decoded
    .replace(/\/{2,}/g, '/')
    .split('/')
    .slice(1);
  const kept: string[] = [];
  for (const [i, segment] of segments.entries()) {
    const last = i === segments.length - 1;
    if (segment === '..' && kept.pop() === undefined) {
      throw malformed(`the path ${quote(raw)} climbs above the root`, 'send the path without `..`');
    }
    if (segment !== '.' && segment !== '..') kept.push(segment);
    else if (last) kept.push('');
  }
  return `/${kept.join('/')}`;
}

function undoEscapes(raw: string): string {
  const text = raw.replace(/%[0-9A-Fa-f]{2}/g, (escape) => {
    const code = Number.parseInt(escape.slice(1), 16);
    if (code === 0x2f || code === 0x5c || code < 0x20 || code === 0x7f) {
      throw malformed(
        `the path ${quote(raw)} has the escape ${escape}`,
        'escaped slashes, backslashes and control characters are refused',
      );
    }
    const char = String.fromCharCode(code);
    return UNRESERVED.test(char) ? char : escape.toUpperCase();
  });
  if (!isUtf8(octets(text))) {
    throw malformed(
      `the path ${quote(raw)} has escapes that are not UTF-8`,
      'percent-encode the UTF-8 octets of the name',
    );
  }
  return text;
}

/** What the escapes stand for; the text is ASCII. */
function octets(text: string): Buffer {
  return Buffer.from(
    text.replace(/%([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
    'latin1',
  );
}

function malformed(message: string, hint: string): Fault {
  return new Fault('malformed', message, { hint });
}

function tooLong(part: string, longest: number): Fault {
  return new Fault('target-too-long', `the ${part} is longer than ${longest} characters`, {
    hint: 'send a shorter target',
  });
}

/**
 * Segments to be matched whole: `*` is one segment that is not empty, `**` (last only) any number, none included; the rest is compared
 * octet by octet after undoing escapes, so `/a%21` is `/a!`. `/v1/notes` is not `/v1/notes/`: `/v1/notes/**` is both and all below.
 */
export interface PathPattern {
  readonly text: string;
  /** `path` must be canonical. */
  matches(path: string): boolean;
}

/** A pattern of a document, or a `bad-pattern` Fault. */
export function parsePathPattern(text: string): PathPattern {
  const bad = (problem: string, hint: string): Fault =>
    new Fault('bad-pattern', `path pattern ${quote(text)} ${problem}`, { hint });
  if (!text.startsWith('/')) throw bad('does not begin with a slash', `write ${quote(`/${text}`)}`);
  if (/[?#]/.test(text)) throw bad('has a query or fragment', 'patterns match the path alone');
  const canonical = canonicalOfPattern(text);
  if (canonical !== text)
    throw bad('is not in canonical form', `requests are judged as ${quote(canonical)}: write that`);
  const segments = text.split('/').slice(1);
  const open = segments.at(-1) === '**';
  const fixed = open ? segments.slice(0, -1) : segments;
  if (fixed.includes('**')) throw bad('has `**` before its end', '`**` may only be the last segment');
  if (fixed.some((segment) => segment.includes('*') && segment !== '*')) {
    throw bad('has `*` as part of a segment', '`*` stands for one whole segment; a literal star is %2A');
  }
  const wanted = fixed.map((segment) => (segment === '*' ? undefined : decoded(segment)));
  const literal = !open && !wanted.includes(undefined) && !text.includes('%');
  const matches = (path: string): boolean =>
    literal && !path.includes('%') ? path === text : matchSegments(path, wanted, open);
  return Object.freeze({ text, matches });
}

function canonicalOfPattern(text: string): string {
  try {
    return canonicalTarget(text).path;
  } catch (error) {
    const fault = Fault.from(error, 'bad-pattern');
    throw new Fault('bad-pattern', `path pattern: ${fault.message}`, { cause: error, hint: fault.hint ?? '' });
  }
}

/** Octets behind the escapes, one character each. */
function decoded(segment: string): string {
  return segment.includes('%') ? octets(segment).toString('latin1') : segment;
}

function matchSegments(path: string, wanted: readonly (string | undefined)[], open: boolean): boolean {
  let from = 1;
  for (const [i, want] of wanted.entries()) {
    if (from > path.length) return false;
    const slash = path.indexOf('/', from);
    const end = slash < 0 ? path.length : slash;
    const segment = path.slice(from, end);
    if (want === undefined ? segment === '' : decoded(segment) !== want) return false;
    from = end + 1;
    if (i === wanted.length - 1 && !open) return slash < 0;
  }
  return true;
}
