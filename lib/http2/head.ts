/**
 * A request head of HTTP/2 as the head of HTTP/1.1 that the rest of the sidecar judges. Strict, so
 * that both read it the same (RFC 9113 section 8.3, 10.3):
 * - `:authority` and Host are equal, or one of them is left out; what is judged and sent is one
 *   Host, first of the fields;
 * - `:path` is in origin-form, or `*`; `:scheme` is that of the connection; no pseudo-header but
 *   the four of a request, so no extended CONNECT (RFC 8441);
 * - no field of a connection (section 8.2.2); TE says `trailers` or nothing; Cookie lines are one
 *   (section 8.2.3);
 * - Content-Length once, and zero where the request ends with its head; HEAD ends with its head.
 */
import { Fault } from '../base/fault.ts';
import {
  OBS_TEXT,
  TOKEN,
  UPPER,
  VALUE,
  VISIBLE,
  byteCount,
  classes,
  consistsOf,
} from '../http/grammar.ts';
import { REQUEST, longHead, longLine, tooManyFields } from '../http/field-lines.ts';
import { refuseLong } from '../http1/head.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Fields, Framing, RequestHead } from '../http/message.ts';

export type Scheme = 'http' | 'https';

export interface ReceivedHead {
  /** Name, value, name, value …, pseudo-headers among them. */
  readonly raw: readonly string[];
  /** The request ends with its head. */
  readonly ended: boolean;
}

const NONE: Framing = Object.freeze({ kind: 'none' });
const CHUNKED: Framing = Object.freeze({ kind: 'chunked' });
const EMPTY: Framing = Object.freeze({ kind: 'length', length: 0 });

/** RFC 9113 section 8.2.2. */
const OF_CONNECTIONS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

export function requestHead(
  received: ReceivedHead,
  scheme: Scheme,
  limits: HttpLimits,
): RequestHead {
  const parts = partsOf(received.raw, limits);
  const { method, path, fields } = parts;
  if (method === '') throw malformed('no :method');
  if (method.length > limits.methodBytes)
    throw malformed(`a method of more than ${limits.methodBytes} bytes`);
  if (!consistsOf(method, TOKEN)) throw malformed('a :method that is no token');
  if (method !== method.toUpperCase())
    throw new Fault('method-not-supported', 'a request method in lower case is not supported', {
      hint: 'methods are told apart by letter case: write it in capitals',
    });
  if (method === 'CONNECT')
    throw new Fault('method-not-supported', 'CONNECT over HTTP/2 is not served');
  if (parts.scheme !== scheme) throw malformed(`:scheme is not ${scheme}`);
  refuseLong(path, limits);
  if (!(path.startsWith('/') || path === '*') || !consistsOf(path, VISIBLE))
    throw malformed(':path is no origin-form');
  const framing = framingOf(method, parts, received.ended);
  return {
    method,
    target: path,
    minor: 1,
    fields: [...hostFields(parts), ...fields],
    framing,
    keepAlive: true,
    expectContinue: expects(parts, framing),
  };
}

interface Parts {
  method: string;
  scheme: string;
  path: string;
  authority: string | undefined;
  host: string | undefined;
  length: number | undefined;
  expect: string | undefined;
  readonly fields: string[];
}

function partsOf(raw: readonly string[], limits: HttpLimits): Parts {
  const parts: Parts = {
    method: '',
    scheme: '',
    path: '',
    authority: undefined,
    host: undefined,
    length: undefined,
    expect: undefined,
    fields: [],
  };
  if (raw.length > limits.fieldCount * 2 + 8) throw tooManyFields(REQUEST, limits);
  let size = 0;
  let cookie = -1;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    // As a line of HTTP/1.1 would take it.
    const line = name.length + value.length + 4;
    size += line;
    if (line > limits.fieldBytes) throw longLine(REQUEST, limits);
    if (size > limits.headBytes) throw longHead(REQUEST, limits.headBytes);
    if (name.startsWith(':')) {
      takePseudo(parts, name, value);
      continue;
    }
    checkField(name, value);
    if (name === 'cookie' && cookie >= 0)
      parts.fields[cookie] = `${parts.fields[cookie]}; ${value}`;
    else if (takes(parts, name, value)) {
      if (name === 'cookie') cookie = parts.fields.length + 1;
      parts.fields.push(name, value);
    }
  }
  return parts;
}

function takePseudo(parts: Parts, name: string, value: string): void {
  switch (name) {
    case ':method':
      parts.method = value;
      break;
    case ':scheme':
      parts.scheme = value;
      break;
    case ':path':
      parts.path = value;
      break;
    case ':authority':
      parts.authority = value;
      break;
    case ':protocol':
      throw new Fault('upgrade-not-supported', 'extended CONNECT is not served', {
        hint: 'use WebSocket over HTTP/1.1',
      });
    default:
      throw malformed('a pseudo-header that requests do not have');
  }
}

/** What the engine has let through is looked at all the same: it is what is sent on. */
function checkField(name: string, value: string): void {
  if (name === '' || hasUpper(name) || !consistsOf(name, TOKEN))
    throw malformed('a field name is no lower-case token');
  if (value !== '' && (!consistsOf(value, VALUE | OBS_TEXT) || BLANK_AT_AN_END.test(value)))
    throw malformed('the value of a field holds what it may not');
  if (OF_CONNECTIONS.has(name))
    throw malformed(`${name} is a field of connections, which HTTP/2 does not have`);
  if (name === 'te' && value.toLowerCase() !== 'trailers')
    throw malformed('TE says something other than trailers');
}

const BLANK_AT_AN_END = /^[\t ]|[\t ]$/;

/** False for a field that is kept apart. */
function takes(parts: Parts, name: string, value: string): boolean {
  if (name === 'host') {
    if (parts.host !== undefined) throw malformed('more than one Host');
    parts.host = value;
    return false;
  }
  if (name === 'content-length') {
    if (parts.length !== undefined) throw malformed('more than one Content-Length');
    parts.length = byteCount(value);
    if (parts.length === undefined) throw malformed('Content-Length is not a number of bytes');
  } else if (name === 'expect')
    parts.expect = parts.expect === undefined ? value : `${parts.expect}, ${value}`;
  return true;
}

function hostFields({ authority, host }: Parts): Fields {
  const named = authority ?? host;
  if (named === undefined || named === '') throw malformed('neither :authority nor Host');
  if (
    authority !== undefined &&
    host !== undefined &&
    authority.toLowerCase() !== host.toLowerCase()
  ) {
    const hint = 'send one of them, or both alike';
    throw new Fault('ambiguous', ':authority and Host name different hosts', { hint, at: 'host' });
  }
  return ['host', named];
}

function framingOf(method: string, { length }: Parts, ended: boolean): Framing {
  if (ended) {
    if ((length ?? 0) > 0) throw malformed('Content-Length says there is a body and there is none');
    // A POST without content says so to a server of HTTP/1.1 (RFC 9110 section 8.6).
    return length === 0 || method === 'POST' || method === 'PUT' || method === 'PATCH'
      ? EMPTY
      : NONE;
  }
  if (method === 'HEAD' || method === 'TRACE') throw malformed(`${method} with a body`);
  return length === undefined ? CHUNKED : { kind: 'length', length };
}

function expects({ expect }: Parts, framing: Framing): boolean {
  if (expect === undefined) return false;
  if (expect.toLowerCase() !== '100-continue')
    throw new Fault('expectation-failed', 'the request expects something other than 100-continue');
  return framing.kind === 'chunked' || (framing.kind === 'length' && framing.length > 0);
}

function hasUpper(name: string): boolean {
  for (let i = 0; i < name.length; i++)
    if ((classes(name.charCodeAt(i)) & UPPER) !== 0) return true;
  return false;
}

/** Of a request that came over HTTP/2. */
export function malformed(problem: string): Fault {
  return new Fault('malformed', `the request head is malformed: ${problem}`, {
    hint: 'send HTTP/2 as RFC 9113 section 8 has it',
  });
}
