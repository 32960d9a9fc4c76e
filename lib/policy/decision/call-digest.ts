/**
 * What a call asks for, in one digest, so that an approval is for this call and no other. An MCP
 * message is its method and all of its parameters; a request is its method, path, query, header
 * fields and content. What is not read whole has no digest, and nothing can be bound to it.
 */
import { createHash } from 'node:crypto';
import type { Fields } from '../../http/message.ts';
import { canonicalJson } from '../../schema/json-writer.ts';
import { EMPTY, type JsonObject, isObject } from '../../schema/json.ts';
import type { Facts } from '../model/facts.ts';

/**
 * How much of a call is known: all of it; all but its content, which may be read; content that was
 * found to be longer than may be read, or to be more than the one message of a unary gRPC call; an
 * answer to what a server of MCP asked within a call, which is read, but is no call; what is never
 * read: a tunnel, a WebSocket, a gRPC call that its rule calls streaming, a stream of MCP.
 */
export type Reading = 'whole' | 'unread' | 'long' | 'streams' | 'answer' | 'never';

export function readingOf({ http, mcp }: Facts): Reading {
  if (mcp?.kind === 'response') return 'answer';
  if (mcp !== undefined)
    return mcp.kind === 'request' || mcp.kind === 'notification' ? 'whole' : 'never';
  if (http === undefined || http.websocket) return 'never';
  if (http.empty === true) return 'whole';
  if (http.content === undefined) return 'unread';
  return typeof http.content === 'string' ? http.content : 'whole';
}

/**
 * `sha-256:` and base64url of SHA-256 over a JSON array of texts, the destination's host and port
 * first.
 */
export function parameterDigest(facts: Facts): string | undefined {
  if (readingOf(facts) !== 'whole') return undefined;
  const { host, port, http, mcp } = facts;
  const at = [host, String(port)];
  if (mcp !== undefined)
    return digestOf([
      ...at,
      'mcp',
      http?.path ?? '',
      mcp.method,
      mcp.paramsDigest ?? canonicalJson(digested(mcp.params ?? EMPTY)),
    ]);
  if (http === undefined) return undefined;
  const { content } = http;
  const body = content === undefined || typeof content === 'string' ? '' : content.digest;
  return digestOf([
    ...at,
    'http',
    http.method,
    http.path,
    http.query,
    ...boundFields(http.fields),
    body,
  ]);
}

/** Hex SHA-256 of content, as it stands in the digest of its request. */
export function contentDigest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

/** What differs each time the same call is made, and says nothing about what is done. */
const META_EACH_TIME: ReadonlySet<string> = new Set([
  'progressToken',
  'traceparent',
  'tracestate',
  'baggage',
]);

/** What of the parameters of a message the digest is over. */
export function digested(params: JsonObject): JsonObject {
  const meta = params.get('_meta');
  if (!isObject(meta)) return params;
  const kept = new Map([...meta].filter(([name]) => !META_EACH_TIME.has(name)));
  const rest = [...params].filter(([name]) => name !== '_meta');
  return new Map(kept.size === 0 ? rest : [...rest, ['_meta', kept]]);
}

/**
 * Fields that differ each time, or say what the client is and what it can read. All others are
 * bound: which account, which version, which precondition is in a field as often as in a body.
 */
const FIELD_EACH_TIME = new RegExp(
  `^(?:${[
    'accept|accept-encoding|accept-language|user-agent|date|content-length|traceparent|tracestate',
    'baggage|b3|x-b3-.*|x-request-id|x-correlation-id|x-amzn-trace-id|sentry-trace',
    'idempotency-key|x-stainless-.*|priority|expect|te|max-forwards|grpc-timeout',
    'grpc-accept-encoding|grpc-previous-rpc-attempts|grpc-trace-bin|grpc-tags-bin',
  ].join('|')})$`,
);

/** Name and value of the fields that are bound, in the order of their names. */
export function boundFields(fields: Fields): readonly string[] {
  const kept: (readonly [string, string])[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    const [name, value] = [fields[i], fields[i + 1]];
    if (name !== undefined && value !== undefined && !FIELD_EACH_TIME.test(name))
      kept.push([name, value]);
  }
  return kept.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).flat();
}

function digestOf(parts: readonly string[]): string {
  return `sha-256:${createHash('sha256').update(JSON.stringify(parts)).digest('base64url')}`;
}
