/**
 * Character classes of RFC 9110 and RFC 9112 as one table indexed by byte, and the two checks on
 * single values. No obsolete form has a class of its own but `OBS_TEXT`: bytes over 0x7f are taken
 * as opaque in values, and passed on as they came.
 */

/** RFC 9110 section 5.6.2. */
export const TOKEN = 1;
/** HTAB, SP and VCHAR: what a field value or a reason phrase consists of. */
export const VALUE = 2;
/** RFC 9110 section 5.5. */
export const OBS_TEXT = 4;
/** VCHAR: what a request target may hold; its parts are judged elsewhere. */
export const VISIBLE = 8;
export const UPPER = 16;
const DIGIT = 32;

export const HTAB = 9;
export const LF = 10;
export const CR = 13;
export const SP = 32;
export const COLON = 58;
export const SEMICOLON = 59;

const OTHER_TOKEN_CHARACTERS = "!#$%&'*+-.^_`|~";

function classOf(code: number): number {
  const letter = (code >= 65 && code <= 90) || (code >= 97 && code <= 122);
  const digit = code >= 48 && code <= 57;
  const token =
    letter || digit || (code < 128 && OTHER_TOKEN_CHARACTERS.includes(String.fromCharCode(code)));
  const visible = code > SP && code < 127;
  return (
    (token ? TOKEN : 0) |
    (visible || code === SP || code === HTAB ? VALUE : 0) |
    (visible ? VISIBLE : 0) |
    (code > 127 ? OBS_TEXT : 0) |
    (code >= 65 && code <= 90 ? UPPER : 0) |
    (digit ? DIGIT : 0)
  );
}

const CLASSES = Uint8Array.from({ length: 256 }, (_, code) => classOf(code));

/** The classes of one byte; none for anything that is no byte. */
export function classes(code: number): number {
  return code < 256 ? (CLASSES[code] as number) : 0;
}

/** Whether all of a text, which must not be empty, is of these classes. */
export function consistsOf(text: string, wanted: number): boolean {
  for (let i = 0; i < text.length; i++)
    if ((classes(text.charCodeAt(i)) & wanted) === 0) return false;
  return text.length > 0;
}

/**
 * The members of a comma-separated list of tokens, lower-case; undefined where a member is none.
 * Empty members are none at all (RFC 9110 section 5.6.1.2).
 */
export function tokenList(value: string): readonly string[] | undefined {
  const members: string[] = [];
  for (const part of value.toLowerCase().split(',')) {
    const member = part.replace(/^[ \t]+|[ \t]+$/g, '');
    if (member === '') continue;
    if (!consistsOf(member, TOKEN)) return undefined;
    members.push(member);
  }
  return members;
}

/** A decimal number of bytes up to 2^53-1 (1*DIGIT, at most 16 of them), or undefined. */
export function byteCount(text: string): number | undefined {
  if (text.length > 16 || !consistsOf(text, DIGIT)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}
