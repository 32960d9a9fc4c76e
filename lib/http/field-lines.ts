/**
 * Field lines (RFC 9112 section 5), of heads and of trailer sections. A line is `name ":" OWS value
 * OWS CRLF` and nothing else: no obs-fold, no bare CR or LF, no control character; no space before
 * the colon but in an answer, where a proxy takes it away (section 5.1) and nothing is framed by
 * that line. The first fault in the order of the bytes is the one named, however the bytes arrived.
 */
import type { Code } from '../base/fault.ts';
import { Fault } from '../base/fault.ts';
import { CR, COLON, HTAB, LF, OBS_TEXT, SP, TOKEN, UPPER, VALUE, classes } from './grammar.ts';
import type { HttpLimits } from './limits.ts';
import type { Fields } from './message.ts';

/** Whose lines these are: the codes of their faults and the limits that bind them. */
export interface Rules {
  readonly subject: string;
  readonly malformed: Code;
  readonly tooLarge: Code;
  /** White space before a colon is taken away (RFC 9112 section 5.1). */
  readonly blanks: boolean;
  readonly count: 'fieldCount' | 'trailerCount';
}

export const REQUEST: Rules = Object.freeze({
  subject: 'request head',
  malformed: 'malformed',
  tooLarge: 'head-too-large',
  blanks: false,
  count: 'fieldCount',
});
export const RESPONSE: Rules = Object.freeze({
  subject: 'response head',
  malformed: 'upstream-malformed',
  tooLarge: 'upstream-malformed',
  blanks: true,
  count: 'fieldCount',
});
const REQUEST_TRAILERS: Rules = Object.freeze({
  ...REQUEST,
  subject: 'request trailers',
  count: 'trailerCount',
});
const RESPONSE_TRAILERS: Rules = Object.freeze({
  ...RESPONSE,
  blanks: false,
  subject: 'response trailers',
  count: 'trailerCount',
});

export function malformed(rules: Rules, problem: string, cause?: unknown): Fault {
  return new Fault(rules.malformed, `the ${rules.subject} is malformed: ${problem}`, {
    hint: 'send HTTP/1.1 as RFC 9112 has it, without obsolete forms',
    cause,
  });
}

/** Of one that is over a limit; `key` of the Sidecar's `listeners` raises it, where one does. */
export function tooLarge(rules: Rules, problem: string, key?: string): Fault {
  return new Fault(rules.tooLarge, `the ${rules.subject} is too large: ${problem}`, {
    hint: hintFor(key),
  });
}

export function hintFor(key: string | undefined): string {
  return key === undefined
    ? 'send less of it'
    : `send less of it, or raise listeners.${key} of the Sidecar`;
}

/** How a byte is named in a fault: never the byte itself. */
export function byteAt(text: string, at: number): string {
  return `byte 0x${text.charCodeAt(at).toString(16).padStart(2, '0')} at ${at}`;
}

/** Whether the line ends at `at`; undefined where the bytes ran out. */
export function lineEnds(text: string, at: number, rules: Rules): true | undefined {
  if (at < text.length && text.charCodeAt(at) !== CR)
    throw malformed(rules, `${byteAt(text, at)} is not allowed there`);
  if (at + 1 < text.length && text.charCodeAt(at + 1) !== LF)
    throw malformed(rules, `a CR without LF at ${at}`);
  return at + 1 < text.length ? true : undefined;
}

/**
 * The field lines from `at` to the empty line that ends them; undefined where the bytes ran out
 * before it. `text` holds bytes as latin1. Throws a Fault for the first line that is not one.
 */
export function parseFields(
  text: string,
  at: number,
  rules: Rules,
  limits: HttpLimits,
): Fields | undefined {
  const fields: string[] = [];
  const most = limits[rules.count] * 2;
  let i = at;
  while (i < text.length && text.charCodeAt(i) !== CR) {
    const start = i;
    let seen = 0;
    let kind = classes(text.charCodeAt(i));
    while ((kind & TOKEN) !== 0) {
      seen |= kind;
      kind = ++i < text.length ? classes(text.charCodeAt(i)) : 0;
    }
    const nameEnd = i;
    within(start, i, rules, limits);
    if (i === text.length) return undefined;
    if (rules.blanks) while (isBlank(text, i)) i++;
    if (i === text.length) return undefined;
    if (text.charCodeAt(i) !== COLON || nameEnd === start)
      throw malformed(rules, `${byteAt(text, i)} in a field name`);
    do i++;
    while (isBlank(text, i));
    const valueStart = i;
    while (i < text.length && (classes(text.charCodeAt(i)) & (VALUE | OBS_TEXT)) !== 0) i++;
    within(start, i, rules, limits);
    let valueEnd = i;
    if (lineEnds(text, i, rules) === undefined) return undefined;
    while (valueEnd > valueStart && isBlank(text, valueEnd - 1)) valueEnd--;
    if (fields.length >= most) throw tooManyFields(rules, limits);
    const written = text.slice(start, nameEnd);
    const name = (seen & UPPER) === 0 ? written : written.toLowerCase();
    if (text.charCodeAt(nameEnd) !== COLON && FRAMING.has(name))
      throw malformed(rules, 'a blank before the colon of a field that frames');
    if (name === 'transfer-encoding' || name === 'content-length' || name === 'host')
      refuseTab(text.slice(nameEnd, i), rules);
    fields.push(name, text.slice(valueStart, valueEnd));
    i += 2;
  }
  return lineEnds(text, i, rules) === undefined ? undefined : fields;
}

/** Readers differ on what such a line is; here they would take another message from it. */
const FRAMING: ReadonlySet<string> = new Set([
  'content-length',
  'transfer-encoding',
  'connection',
  'upgrade',
]);

function isBlank(text: string, at: number): boolean {
  const code = text.charCodeAt(at);
  return code === SP || code === HTAB;
}

/**
 * White space may be a tab (RFC 9110 section 5.6.3), but known parsers do not take one off here,
 * and then read another framing or host than we do.
 */
function refuseTab(value: string, rules: Rules): void {
  if (value.includes('\t')) throw malformed(rules, 'a tab in a field that frames or routes');
}

function within(start: number, end: number, rules: Rules, limits: HttpLimits): void {
  if (end - start > limits.fieldBytes) throw longLine(rules, limits);
}

export function longLine(rules: Rules, { fieldBytes }: HttpLimits): Fault {
  return tooLarge(rules, `a field line of more than ${fieldBytes} bytes`, 'maxField');
}

export function tooManyFields(rules: Rules, limits: HttpLimits): Fault {
  const key = rules.count === 'fieldCount' ? 'maxFields' : undefined;
  return tooLarge(rules, `more than ${limits[rules.count]} fields`, key);
}

export function longHead(rules: Rules, most: number): Fault {
  return tooLarge(rules, `more than ${most} bytes`, 'maxHead');
}

/**
 * Fields that would change how a message is framed, routed, authenticated or read, were they merged
 * from trailers (RFC 9110 section 6.5.1).
 */
export const NOT_IN_TRAILERS: ReadonlySet<string> = new Set(
  (
    'age authorization cache-control connection content-encoding content-length ' +
    'content-location content-range content-type cookie date expect expires forwarded host ' +
    'if-match if-modified-since if-none-match if-range if-unmodified-since keep-alive ' +
    'location max-forwards pragma proxy-authenticate proxy-authorization ' +
    'proxy-connection range retry-after set-cookie te trailer transfer-encoding upgrade ' +
    'vary via warning www-authenticate'
  ).split(' '),
);

/**
 * The trailer section in `text`, its empty line included; undefined where the bytes ran out. What
 * has no business there is left out of an answer, as a recipient may (RFC 9110 section 6.5.2), and
 * refused in a request.
 */
export function parseTrailers(
  text: string,
  role: 'request' | 'response',
  limits: HttpLimits,
): Fields | undefined {
  const rules = role === 'request' ? REQUEST_TRAILERS : RESPONSE_TRAILERS;
  const fields = parseFields(text, 0, rules, limits);
  const misplaced = fields?.find((name, i) => i % 2 === 0 && NOT_IN_TRAILERS.has(name));
  if (misplaced === undefined) return fields;
  if (role === 'request') throw malformed(rules, `"${misplaced}" is not allowed in trailers`);
  return fields?.filter((_, i) => !NOT_IN_TRAILERS.has(fields[i - (i % 2)] ?? ''));
}
