/**
 * A call as the person sees it who is to approve it: what would be sent, and nothing that the agent
 * says about it. Rules:
 * - bounded: long texts and long content are cut, and what is left out is named with its size; it
 *   is part of what is approved all the same (lib/policy/decision/call-digest.ts);
 * - redacted: values of names that secrets travel under are not shown;
 * - no text can steer a terminal, break a line, or turn the direction of what is read.
 */
import type { Fields } from '../../http/message.ts';
import { parseJson } from '../../schema/json-reader.ts';
import { type Json, JsonNumber, type JsonObject, isObject } from '../../schema/json.ts';
import { boundFields, readingOf } from '../decision/call-digest.ts';
import type { Content, Facts, HttpFacts } from '../model/facts.ts';
import { SECRET_FIELDS } from '../model/judged-fields.ts';
import { MESSAGE_PREFIX } from '../protocols/grpc-rules.ts';

export interface CallView {
  /**
   * Of HTTP; of MCP that of the message. undefined for a connection in which no request is seen.
   */
  readonly method: string | undefined;
  readonly host: string;
  readonly port: number;
  readonly path?: string;
  /** Names and values, decoded, in their order. */
  readonly query?: readonly (readonly [string, string])[];
  /** Header fields that are part of what is approved. */
  readonly fields?: readonly (readonly [string, string])[];
  readonly tool?: string;
  readonly prompt?: string;
  readonly resource?: string;
  /** JSON, of an MCP message: its arguments, `_meta`, and all other parameters. */
  readonly arguments?: string;
  readonly meta?: string;
  readonly params?: string;
  /** JSON or text. */
  readonly body?: string;
  /** What is not shown, and of what size. */
  readonly leftOut: readonly string[];
}

/**
 * Characters: of one text, of all JSON or content together; and members of a list or an object,
 * pairs of a query.
 */
export const VIEW_LIMITS = Object.freeze({
  text: 1024,
  content: 16_384,
  members: 100,
  parsed: 65_536,
});

export function callView(facts: Facts): CallView {
  const shown = new Shown();
  const { host, port, http, mcp } = facts;
  if (mcp !== undefined) {
    const { method, tool, prompt, resource, params } = mcp;
    const rest = new Map([...(params ?? [])].filter(([name]) => !APART.has(name)));
    const [args, meta] = [params?.get('arguments'), params?.get('_meta')];
    return {
      method: shown.text(method, 'method'),
      host,
      port,
      ...(http && { path: shown.text(http.path, 'path') }),
      ...(tool !== undefined && { tool: shown.text(tool, 'tool') }),
      ...(prompt !== undefined && { prompt: shown.text(prompt, 'prompt') }),
      ...(resource !== undefined && { resource: shown.text(resource, 'resource') }),
      ...(args !== undefined && { arguments: shown.json(args, 'arguments') }),
      ...(meta !== undefined && { meta: shown.json(meta, '_meta') }),
      ...(rest.size > 0 && { params: shown.json(rest, 'params') }),
      leftOut: shown.leftOut,
    };
  }
  if (http === undefined) {
    shown.leftOut.push('all that goes through the connection: nothing of it is read');
    return { method: undefined, host, port, leftOut: shown.leftOut };
  }
  return {
    method: shown.text(http.method, 'method'),
    host,
    port,
    path: shown.text(http.path, 'path'),
    query: queryOf(http.query, shown),
    fields: fieldsOf(http, shown),
    ...contentOf(facts, http, shown),
    leftOut: shown.leftOut,
  };
}

/** Of MCP parameters, what is shown by itself. */
const APART: ReadonlySet<string> = new Set(['name', 'uri', 'arguments', '_meta']);

const SECRET = new RegExp(
  'pass(?:word|wd|phrase|code)|secret|token|(?:api|access|private)[-_]?key|authorization|' +
    'credential|cookie|session|signature|jwt|bearer|^(?:pin|otp|cvv|cvc|sig|key|auth)$',
  'i',
);

const ASSIGNED =
  /([\w-]{1,64})(["']?\s{0,8}[:=]\s{0,8})("[^"\n]*"|(?:bearer |basic )?[^\s,;&"'}]+)/gi;

/**
 * What steers a terminal or a reader's eye: control, format, private and unassigned characters,
 * line separators.
 */
const STEERING = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]/gu;

function visible(text: string): string {
  return text.replace(STEERING, (one) =>
    one === '\n' ? '\\n' : `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

class Shown {
  readonly leftOut: string[] = [];
  #left: number = VIEW_LIMITS.content;

  text(text: string, what: string): string {
    const { text: most } = VIEW_LIMITS;
    if (text.length <= most) return visible(text);
    const [head, tail] = [text.slice(0, most / 2), text.slice(text.length - most / 4)];
    const gone = text.length - head.length - tail.length;
    this.leftOut.push(`${gone} characters within ${what}`);
    return `${visible(head)} […${gone} characters left out…] ${visible(tail)}`;
  }

  value(name: string, value: string, what: string): string {
    if (!SECRET.test(name)) return this.text(value, what);
    this.leftOut.push(`the value of ${what} (${value.length} characters, redacted)`);
    return `[redacted: ${value.length} characters]`;
  }

  json(value: Json, what: string): string {
    const parts: string[] = [];
    const before = this.#left;
    this.#write(value, what, parts);
    if (this.#left <= 0 && before > 0)
      this.leftOut.push(`what follows in ${what}, over ${before} characters`);
    else if (before <= 0) this.leftOut.push(`all of ${what}`);
    return parts.join('');
  }

  /** Bounded content that is no JSON. */
  content(text: string, what: string): string {
    const most = Math.max(0, this.#left);
    this.#left -= text.length;
    if (text.length <= most) return visible(text);
    this.leftOut.push(`${text.length - most} characters at the end of ${what}`);
    return `${visible(text.slice(0, most))} […${text.length - most} characters left out]`;
  }

  #put(parts: string[], text: string): void {
    this.#left -= text.length;
    parts.push(text);
  }

  #write(value: Json, path: string, parts: string[]): void {
    if (this.#left <= 0) return this.#put(parts, '…');
    if (typeof value === 'string') return this.#put(parts, JSON.stringify(this.text(value, path)));
    if (value instanceof JsonNumber) return this.#put(parts, this.text(value.text, path));
    if (isObject(value)) return this.#object(value, path, parts);
    if (!Array.isArray(value)) return this.#put(parts, JSON.stringify(value));
    this.#put(parts, '[');
    for (const [i, one] of value.slice(0, VIEW_LIMITS.members).entries()) {
      if (i > 0) this.#put(parts, ', ');
      this.#write(one, `${path}[${i}]`, parts);
    }
    this.#more(value.length, path, parts);
    this.#put(parts, ']');
  }

  #object(value: JsonObject, path: string, parts: string[]): void {
    this.#put(parts, '{');
    let i = 0;
    for (const [name, one] of value) {
      if (i >= VIEW_LIMITS.members || this.#left <= 0) break;
      if (i > 0) this.#put(parts, ', ');
      i += 1;
      const at = `${path}.${this.text(name, `a name in ${path}`)}`;
      this.#put(parts, `${JSON.stringify(visible(name.slice(0, VIEW_LIMITS.text)))}: `);
      if (SECRET.test(name) && typeof one !== 'boolean' && one !== null)
        this.#put(parts, this.#secret(one, at));
      else this.#write(one, at, parts);
    }
    this.#more(value.size, path, parts);
    this.#put(parts, '}');
  }

  #secret(value: Json, path: string): string {
    const size = typeof value === 'string' ? `${value.length} characters` : 'not a text';
    this.leftOut.push(`the value of ${path} (${size}, redacted)`);
    return JSON.stringify(`[redacted: ${size}]`);
  }

  #more(size: number, path: string, parts: string[]): void {
    if (size <= VIEW_LIMITS.members) return;
    this.leftOut.push(`${size - VIEW_LIMITS.members} members of ${path}`);
    this.#put(parts, `, …${size - VIEW_LIMITS.members} more`);
  }
}

function queryOf(query: string, shown: Shown): readonly (readonly [string, string])[] {
  const pairs = query === '' ? [] : query.slice(1).split('&');
  if (pairs.length > VIEW_LIMITS.members)
    shown.leftOut.push(`${pairs.length - VIEW_LIMITS.members} parameters at the end of the query`);
  return pairs.slice(0, VIEW_LIMITS.members).map((pair) => {
    const [name = '', value = ''] = /^([^=]*)=?(.*)$/s.exec(pair)?.slice(1).map(decoded) ?? [];
    return [
      shown.text(name, 'a name in the query'),
      shown.value(name, value, `${visible(name.slice(0, 64))} in the query`),
    ];
  });
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '));
  } catch {
    return text;
  }
}

function fieldsOf({ fields }: HttpFacts, shown: Shown): readonly (readonly [string, string])[] {
  const bound = boundFields(fields);
  return bound.flatMap((name, i) => {
    const value = bound[i + 1];
    if (i % 2 === 1 || value === undefined) return [];
    if (!SECRET_FIELDS.has(name))
      return [[name, shown.value(name, value, `field ${name}`)] as const];
    shown.leftOut.push(`the value of field ${name} (${value.length} characters, redacted)`);
    return [[name, `[redacted: ${value.length} characters]`] as const];
  });
}

/**
 * Nothing of a message is decoded: without its schema protobuf has no names, and more than one
 * meaning.
 */
function messageOf({ bytes, digest }: Content, fields: Fields, shown: Shown): void {
  const encoding = bytes[0] === 1 ? fields[fields.indexOf('grpc-encoding') + 1] : undefined;
  const packed = encoding === undefined ? '' : `, compressed (${visible(encoding.slice(0, 32))})`;
  const size = Math.max(0, bytes.length - MESSAGE_PREFIX);
  shown.leftOut.push(
    `the message, which is not decoded: ${size} bytes${packed}; SHA-256 of the content ${digest}`,
  );
}

function contentOf(
  facts: Facts,
  { content, fields }: HttpFacts,
  shown: Shown,
): { readonly body?: string } {
  switch (readingOf(facts)) {
    case 'never':
    case 'answer':
      shown.leftOut.push('all that is sent after the head: nothing of it is read');
      return {};
    case 'unread':
    case 'long':
    case 'streams':
      shown.leftOut.push('the content: it was not read');
      return {};
    case 'whole':
      break;
  }
  if (content === undefined || typeof content === 'string' || content.bytes.length === 0) return {};
  if (facts.grpc !== undefined) {
    messageOf(content, fields, shown);
    return {};
  }
  const { bytes, digest } = content;
  const at = fields.indexOf('content-type');
  const type = at < 0 ? '' : (fields[at + 1] ?? '');
  if (fields.includes('content-encoding') || !isText(bytes)) {
    shown.leftOut.push(
      `the content, which is no text: ${bytes.length} bytes with SHA-256 ${digest}`,
    );
    return {};
  }
  const json = /json/i.test(type);
  if (json && bytes.length > VIEW_LIMITS.parsed) {
    shown.leftOut.push(`the content: ${bytes.length} bytes of JSON with SHA-256 ${digest}`);
    return {};
  }
  if (json) {
    try {
      return { body: shown.json(parseJson(bytes), 'the content') };
    } catch {
      shown.leftOut.push('that the content is said to be JSON, and is not');
    }
  }
  if (/^application\/x-www-form-urlencoded/i.test(type)) {
    const pairs = queryOf(`?${bytes.toString('utf8')}`, shown);
    return {
      body: shown.content(
        pairs.map(([name, value]) => `${name}=${value}`).join(' & '),
        'the content',
      ),
    };
  }
  return { body: shown.content(withoutSecrets(bytes.toString('utf8'), shown), 'the content') };
}

/** `name: value` and `name=value` in text that has no form that could be read. */
function withoutSecrets(text: string, shown: Shown): string {
  return text.replace(ASSIGNED, (all, name: string, between: string, value: string) => {
    if (!SECRET.test(name)) return all;
    shown.leftOut.push(
      `the value of ${visible(name)} in the content (${value.length} characters, redacted)`,
    );
    return `${name}${between}[redacted: ${value.length} characters]`;
  });
}

function isText(bytes: Buffer): boolean {
  const text = bytes.toString('utf8');
  return !text.includes('\ufffd') && !text.includes('\0');
}
