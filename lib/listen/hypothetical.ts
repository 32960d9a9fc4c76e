/**
 * The facts of an exchange that is only supposed: what would be judged if this came in, read by the
 * very functions that read what comes in. For `explain` and for tests of policy; nothing is
 * dialled, resolved or recorded.
 */
import { isOfRequests, matrixRow } from '../policy/protocols/index.ts';
import { Fault } from '../base/fault.ts';
import {
  type Reading,
  describeConnect,
  describeForward,
  describeIntercepted,
  describeListener,
  describeRaw,
} from '../exchange/describe.ts';
import { fieldRules } from '../exchange/headers.ts';
import { endpointFor } from '../forward/mcp.ts';
import { httpLimits } from '../http/limits.ts';
import type { RequestHead } from '../http/message.ts';
import { parseRequestHead } from '../http1/head.ts';
import type { Message } from '../mcp/message.ts';
import { META_VERSION } from '../mcp/meta.ts';
import { outgoingFields } from '../mcp/outgoing.ts';
import { readPost } from '../mcp/request.ts';
import { formatAuthority, parseAuthority } from '../net/authority.ts';
import { decide } from '../policy/decision/decide.ts';
import type { McpDestination, McpPolicy } from '../policy/protocols/mcp-service.ts';
import { type Facts, type McpFacts, type RequestFacts, isRequest } from '../policy/model/facts.ts';
import type { TaskFacts } from '../policy/model/grant.ts';
import { isStateless } from '../policy/model/mcp-methods.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { callOf } from '../policy/protocols/grpc-rules.ts';
import { parseJson } from '../schema/json-reader.ts';
import { type Json, type JsonObject, isObject } from '../schema/json.ts';
import type { SpiffeId } from '../spiffe/id.ts';

export interface Supposed {
  readonly method: string;
  /**
   * `http://host/path`; `https://host/path`, for which a client sends CONNECT first; `host:port` of
   * CONNECT.
   */
  readonly target: string;
  /** As asked on the local listener of this destination. */
  readonly listener?: string | undefined;
  /** `name: value` */
  readonly fields?: readonly string[];
  /**
   * The JSON-RPC message in the body, at an MCP destination: `{"method": …, "params": …}` is
   * enough.
   */
  readonly message?: string | undefined;
  /** Milliseconds since the epoch. */
  readonly time: number;
  readonly peer?: SpiffeId | undefined;
  readonly task?: TaskFacts | undefined;
}

/** What crosses the proxy; nothing that is supposed has been through this one before. */
const FIELDS = fieldRules({ pseudonym: 'chaperone-supposed' });

/** Throws the Fault with which the sidecar would refuse it unread, or `usage`. */
export function suppose(supposed: Supposed, policy: Policy): Facts {
  const { peer, task, message } = supposed;
  const facts = withCall({ ...described(supposed, policy), peer, task }, policy);
  if (message === undefined) return facts;
  const destination = endpointFor(policy, facts);
  if (destination === undefined || !isRequest(facts) || facts.http.method !== 'POST') {
    throw new Fault(
      'usage',
      'there is a message, and this is no POST to the endpoint of an MCP destination',
      {
        hint: 'see mcp.endpoints of the destination',
      },
    );
  }
  const whole = withMessage(facts, message, { destination, policy: destination.service });
  if (whole.mcp !== undefined) destination.spellings?.args(whole.mcp.args);
  return whole;
}

/** At a gRPC destination a request is a call. */
function withCall(facts: Facts, policy: Policy): Facts {
  const { http, host, port } = facts;
  if (http === undefined || policy.find(host, port)?.service.protocol !== 'grpc') return facts;
  return { ...facts, grpc: callOf(http) };
}

function described(supposed: Supposed, policy: Policy): Facts {
  const { method, target, listener, time } = supposed;
  if (method === 'CONNECT') return describeConnect(headOf(supposed, target), time);
  const [, scheme = '', authority = ''] = /^([a-z]+):\/\/([^/?#]*)/i.exec(target) ?? [];
  if (listener !== undefined) return atListener(supposed, { authority, listener, policy });
  const head = headOf(supposed, authority);
  const reading = { policy, fields: FIELDS, time };
  if (scheme.toLowerCase() !== 'https') return describeForward(head, reading).facts;
  return throughTunnel(head, authority, { policy, reading });
}

/**
 * What an https:// URL comes to: the CONNECT that a client sends for it, or the request inside
 * where the destination is intercepted.
 */
function throughTunnel(
  head: RequestHead,
  named: string,
  { policy, reading }: Pick<At, 'policy'> & { readonly reading: Reading },
): Facts {
  const authority = parseAuthority(named, 443);
  const target = formatAuthority(authority.host, authority.port);
  const connect = describeConnect(
    { ...head, method: 'CONNECT', target, fields: ['host', target] },
    reading.time,
  );
  const { effect, destination } = decide(policy, connect);
  const opened = effect === 'allow' && destination !== undefined;
  if (!opened || matrixRow(connect, destination).outcome !== 'intercepted') return connect;
  return describeIntercepted(head, authority, reading).facts;
}

interface At {
  readonly authority: string;
  readonly listener: string;
  readonly policy: Policy;
}

function atListener(supposed: Supposed, { authority, listener, policy }: At): Facts {
  const destination = policy.byName.get(listener);
  if (destination?.listen === undefined) {
    throw new Fault('usage', `no destination ${JSON.stringify(listener)} has a local listener`, {
      hint: 'see spec.listen',
    });
  }
  const { time } = supposed;
  if (!isOfRequests(destination)) return describeRaw(destination, time);
  const reading = { policy, fields: FIELDS, time };
  return describeListener(
    headOf(supposed, authority),
    { destination, local: destination.listen },
    reading,
  ).facts;
}

function headOf({ method, target, fields = [] }: Supposed, host: string): RequestHead {
  const lines = [`${method} ${target} HTTP/1.1`, `host: ${host}`, ...fields];
  const one = lines.every((line) => !/[\r\n]/.test(line));
  const head = one ? parseRequestHead(`${lines.join('\r\n')}\r\n\r\n`, httpLimits()) : undefined;
  if (head === undefined)
    throw new Fault(
      'malformed',
      'the method, the target or a field is no single line of a request',
    );
  return head;
}

interface Served {
  readonly destination: McpDestination;
  readonly policy: McpPolicy;
}

/** The facts of the message, and of the fields that would be sent with it. */
function withMessage(facts: RequestFacts, text: string, { destination, policy }: Served): Facts {
  const kept = facts.http.fields;
  const { message, mcp, received } = messageOf(text, kept, policy);
  const nothing = { session: undefined, params: undefined, shown: () => true };
  const fields = outgoingFields(kept, { received, message, facts: mcp, destination, ...nothing });
  return { ...facts, http: { ...facts.http, fields }, mcp };
}

interface SupposedMessage {
  readonly message: Message;
  readonly mcp: McpFacts;
  readonly received: readonly string[];
}

function messageOf(text: string, kept: readonly string[], policy: McpPolicy): SupposedMessage {
  const written = parseJson(Buffer.from(text));
  if (!isObject(written))
    throw new Fault('usage', 'the message is no JSON object', { hint: 'write {"method": …}' });
  const version =
    [...policy.versions].findLast((one) => !isStateless(one)) ?? [...policy.versions][0] ?? '';
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

/** What calls for an answer has an id. */
function idOf(message: JsonObject): readonly (readonly [string, Json])[] {
  const method = message.get('method');
  return typeof method === 'string' && method.startsWith('notifications/')
    ? []
    : [['id', 'supposed']];
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
