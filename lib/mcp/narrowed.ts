/**
 * What of an agent's message goes on to the server: the members that its method has in the
 * protocol, and of those the ones with a meaning. What is left out is in nothing that is judged or
 * sent.
 */
import { EMPTY, isObject, type Json, JsonNumber, type JsonObject } from '../schema/json.ts';
import { CLIENT_METHODS, type McpVersion } from '../policy/model/mcp-methods.ts';
import type { McpPolicy } from '../policy/protocols/mcp-service.ts';
import { uriProblem } from '../net/resource.ts';
import {
  badMessage,
  badParam,
  idKey,
  type Message,
  type Notification,
  type Request,
  type Response,
} from './message.ts';
import { clientInfo, isLevel, isToken, passingMeta } from './meta.ts';
import { clientOffers } from './offers.ts';
import type { Session } from './sessions.ts';

/** What it is held against. */
export interface Passing {
  readonly policy: McpPolicy;
  readonly version: McpVersion;
  readonly session: Session | undefined;
  /** Whether the server gave this text, for this use. */
  readonly wasGiven: (use: string, text: string) => boolean;
}

/**
 * Throws a Fault `bad-message` for what the server gave nobody, or what is not of its few words.
 */
export function narrowed(message: Message, passing: Passing): Message {
  if (message.kind === 'response') return answer(message, passing);
  const params = paramsOf(message, passing);
  return { ...message, params };
}

/** Of errors an agent may answer with; the words are ours. */
const ERRORS: ReadonlyMap<string, string> = new Map([
  ['-1', 'refused by the user'],
  ['-32601', 'not supported'],
  ['-32602', 'invalid parameters'],
]);

/** What results of requests by the server hold. */
const RESULTS: Readonly<Record<string, readonly string[]>> = Object.freeze({
  'sampling/createMessage': ['role', 'content', 'model', 'stopReason'],
  'elicitation/create': ['action', 'content'],
  'roots/list': ['roots'],
});

function answer(message: Response, { session, policy }: Passing): Response {
  const { id, result, error } = message;
  if (error !== undefined) {
    const code = error.get('code');
    const text = code instanceof JsonNumber ? code.text : '';
    const words = ERRORS.get(text);
    const told: [string, Json][] = [
      ['code', new JsonNumber(words === undefined ? '-32603' : text)],
      ['message', words ?? 'failed'],
    ];
    return { ...message, error: new Map(told) };
  }
  const asked = id === undefined ? undefined : session?.asked.get(idKey(id));
  const kept = membersOf(result ?? EMPTY, RESULTS[asked?.method ?? ''] ?? []);
  const meta = result?.get('_meta');
  const passed = isObject(meta) ? passingMeta(meta, policy, asked?.method === 'ping') : undefined;
  if (passed !== undefined) kept.set('_meta', passed);
  return { ...message, result: kept };
}

function membersOf(object: JsonObject, names: readonly string[]): Map<string, Json> {
  return new Map([...object].filter(([name]) => names.includes(name)));
}

function paramsOf(message: Request | Notification, passing: Passing): JsonObject {
  const { method, params } = message;
  const row = CLIENT_METHODS.get(method);
  if (row === undefined) return params;
  const kept = membersOf(params, row.params);
  const meta = params.get('_meta');
  const bare = method === 'ping' || method === 'notifications/cancelled';
  const passed = isObject(meta) ? passingMeta(meta, passing.policy, bare) : undefined;
  if (passed !== undefined) kept.set('_meta', passed);
  for (const [name, value] of kept) {
    const left = MEMBERS[name]?.(value, message, passing);
    if (left !== undefined) kept.set(name, left);
  }
  if (kept.has('inputResponses') && passing.policy.serverRequests.size === 0)
    kept.delete('inputResponses');
  return kept;
}

type Member = (value: Json, message: Request | Notification, passing: Passing) => Json | undefined;

const wasGiven =
  (name: string): Member =>
  (value, { method }, passing) => {
    if (typeof value === 'string' && passing.wasGiven(`${method} ${name}`, value)) return value;
    throw badParam(name, 'is not what the server gave');
  };

/** Members that are more than a filter of names; each gives what goes on in its place. */
const MEMBERS: Readonly<Record<string, Member | undefined>> = Object.freeze({
  cursor: wasGiven('cursor'),
  requestState: wasGiven('requestState'),
  protocolVersion: (_, __, { version }) => version,
  capabilities: (value, _, { policy }) => (isObject(value) ? clientOffers(value, policy) : EMPTY),
  clientInfo: (value, _, { policy }) => clientInfo(value, policy),
  level(value) {
    if (isLevel(value)) return value;
    throw badParam('level', 'is no level of log messages');
  },
  progress: short,
  total: short,
  progressToken(value, _, { session }) {
    if (isToken(value) && session?.tokens.has(idKey(value)) === true) return value;
    throw badParam('progressToken', 'is not what the server gave');
  },
  notifications: (value) => (isObject(value) ? wishes(value) : EMPTY),
});

/** A number is written with as many digits as a double has. */
function short(value: Json): Json {
  if (value instanceof JsonNumber) return new JsonNumber(String(value.value));
  throw badMessage('progress is no number');
}

const WISHES: readonly string[] = [
  'toolsListChanged',
  'promptsListChanged',
  'resourcesListChanged',
];

/** What subscriptions/listen asks to be told of. */
function wishes(asked: JsonObject): JsonObject {
  const kept = new Map(
    [...asked].filter(([name, value]) => WISHES.includes(name) && typeof value === 'boolean'),
  );
  const resources = asked.get('resourceSubscriptions');
  if (!Array.isArray(resources)) return kept;
  for (const uri of resources)
    if (typeof uri !== 'string' || uriProblem(uri) !== undefined)
      throw badMessage('a URI that is not taken');
  return new Map<string, Json>([...kept, ['resourceSubscriptions', resources]]);
}
