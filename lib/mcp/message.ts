/**
 * One message of JSON-RPC 2.0 as MCP uses it: a request, a notification or a response, never a
 * batch (MCP 2025-06-18 removed them). Members that JSON-RPC does not have are refused, and so is
 * whatever differs from one of its members, or of those of MCP that decide, in letter case alone:
 * parsers that look past case would read another message than the one that was judged.
 */
import { Fault } from '../base/fault.ts';
import {
  EMPTY,
  foldName,
  hasVariants,
  isObject,
  type Json,
  JsonNumber,
  type JsonObject,
} from '../schema/json.ts';
import { canonicalJson } from '../schema/json-writer.ts';

export type Id = string | JsonNumber;

export interface Request {
  readonly kind: 'request';
  readonly id: Id;
  readonly method: string;
  readonly params: JsonObject;
}

export interface Notification {
  readonly kind: 'notification';
  readonly method: string;
  readonly params: JsonObject;
}

export interface Response {
  readonly kind: 'response';
  /** Absent where the other side could not read one. */
  readonly id: Id | undefined;
  readonly result: JsonObject | undefined;
  readonly error: JsonObject | undefined;
}

export type Message = Request | Notification | Response;

const MAX_ID = 256;
const MEMBERS = byFold('jsonrpc id method params result error');
/** Members of `params` that something is decided by. */
const PARAMS =
  'name arguments uri _meta task ref argument inputResponses requestState protocolVersion ' +
  'capabilities clientInfo cursor mode url requestId';
const DECIDING = byFold(PARAMS);
/** Members of a result that something is decided by. */
const OF_RESULTS = byFold(
  'resultType inputRequests protocolVersion supportedVersions tools prompts resources ' +
    'resourceTemplates cacheScope',
);

export function byFold(names: string): ReadonlyMap<string, string> {
  return new Map(names.split(' ').map((name) => [foldName(name), name]));
}

export function badMessage(what: string, cause?: unknown): Fault {
  return new Fault('bad-message', what, { at: 'body', cause });
}

/** Of a message that can be read: a parameter is not one that may be sent. */
export function badParam(name: string, what: string): Fault {
  return new Fault('bad-message', `params.${name} ${what}`, { at: `params.${name}` });
}

/**
 * What the agent says: `params` has no variant of a deciding member. Throws a Fault `bad-message`.
 */
export function readMessage(value: Json): Message {
  if (isObject(value))
    for (const name of value.keys())
      if (!MEMBERS.has(name))
        throw badMessage('a message has a member that JSON-RPC does not know');
  const message = anyMessage(value);
  if (message.kind !== 'response') refuseVariants(message.params);
  return message;
}

/**
 * What a server says: data of any spelling may be below, but not where something is decided.
 * Members that JSON-RPC does not have are left out, and an empty result or error beside the other
 * one counts as none. Throws a Fault `bad-message`.
 */
export function readServerMessage(value: Json): Message {
  const message = anyMessage(isObject(value) ? known(value) : value);
  if (message.kind === 'request') refuseVariants(message.params);
  if (message.kind === 'response' && message.result !== undefined)
    refuseVariants(message.result, OF_RESULTS);
  const decided = message.kind === 'response' ? (message.result ?? message.error) : message.params;
  if (decided !== undefined && hasVariants(decided))
    throw badMessage('two members differ in letter case alone');
  return message;
}

function known(value: JsonObject): JsonObject {
  refuseVariants(value, MEMBERS);
  const empty = (name: string, other: string): boolean =>
    value.get(name) === null && (value.get(other) ?? undefined) !== undefined;
  const isNone = (name: string): boolean =>
    name === 'error' ? empty(name, 'result') : name === 'result' && empty(name, 'error');
  return new Map([...value].filter(([name]) => MEMBERS.has(name) && !isNone(name)));
}

/** The id of what would be a request if it could be read, for the refusal. */
export function idIn(value: Json): Id | undefined {
  if (!isObject(value) || typeof value.get('method') !== 'string') return undefined;
  try {
    return idOf(value.get('id'));
  } catch {
    return undefined;
  }
}

function anyMessage(value: Json): Message {
  if (Array.isArray(value))
    throw badMessage('batches are not part of this protocol version: send one message a request');
  if (!isObject(value)) throw badMessage('a message is a JSON object');
  if (value.get('jsonrpc') !== '2.0') throw badMessage('jsonrpc is not "2.0"');
  const method = value.get('method');
  if (method === undefined) return response(value);
  if (value.has('result') || value.has('error'))
    throw badMessage('a message with a method has no result and no error');
  if (typeof method !== 'string' || method === '') throw badMessage('method is not a text');
  const params = value.get('params') ?? EMPTY;
  if (!isObject(params) || value.get('params') === null)
    throw badMessage('params is not an object');
  if (!value.has('id')) return { kind: 'notification', method, params };
  return { kind: 'request', id: idOf(value.get('id')), method, params };
}

function response(value: JsonObject): Response {
  const result = value.get('result');
  const error = value.get('error');
  if (value.has('params') || (result === undefined) === (error === undefined))
    throw badMessage('a message has a method, or a result, or an error');
  if (result !== undefined) {
    if (!isObject(result)) throw badMessage('result is not an object');
    return { kind: 'response', id: idOf(value.get('id')), result, error: undefined };
  }
  const code = isObject(error) ? error.get('code') : undefined;
  if (!isObject(error) || !(code instanceof JsonNumber) || typeof error.get('message') !== 'string')
    throw badMessage('error has no code and message');
  const id = value.get('id') ?? undefined;
  return {
    kind: 'response',
    id: id === undefined ? undefined : idOf(id),
    result: undefined,
    error,
  };
}

function idOf(id: Json | undefined): Id {
  if (typeof id === 'string' && id.length <= MAX_ID) return id;
  if (id instanceof JsonNumber && /^-?\d{1,19}$/.test(id.text)) return id;
  throw badMessage(`id is neither a whole number nor a text of at most ${MAX_ID} characters`);
}

/** The deciding name that some member is in another letter case. */
export function misspelt(
  object: JsonObject,
  deciding: ReadonlyMap<string, string>,
): string | undefined {
  for (const name of object.keys()) {
    const meant = deciding.get(foldName(name));
    if (meant !== undefined && meant !== name) return meant;
  }
  return undefined;
}

/** Throws for such a member. */
export function refuseVariants(object: JsonObject, deciding = DECIDING): void {
  const meant = misspelt(object, deciding);
  if (meant !== undefined) throw badMessage(`a member differs from ${meant} in letter case`);
}

/** Equal ids, equal keys; the number 1 is not the text "1". */
export function idKey(id: Id): string {
  return canonicalJson(id);
}

/** The message as an object again, members in one order. */
export function asJson(message: Message): JsonObject {
  const members: [string, Json][] = [['jsonrpc', '2.0']];
  if (message.kind === 'response') {
    members.push(['id', message.id ?? null]);
    if (message.result !== undefined) members.push(['result', message.result]);
    if (message.error !== undefined) members.push(['error', message.error]);
    return new Map(members);
  }
  if (message.kind === 'request') members.push(['id', message.id]);
  members.push(['method', message.method]);
  if (message.params.size > 0) members.push(['params', message.params]);
  return new Map(members);
}

/** An object with one member replaced. */
export function withMember(object: JsonObject, name: string, value: Json): JsonObject {
  return new Map([...object, [name, value]]);
}

export interface RpcError {
  readonly code: number;
  readonly message: string;
  readonly data?: Readonly<Record<string, string | boolean | readonly string[] | undefined>>;
}

/** The text of an error response. */
export function errorText(id: Id | undefined, { code, message, data }: RpcError): string {
  const error = JSON.stringify({ code, message, data });
  return `{"jsonrpc":"2.0","id":${id === undefined ? 'null' : canonicalJson(id)},"error":${error}}`;
}
