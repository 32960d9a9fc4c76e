/**
 * Request targets in origin-form (RFC 9112 section 3.2.1). A path has one spelling; that text is
 * judged, recorded and sent:
 *   1. only what RFC 3986 allows in a path gets in; `;`, `\`, `#`, white space, raw non-ASCII and
 *      bad `%` escapes are malformed;
 *   2. `%5C`, escaped control characters and escapes that are not UTF-8 are malformed: servers
 *      differ over what they mean;
 *   3. escapes of unreserved characters are undone, other escapes are kept in upper case; `%25` is
 *      undone by nobody, so a double escape stays one;
 *   4. `.` and `..` segments, `//` and `%2F` are refused: some servers resolve them and some do
 *      not. A destination may keep the last two; then `.` and `..` between `/` or `%2F` are still
 *      refused, and so are escapes that become a slash or a dot when they are undone twice.
 * Case and a trailing slash are kept and count. The query is checked, never changed. No message
 * quotes a path: the canonical form is in the hint, which the client alone is told.
 */
import { Buffer, isUtf8 } from 'node:buffer';
import { Fault } from '../base/fault.ts';
import { quote } from './host.ts';

/** Characters of a path, of a query; a longer one is `target-too-long`. */
export const MAX_PATH = 65_536;
export const MAX_QUERY = 65_536;

export interface Target {
  /** Canonical, begins with `/`. */
  readonly path: string;
  /** With its leading `?`, or ''. */
  readonly query: string;
}

/** `paths` of a destination: what is kept in a path instead of being refused. */
export interface PathPolicy {
  readonly encodedSlash: boolean;
  readonly emptySegments: boolean;
}

/** Where no destination says otherwise. */
const STRICT: PathPolicy = Object.freeze({ encodedSlash: false, emptySegments: false });

const PATH_ALLOWED = /^(?:[A-Za-z0-9\-._~!$&'()*+,=:@/]|%[0-9A-Fa-f]{2})*$/;
const QUERY_ALLOWED = /^[!"$-~]*$/;
const UNRESERVED = /[A-Za-z0-9\-._~]/;
/**
 * A path made of these alone, without `//` and without a segment that begins with a dot, is
 * canonical already.
 */
const PLAIN = /^(?:\/[A-Za-z0-9\-_~!$&'()*+,=:@][A-Za-z0-9\-._~!$&'()*+,=:@]*)*\/?$/;
/** A segment that some servers resolve, between slashes in any spelling. */
const DOTS = /(?:\/|%2F)\.{1,2}(?=\/|%2F|$)/;
/** What becomes a slash, a backslash or a dot once it is undone twice. */
const TWICE = /%25(?:2F|5C|2E)/i;

/**
 * Splits and canonicalises an origin-form target; Fault `malformed`, `ambiguous` or
 * `target-too-long`.
 */
export function canonicalTarget(originForm: string, keeps: PathPolicy = STRICT): Target {
  const mark = originForm.indexOf('?');
  const rawPath = mark < 0 ? originForm : originForm.slice(0, mark);
  const query = mark < 0 ? '' : originForm.slice(mark);
  if (rawPath.length > MAX_PATH) throw tooLong('path', MAX_PATH);
  if (query.length > MAX_QUERY) throw tooLong('query', MAX_QUERY);
  if (query !== '' && !queryAllowed(query)) {
    throw malformed(
      'the query has characters that a query cannot have',
      'percent-encode spaces, `#`, `%` and everything beyond ASCII; leave NUL out',
    );
  }
  if (rawPath !== '' && PLAIN.test(rawPath)) return { path: rawPath, query };
  return { path: canonicalPath(rawPath, keeps), query };
}

function queryAllowed(query: string): boolean {
  return QUERY_ALLOWED.test(query) && !/%(?![0-9A-Fa-f]{2})|%00/.test(query);
}

function canonicalPath(raw: string, keeps: PathPolicy): string {
  if (!raw.startsWith('/'))
    throw malformed('the target does not begin with a slash', 'send an absolute path');
  if (!PATH_ALLOWED.test(raw))
    throw malformed(
      'the path has characters that a path cannot have',
      'percent-encode them (`;` as %3B)',
    );
  const path = raw.includes('%') ? undoEscapes(raw, keeps) : raw;
  if (DOTS.test(path)) throw spelt('has dot segments', path, keeps);
  if (path.includes('//') && !keeps.emptySegments)
    throw spelt(
      'has empty segments',
      path,
      keeps,
      '; paths.emptySegments of the destination may keep them',
    );
  return path;
}

/** There is another spelling of it that everybody reads in one way, which the client is told. */
function spelt(problem: string, path: string, keeps: PathPolicy, key = ''): Fault {
  const canonical = path.includes('%2F') ? undefined : resolved(path, keeps);
  if (canonical === undefined)
    return malformed(`the path ${problem}`, 'send the path without them');
  const shown =
    canonical.length > MAX_HINT
      ? 'send the path without them'
      : `send ${quote(canonical, MAX_HINT)}`;
  return new Fault('ambiguous', `the path ${problem}, which servers read in different ways`, {
    hint: `${shown}${key}`,
  });
}

const MAX_HINT = 160;

/**
 * Dot segments resolved and runs of slashes joined, if they are to be; undefined above the root.
 */
function resolved(path: string, { emptySegments }: PathPolicy): string | undefined {
  const segments = (emptySegments ? path : collapsed(path)).split('/').slice(1);
  const kept: string[] = [];
  for (const [i, segment] of segments.entries()) {
    if (segment === '..' && kept.pop() === undefined) return undefined;
    if (segment !== '.' && segment !== '..') kept.push(segment);
    else if (i === segments.length - 1) kept.push('');
  }
  return `/${kept.join('/')}`;
}

export function collapsed(path: string): string {
  return path.replace(/\/{2,}/g, '/');
}

function undoEscapes(raw: string, { encodedSlash }: PathPolicy): string {
  const text = raw.replace(/%[0-9A-Fa-f]{2}/g, (escape) => {
    const code = Number.parseInt(escape.slice(1), 16);
    if (code === 0x2f && !encodedSlash) throw slashed();
    if (code === 0x5c || code < 0x20 || code === 0x7f) {
      throw malformed(
        'the path has an escape of a backslash or a control character',
        'servers differ over what it means: leave it out',
      );
    }
    const char = String.fromCharCode(code);
    return UNRESERVED.test(char) ? char : escape.toUpperCase();
  });
  if (encodedSlash && TWICE.test(text))
    throw malformed(
      'the path has an escaped escape of a slash or a dot',
      'escape what is meant once',
    );
  if (!isUtf8(octets(text)))
    throw malformed(
      'the path has escapes that are not UTF-8',
      'percent-encode the UTF-8 octets of the name',
    );
  return text;
}

function slashed(): Fault {
  const hint =
    'where the names of this upstream have slashes, paths: { encodedSlash: keep } of the ' +
    'destination lets them through';
  return malformed('the path has an escaped slash (%2F)', hint);
}

/** What the escapes stand for, one character an octet; the text is ASCII. */
export function octets(text: string): Buffer {
  return Buffer.from(
    text.replace(/%([0-9A-F]{2})/g, (_, hex: string) =>
      String.fromCharCode(Number.parseInt(hex, 16)),
    ),
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
