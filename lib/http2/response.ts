/**
 * The head of an answer over HTTP/2 as that of an answer over HTTP/1.1: the same limits and
 * grammar, nothing of a connection in it.
 */
import { byteCount } from '../http/grammar.ts';
import { RESPONSE, longHead, longLine, malformed, tooManyFields } from '../http/field-lines.ts';
import { OBS_TEXT, TOKEN, UPPER, VALUE, classes, consistsOf } from '../http/grammar.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Fields, Framing, ResponseHead } from '../http/message.ts';

const NONE: Framing = Object.freeze({ kind: 'none' });
const CHUNKED: Framing = Object.freeze({ kind: 'chunked' });

const OF_CONNECTIONS: ReadonlySet<string> = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'upgrade',
]);

/** The final head of an answer. `ended`: it has no content. Throws a Fault `upstream-malformed`. */
export function responseHead(
  raw: readonly string[],
  ended: boolean,
  limits: HttpLimits,
): ResponseHead {
  const { status, fields } = partsOf(raw, limits);
  if (status < 200) throw malformed(RESPONSE, `status ${status} in a final answer`);
  return {
    status,
    reason: '',
    minor: 1,
    fields,
    framing: framingOf(fields, ended),
    keepAlive: true,
  };
}

/** The head of an interim answer. */
export function informHead(
  raw: readonly string[],
  limits: HttpLimits,
): { readonly status: number; readonly fields: Fields } {
  const parts = partsOf(raw, limits);
  if (parts.status > 199 || parts.status === 101)
    throw malformed(RESPONSE, `status ${parts.status} in between`);
  return parts;
}

function partsOf(raw: readonly string[], limits: HttpLimits): { status: number; fields: string[] } {
  const fields: string[] = [];
  let status = 0;
  let size = 0;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] ?? '';
    const value = raw[i + 1] ?? '';
    const line = name.length + value.length + 4;
    size += line;
    if (line > limits.fieldBytes) throw longLine(RESPONSE, limits);
    if (name === ':status') status = /^[1-5]\d\d$/.test(value) ? Number(value) : 0;
    else {
      checkField(name, value);
      fields.push(name, value);
    }
  }
  if (status === 0) throw malformed(RESPONSE, 'no status');
  if (size > limits.headBytes) throw longHead(RESPONSE, limits.headBytes);
  if (fields.length > limits.fieldCount * 2) throw tooManyFields(RESPONSE, limits);
  return { status, fields };
}

function checkField(name: string, value: string): void {
  if (!consistsOf(name, TOKEN)) throw malformed(RESPONSE, 'a field name is no token');
  for (let i = 0; i < name.length; i++)
    if ((classes(name.charCodeAt(i)) & UPPER) !== 0)
      throw malformed(RESPONSE, 'a field name in upper case');
  if (value !== '' && !consistsOf(value, VALUE | OBS_TEXT))
    throw malformed(RESPONSE, `the value of ${name} holds what a field may not`);
  if (name === 'transfer-encoding' || OF_CONNECTIONS.has(name))
    throw malformed(RESPONSE, `${name} is a field of connections`);
}

function framingOf(fields: Fields, ended: boolean): Framing {
  let length: number | undefined;
  for (let i = 0; i < fields.length; i += 2) {
    if (fields[i] !== 'content-length') continue;
    if (length !== undefined) throw malformed(RESPONSE, 'more than one Content-Length');
    length = byteCount(fields[i + 1] ?? '');
    if (length === undefined) throw malformed(RESPONSE, 'Content-Length is not a number of bytes');
  }
  if (ended) return NONE;
  return length === undefined ? CHUNKED : { kind: 'length', length };
}
