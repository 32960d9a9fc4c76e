/**
 * `_meta` of what an agent says (MCP 2025-11-25, basic; 2026-07-28, request metadata). It is part
 * of every message and would carry anything: what has no meaning for the protocol goes no further.
 * - the version, and what the client can do, cut to policy (offers.ts);
 * - who the client is: the sidecar, unless the destination says `clientInfo: pass`;
 * - the level of log messages, the trace parent (W3C Trace Context; tracestate and baggage are free
 *   text), and a token for progress, which is mapped to ours (outgoing.ts);
 * - names that the destination lists in `mcp.meta`.
 */
import type { McpPolicy } from '../policy/protocols/mcp-service.ts';
import { type Json, JsonNumber, type JsonObject, isObject } from '../schema/json.ts';
import { type Message, badMessage } from './message.ts';
import { clientOffers } from './offers.ts';

const RESERVED = 'io.modelcontextprotocol/';
export const META_VERSION = `${RESERVED}protocolVersion`;
export const META_CAPABILITIES = `${RESERVED}clientCapabilities`;
const META_CLIENT = `${RESERVED}clientInfo`;
const META_LEVEL = `${RESERVED}logLevel`;
/** On notifications of a stream: the id of the request that asked for them. */
export const META_SUBSCRIPTION = `${RESERVED}subscriptionId`;

const LEVELS: ReadonlySet<Json> = new Set(
  'debug info notice warning error critical alert emergency'.split(' '),
);
const TRACE_PARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Names of the protocol; another letter case of one of them is refused. */
const PROTOCOL_NAMES: ReadonlyMap<string, string> = new Map(
  [META_VERSION, META_CAPABILITIES, META_CLIENT, META_LEVEL, 'progressToken'].map((name) => [
    name.toLowerCase(),
    name,
  ]),
);

/** What the server is told of the client. */
const OURS: JsonObject = new Map([
  ['name', 'chaperone'],
  ['version', '1'],
]);

export function clientInfo(
  told: Json | undefined,
  { clientInfo: how }: McpPolicy,
): Json | undefined {
  return told === undefined || how === 'pass' ? told : OURS;
}

export function isLevel(value: Json | undefined): boolean {
  return value !== undefined && LEVELS.has(value);
}

/** What may be a token for progress, or the id of a request. */
export function isToken(value: Json | undefined): value is string | JsonNumber {
  return typeof value === 'string' || value instanceof JsonNumber;
}

/**
 * What of `_meta` goes on; undefined where nothing does.
 * @param bare of a message that passes whatever was done before: nothing in it is of the agent's
 *        words
 */
export function passingMeta(
  meta: JsonObject,
  policy: McpPolicy,
  bare: boolean,
): JsonObject | undefined {
  const passed = new Map<string, Json>();
  for (const [name, value] of meta) {
    const kept = passes(name, value, policy);
    if (kept !== undefined && !(bare && !name.startsWith(RESERVED) && name !== 'progressToken'))
      passed.set(name, kept);
  }
  return passed.size === 0 ? undefined : passed;
}

function passes(name: string, value: Json, policy: McpPolicy): Json | undefined {
  switch (name) {
    case META_VERSION:
      return value;
    case META_CAPABILITIES:
      return isObject(value) ? clientOffers(value, policy) : undefined;
    case META_CLIENT:
      return clientInfo(value, policy);
    case META_LEVEL:
      return isLevel(value) ? value : undefined;
    case 'traceparent':
      return typeof value === 'string' && TRACE_PARENT.test(value) ? value : undefined;
    case 'progressToken':
      return isToken(value) ? value : undefined;
    default:
      return policy.meta.has(name) ? value : undefined;
  }
}

/**
 * What of `params` an approval can be bound to: without what differs from one sending to the next.
 */
export function lastingParams(params: JsonObject, { meta: listed }: McpPolicy): JsonObject {
  const meta = params.get('_meta');
  if (!isObject(meta)) return params;
  const lasting = new Map([...meta].filter(([name]) => listed.has(name)));
  const rest = new Map(params);
  if (lasting.size === 0) rest.delete('_meta');
  else rest.set('_meta', lasting);
  return rest;
}

export function metaOf(message: Message | undefined): JsonObject | undefined {
  if (message === undefined || message.kind === 'response') return undefined;
  const meta = message.params.get('_meta');
  if (meta === undefined) return undefined;
  if (!isObject(meta)) throw badMessage('params._meta is not an object');
  for (const name of meta.keys())
    if ((PROTOCOL_NAMES.get(name.toLowerCase()) ?? name) !== name)
      throw badMessage('a member of _meta differs from one of the protocol in letter case');
  return meta;
}
