/**
 * URIs of MCP resources, and patterns of them. A URI has one spelling or is refused: lower-case
 * scheme, no dot segments, no escapes of what needs none, no escaped slash or backslash, visible
 * ASCII alone. A pattern is a whole URI, or one that ends in `/**`: that place and all below it.
 */
import { Fault } from '../base/fault.ts';
import { quote } from './host.ts';
import { spellingsOf } from './path-spellings.ts';

export interface ResourcePattern {
  readonly text: string;
  matches(uri: string): boolean;
  /**
   * Deny rules see through what servers differ about: letter case, a query, user information,
   * default ports, `;…`, blanks and dots at the end of a segment, and escapes of all of these.
   */
  denies(uri: string): boolean;
  /** Whether some URI that begins with `start` could match. */
  reaches(start: string): boolean;
}

const LONGEST = 2048;
const SHAPE = /^[a-z][a-z0-9+.-]*:[\x21-\x7e]+$/;

/** Why a URI is not taken, or undefined. */
export function uriProblem(uri: string): string | undefined {
  if (uri.length > LONGEST) return `is longer than ${LONGEST} characters`;
  if (!SHAPE.test(uri)) return 'is no URI with a lower-case scheme and visible ASCII characters';
  if (/[\\<>"{}|^`]/.test(uri)) return 'holds a character that no URI holds';
  const [path = ''] = uri.split(/[?#]/, 1);
  if (/(^|[/:])\.{1,2}(\/|$)/.test(path)) return 'has a dot segment';
  if (path.replace(/^[a-z0-9+.-]+:(\/\/)?/, '').includes('//')) return 'has an empty segment';
  if (uri.startsWith('file:') && !uri.startsWith('file:///'))
    return 'is another spelling of a file:/// URI';
  if (/%(?![0-9A-Fa-f]{2})/.test(uri)) return 'has a % without two hexadecimal digits';
  if (/%(2[dDeEfF]|5[cCfF]|7[eE]|3\d|[46][1-9a-fA-F]|[57][0-9aA]|[01][0-9a-fA-F]|7[fF])/.test(uri))
    return 'escapes what needs no escape, a slash, a backslash or a control character';
  return undefined;
}

/** Throws a Fault `bad-pattern`. */
export function parseResourcePattern(text: string): ResourcePattern {
  const below = text.endsWith('/**');
  const start = below ? text.slice(0, -2) : text;
  const problem = start.includes('*')
    ? 'has a * that is not a /** at the end'
    : uriProblem(below ? `${start}x` : start);
  if (problem !== undefined)
    throw new Fault('bad-pattern', `${quote(text)} ${problem}`, {
      hint: 'write a URI such as ticket://42, or ticket://open/**',
    });
  const folded = start.toLowerCase();
  const [wanted = ''] = placesOf(start) ?? [];
  return Object.freeze({
    text,
    matches: (uri: string) => (below ? uri.startsWith(start) : uri === start),
    denies(uri: string) {
      if (uri.toLowerCase() === folded) return true;
      const places = placesOf(uri);
      if (places === undefined) return true;
      return places.some((one) => (below ? `${one}/`.startsWith(`${wanted}/`) : one === wanted));
    },
    reaches: (prefix: string) => (below && prefix.startsWith(start)) || start.startsWith(prefix),
  });
}

/** Scheme and place of a URI as servers may read it; undefined where that has no end. */
function placesOf(uri: string): readonly string[] | undefined {
  const [, scheme = '', rest = ''] = /^([a-z0-9+.-]+:)(.*)$/s.exec(uri) ?? [];
  const port = scheme === 'https:' ? 443 : 80;
  const place = rest
    .replace(/^\/\/[^/?#]*@/, '//')
    .replace(/^(\/\/[^/?#]*?):(\d*)(?=[/?#]|$)/, (all, host: string, digits: string) =>
      digits === '' || Number(digits) === port ? host : all,
    );
  return spellingsOf(place)?.map((one) => `${scheme}${one.replace(/::\$data(?=\/|$)/g, '')}`);
}
