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
import { boundFields, readingOf } from '../decision/call-digest.ts';
import type { Content, Facts, HttpFacts } from '../model/facts.ts';
import { SECRET_FIELDS } from '../model/judged-fields.ts';
import { MESSAGE_PREFIX } from '../protocols/grpc-rules.ts';
import { Shown, VIEW_LIMITS, visible, withoutSecrets } from './redacted-text.ts';

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

function isText(bytes: Buffer): boolean {
  const text = bytes.toString('utf8');
  return !text.includes('\ufffd') && !text.includes('\0');
}
