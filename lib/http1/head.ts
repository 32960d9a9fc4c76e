/**
 * Heads of HTTP/1.1 messages: from bytes to values, or a Fault. Pure. One grammar (RFC 9112, no
 * obsolete form), decided once:
 * - nothing before the start line but one empty line before a request, which the connection takes
 *   away; single spaces; HTTP/1.1 or HTTP/1.0;
 * - HTTP/1.1 has exactly one Host, HTTP/1.0 at most one;
 * - at most one of Content-Length and Transfer-Encoding, each once; the only coding is `chunked`,
 *   and never with HTTP/1.0;
 * - HEAD, CONNECT and TRACE have no body; that of a GET is framed, and refused unless policy allows
 *   it. DELETE and OPTIONS may have one: it is framed like any other, widely used (Kubernetes), and
 *   sent on re-framed;
 * - methods in lower case are refused, as lenient servers read them as their upper-case twins.
 */
import { Fault } from '../base/fault.ts';
import type { Rules } from '../http/field-lines.ts';
import {
  REQUEST,
  RESPONSE,
  byteAt,
  hintFor,
  lineEnds,
  malformed,
  parseFields,
  tooLarge,
} from '../http/field-lines.ts';
import {
  OBS_TEXT,
  SP,
  TOKEN,
  VALUE,
  VISIBLE,
  byteCount,
  classes,
  tokenList,
} from '../http/grammar.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Fields, Framing, RequestHead, ResponseHead } from '../http/message.ts';

const NONE: Framing = Object.freeze({ kind: 'none' });
const CHUNKED: Framing = Object.freeze({ kind: 'chunked' });
const UNTIL_CLOSE: Framing = Object.freeze({ kind: 'until-close' });

/**
 * The request head at the start of `text` (bytes as latin1, ending with the empty line); undefined
 * where the bytes ran out. Throws a Fault.
 */
export function parseRequestHead(text: string, limits: HttpLimits): RequestHead | undefined {
  let at = 0;
  while ((classes(text.charCodeAt(at)) & TOKEN) !== 0) at++;
  if (at > limits.methodBytes)
    throw malformed(REQUEST, `a method of more than ${limits.methodBytes} bytes`);
  if (at === text.length) return undefined;
  if (at === 0 || text.charCodeAt(at) !== SP)
    throw malformed(REQUEST, `${byteAt(text, at)} in the method`);
  const method = text.slice(0, at);
  if (method !== method.toUpperCase())
    throw new Fault('method-not-supported', 'a request method in lower case is not supported', {
      hint: 'methods are told apart by letter case: write it in capitals',
    });
  const targetStart = ++at;
  while ((classes(text.charCodeAt(at)) & VISIBLE) !== 0) at++;
  if (at - targetStart > Math.min(limits.pathBytes, limits.targetBytes))
    refuseLong(text.slice(targetStart, at), limits);
  if (at === text.length) return undefined;
  if (at === targetStart || text.charCodeAt(at) !== SP)
    throw malformed(REQUEST, `${byteAt(text, at)} in the request target`);
  const minor = versionAt(text, at + 1, REQUEST);
  if (minor === undefined || lineEnds(text, at + 9, REQUEST) === undefined) return undefined;
  const fields = parseFields(text, at + 11, REQUEST, limits);
  if (fields === undefined) return undefined;
  return requestOf(method, text.slice(targetStart, at), minor, fields);
}

/** Of the request target, or of what of it has come. */
export function refuseLong(target: string, { pathBytes, targetBytes }: HttpLimits): void {
  const scheme = target.startsWith('/') ? 0 : target.indexOf('://') + 3;
  const from = scheme === 2 ? -1 : target.indexOf('/', scheme);
  const mark = target.indexOf('?');
  const path =
    from < 0 || (mark >= 0 && mark < from) ? 0 : (mark < 0 ? target.length : mark) - from;
  if (path > pathBytes) throw tooLong(`path is longer than ${pathBytes} bytes`);
  if (target.length > targetBytes)
    throw tooLong(`request target is longer than ${targetBytes} bytes`);
}

function tooLong(problem: string): Fault {
  return new Fault('target-too-long', `the ${problem}`, { hint: hintFor('maxTarget') });
}

function requestOf(method: string, target: string, minor: 0 | 1, fields: Fields): RequestHead {
  const marks = marksOf(fields, minor, REQUEST);
  if (marks.hosts > 1) throw malformed(REQUEST, 'more than one Host');
  if (marks.hosts === 0 && minor === 1) throw malformed(REQUEST, 'no Host');
  let framing: Framing = marks.chunked
    ? CHUNKED
    : marks.length === undefined
      ? NONE
      : { kind: 'length', length: marks.length };
  const content = marks.chunked || (marks.length ?? 0) > 0;
  if (
    method === 'HEAD' ||
    method === 'CONNECT' ||
    method === 'TRACE' ||
    (method === 'GET' && !content)
  ) {
    if (content) throw malformed(REQUEST, `${method} with a body`);
    framing = NONE;
  }
  if (marks.expect !== undefined && marks.expect.toLowerCase() !== '100-continue') {
    throw new Fault('expectation-failed', 'the request expects something other than 100-continue');
  }
  const expectContinue = marks.expect !== undefined && minor === 1 && content;
  return {
    method,
    target,
    minor,
    fields,
    framing,
    keepAlive: minor === 1 && !marks.close,
    expectContinue,
  };
}

/**
 * The response head at the start of `text`, to a request of this method; undefined where the bytes
 * ran out. Throws a Fault 'upstream-malformed'.
 */
export function parseResponseHead(
  text: string,
  method: string,
  limits: HttpLimits,
): ResponseHead | undefined {
  const minor = versionAt(text, 0, RESPONSE);
  if (minor === undefined) return undefined;
  expectAt(text, 8, ' ');
  let status = 0;
  for (let at = 9; at < 12 && at < text.length; at++) {
    const digit = text.charCodeAt(at) - 48;
    if (digit < (at === 9 ? 1 : 0) || digit > (at === 9 ? 5 : 9))
      throw malformed(RESPONSE, `${byteAt(text, at)} in the status`);
    status = status * 10 + digit;
  }
  expectAt(text, 12, ' ');
  let at = 13;
  while (at < text.length && (classes(text.charCodeAt(at)) & (VALUE | OBS_TEXT)) !== 0) at++;
  if (at - 13 > limits.fieldBytes)
    throw tooLarge(RESPONSE, `a status line of more than ${limits.fieldBytes} bytes`, 'maxField');
  if (text.length <= 13 || lineEnds(text, at, RESPONSE) === undefined) return undefined;
  const fields = parseFields(text, at + 2, RESPONSE, limits);
  if (fields === undefined) return undefined;
  const marks = marksOf(fields, minor, RESPONSE);
  const framing = responseFraming(status, method, marks);
  // What its server may send behind a head that says too much would be read as the next answer.
  const overstated =
    status === 204 ? marks.chunked || (marks.length ?? 0) > 0 : status === 304 && marks.chunked;
  const keepAlive = minor === 1 && !marks.close && framing !== UNTIL_CLOSE && !overstated;
  return { status, reason: text.slice(13, at), minor, fields, framing, keepAlive };
}

/** RFC 9112 section 6.3. */
function responseFraming(status: number, method: string, marks: Marks): Framing {
  const tunnel = status === 101 || (method === 'CONNECT' && status >= 200 && status < 300);
  if (tunnel || status < 200) {
    if (marks.chunked || (marks.length ?? 0) > 0)
      throw malformed(RESPONSE, `a body with status ${status}`);
    return NONE;
  }
  // They end with their head whatever its fields say, and go on without those.
  if (method === 'HEAD' || status === 204 || status === 304) return NONE;
  if (marks.chunked) return CHUNKED;
  return marks.length === undefined ? UNTIL_CLOSE : { kind: 'length', length: marks.length };
}

/** What the fields say about the message they belong to. */
interface Marks {
  hosts: number;
  length: number | undefined;
  chunked: boolean;
  close: boolean;
  expect: string | undefined;
}

function marksOf(fields: Fields, minor: 0 | 1, rules: Rules): Marks {
  const marks: Marks = {
    hosts: 0,
    length: undefined,
    chunked: false,
    close: false,
    expect: undefined,
  };
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    // The length tells most names apart without a comparison.
    switch (name.length) {
      case 4:
        if (name === 'host') marks.hosts++;
        break;
      case 6:
        if (name === 'expect')
          marks.expect = marks.expect === undefined ? value : `${marks.expect}, ${value}`;
        break;
      case 10:
        if (name === 'connection') markConnection(marks, value, rules);
        break;
      case 14:
        if (name === 'content-length') markLength(marks, value, rules);
        break;
      case 17:
        if (name === 'transfer-encoding') markCoding(marks, value, minor, rules);
        break;
      default:
    }
  }
  if (marks.chunked && marks.length !== undefined)
    throw malformed(rules, 'both Content-Length and Transfer-Encoding');
  return marks;
}

function markConnection(marks: Marks, value: string, rules: Rules): void {
  if (value === 'keep-alive') return;
  const options = tokenList(value);
  if (options === undefined) throw malformed(rules, 'Connection is not a list of tokens');
  if (options.includes('close')) marks.close = true;
}

function markLength(marks: Marks, value: string, rules: Rules): void {
  if (marks.length !== undefined) throw malformed(rules, 'more than one Content-Length');
  marks.length = byteCount(value);
  if (marks.length === undefined) throw malformed(rules, 'Content-Length is not a number of bytes');
}

function markCoding(marks: Marks, value: string, minor: 0 | 1, rules: Rules): void {
  if (minor === 0) throw malformed(rules, 'Transfer-Encoding with HTTP/1.0');
  if (marks.chunked || value.toLowerCase() !== 'chunked')
    throw malformed(rules, 'Transfer-Encoding is not chunked, once');
  marks.chunked = true;
}

/** The minor version of `HTTP/1.x` at `at`; undefined where the bytes ran out. */
function versionAt(text: string, at: number, rules: Rules): 0 | 1 | undefined {
  if (text.startsWith('HTTP/1.1', at)) return 1;
  if (text.startsWith('HTTP/1.0', at)) return 0;
  const have = text.slice(at, at + 8);
  if (have.length < 8 && ('HTTP/1.1'.startsWith(have) || 'HTTP/1.0'.startsWith(have)))
    return undefined;
  throw malformed(rules, `neither HTTP/1.1 nor HTTP/1.0 at ${at}`);
}

function expectAt(text: string, at: number, wanted: string): void {
  if (at < text.length && text[at] !== wanted)
    throw malformed(RESPONSE, `${byteAt(text, at)} in the status line`);
}
