/** A message of MCP that nobody sent, completed to what a client would have written. */
import { Fault } from '../base/fault.ts';
import type { DescribedHttp } from '../exchange/describe.ts';
import type { Message } from '../mcp/message.ts';
import { META_VERSION } from '../mcp/meta.ts';
import { outgoingFields } from '../mcp/outgoing.ts';
import { readPost } from '../mcp/request.ts';
import type { McpFacts } from '../policy/model/facts.ts';
import { isStateless } from '../policy/model/mcp-methods.ts';
import type { McpDestination, McpPolicy } from '../policy/protocols/mcp-service.ts';
import { parseJson } from '../schema/json-reader.ts';
import { type Json, type JsonObject, isObject } from '../schema/json.ts';

/** The request with the facts of the message, and of the fields that would be sent with it. */
export function hypotheticalMessage(
  head: DescribedHttp,
  destination: McpDestination,
  text: string,
): DescribedHttp {
  const { service: policy } = destination;
  const { http } = head.facts;
  const { message, mcp, received } = messageOf(text, http.fields, policy);
  const nothing = { session: undefined, params: undefined, shown: () => true };
  const outgoing = { received, message, facts: mcp, destination, ...nothing };
  const fields = outgoingFields(http.fields, outgoing);
  destination.spellings?.args(mcp.args);
  return { ...head, facts: { ...head.facts, http: { ...http, fields }, mcp } };
}

interface HypotheticalMessage {
  readonly message: Message;
  readonly mcp: McpFacts;
  readonly received: readonly string[];
}

function messageOf(text: string, kept: readonly string[], policy: McpPolicy): HypotheticalMessage {
  const written = parseJson(Buffer.from(text));
  if (!isObject(written))
    throw new Fault('usage', 'the message is no JSON object', { hint: 'write {"method": …}' });
  const version =
    [...policy.versions].findLast((known) => !isStateless(known)) ?? [...policy.versions][0] ?? '';
  const stateless = isStateless(version as Parameters<typeof isStateless>[0]);
  const message = new Map<string, Json>([['jsonrpc', '2.0'], ...idOf(written), ...written]);
  const params = written.get('params');
  if (stateless && (params === undefined || isObject(params)))
    message.set('params', repeating(params, version));
  const mirrors = stateless ? mirrorsOf(message) : [];
  const received = [...kept, 'mcp-protocol-version', version, ...mirrors];
  const read = readPost(received, message, { policy, session: undefined, wasGiven: () => true });
  return { message: read.message, mcp: read.facts, received };
}

/** A message that calls for an answer has an id. */
function idOf(message: JsonObject): readonly (readonly [string, Json])[] {
  const method = message.get('method');
  return typeof method === 'string' && method.startsWith('notifications/')
    ? []
    : [['id', 'hypothetical']];
}

function repeating(params: JsonObject | undefined, version: string): JsonObject {
  const meta = params?.get('_meta');
  return new Map([
    ...(params ?? []),
    ['_meta', new Map([...(isObject(meta) ? meta : []), [META_VERSION, version]])],
  ]);
}

function mirrorsOf(message: JsonObject): readonly string[] {
  const [method, params] = [message.get('method'), message.get('params')];
  const name = isObject(params) ? (params.get('name') ?? params.get('uri')) : undefined;
  return [
    ...(typeof method === 'string' ? ['mcp-method', method] : []),
    ...(typeof name === 'string' ? ['mcp-name', name] : []),
  ];
}
