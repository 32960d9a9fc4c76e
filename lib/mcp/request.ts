/**
 * A request of Streamable HTTP read as one message: media type, JSON, JSON-RPC, protocol version
 * and the fields that mirror the body, all in agreement or refused.
 * - The version is that of `MCP-Protocol-Version`, or of the session; in 2026-07-28 the body
 *   repeats it, and method and name stand in fields too.
 * - Fields are held against the body and then written anew from it; nothing is decided by them.
 * - What has no meaning for the protocol is in nothing that is judged or sent (narrowed.ts).
 */
import { hash } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import { fieldOf, fieldsOf, type Fields } from '../http/message.ts';
import type { McpFacts } from '../policy/model/facts.ts';
import { EMPTY, isObject, type Json, type JsonObject } from '../schema/json.ts';
import { canonicalJson } from '../schema/json-writer.ts';
import {
  CLIENT_METHODS,
  isStateless,
  KNOWN_VERSIONS,
  type McpVersion,
  MCP_VERSIONS,
  NAME,
} from '../policy/model/mcp-methods.ts';
import type { McpPolicy } from '../policy/protocols/mcp-service.ts';
import { uriProblem } from '../net/resource.ts';
import { digestOf } from './given.ts';
import { decodeValue } from './header-values.ts';
import {
  badMessage,
  badParam,
  idKey,
  type Message,
  readMessage,
  type Request,
  refuseVariants,
} from './message.ts';
import { lastingParams, META_VERSION, PROTOCOL_NAMES } from './meta.ts';
import { narrowed, type Passing } from './narrowed.ts';
import type { Session } from './sessions.ts';

/** What a message is about: the facts without what the server has said. */
export interface Read {
  readonly message: Message;
  readonly facts: McpFacts;
}

/** Whether the body can be read as JSON at all; a Fault `unsupported-media` otherwise. */
export function requireJson(fields: Fields): void {
  const type = fieldOf(fields, 'content-type');
  if (
    type === undefined ||
    !/^application\/json(?:[ \t]*;(?:[ \t]*charset="?utf-8"?)?)*$/i.test(type.trim())
  )
    throw new Fault('unsupported-media', 'the body of a message is application/json in UTF-8', {
      at: 'content-type',
    });
  requirePlain(fields);
}

function requirePlain(fields: Fields): void {
  for (const coding of fieldsOf(fields, 'content-encoding')) {
    if (coding.toLowerCase() !== 'identity')
      throw new Fault('unsupported-media', 'an encoded body cannot be inspected', {
        hint: 'send it without Content-Encoding',
        at: 'content-encoding',
      });
  }
}

/**
 * The message of a POST. Throws Faults `bad-message`, `header-mismatch` and `unsupported-version`.
 */
export function readPost(fields: Fields, value: Json, setting: Setting): Read {
  const { message, facts } = readValue(fields, value, setting);
  const words = digestible(message, facts);
  if (words === undefined) return { message, facts };
  return { message, facts: { ...facts, argsDigest: hash('sha256', canonicalJson(words)) } };
}

/** The same, but for the digest, which is left out. */
export function readValue(
  fields: Fields,
  value: Json,
  { policy, session, wasGiven }: Setting,
): Read {
  const received = readMessage(value);
  const version = versionOf(fields, received, { policy, session });
  checkMirrors(fields, received, version);
  const about = aboutOf(received, version, session);
  const message = narrowed(received, { policy, version, session, wasGiven });
  const params = message.kind === 'response' ? undefined : lastingParams(message.params, policy);
  return { message, facts: { ...NOTHING, version, params, ...about } };
}

/**
 * A GET or DELETE: the stream of the server, or the end of a session. A stream can be had without a
 * session, but nothing can be resumed there: what was said before is of whoever it was said to.
 */
export function readBodiless(
  fields: Fields,
  kind: 'stream' | 'end',
  { policy, session }: Held,
): McpFacts {
  const resumedAt = only(fields, 'last-event-id');
  if (session === undefined && (kind === 'end' || resumedAt !== undefined))
    throw new Fault(
      'session-unknown',
      'to resume a stream, or to end a session, needs its Mcp-Session-Id',
      {
        hint: 'open a session with initialize',
        at: 'mcp-session-id',
      },
    );
  if (
    kind === 'stream' &&
    resumedAt !== undefined &&
    session?.events.has(digestOf(resumedAt)) !== true
  )
    throw new Fault(
      'bad-message',
      'Last-Event-ID is not one that the server gave in this session',
      {
        hint: 'open the stream without it',
        at: 'last-event-id',
      },
    );
  return { ...NOTHING, version: versionOf(fields, undefined, { policy, session }), kind };
}

interface Held {
  readonly policy: McpPolicy;
  readonly session: Session | undefined;
}

export type Setting = Held & Pick<Passing, 'wasGiven'>;

const NOTHING = Object.freeze({
  method: '',
  tool: undefined,
  prompt: undefined,
  resource: undefined,
  args: EMPTY,
  argsDigest: undefined,
  definition: undefined,
});

/** The value of a field that may be there once. */
function only(fields: Fields, name: string): string | undefined {
  const [value, ...more] = fieldsOf(fields, name);
  if (more.length > 0) throw mismatch(`${name} is there more than once`, name);
  return value;
}

function mismatch(what: string, at: string): Fault {
  return new Fault('header-mismatch', what, {
    at,
    hint: 'fields repeat what the body says, or are left out',
  });
}

function versionOf(
  fields: Fields,
  message: Message | undefined,
  { policy, session }: Held,
): McpVersion {
  const field = only(fields, 'mcp-protocol-version');
  if (message?.kind === 'request' && message.method === 'initialize')
    return negotiated(message, policy);
  const repeated = metaOf(message)?.get(META_VERSION);
  if (repeated !== undefined && repeated !== field)
    throw mismatch('MCP-Protocol-Version is not the version in the body', 'mcp-protocol-version');
  // A session has the version that was negotiated; clients send another one that they know.
  const own = field === undefined || KNOWN_VERSIONS.includes(field) ? session?.version : undefined;
  const wanted = own ?? field ?? session?.version;
  const version = MCP_VERSIONS.find((one) => one === wanted);
  if (version === undefined || !policy.versions.has(version)) {
    const what =
      wanted === undefined
        ? 'MCP-Protocol-Version is missing'
        : 'the protocol version is not allowed here';
    throw unsupported(what, policy);
  }
  if (isStateless(version) && repeated === undefined && message?.kind === 'request')
    throw mismatch(
      `params._meta does not repeat the version (${META_VERSION})`,
      'mcp-protocol-version',
    );
  return version;
}

/**
 * The version of a handshake: the one that is asked for, or the newest that may be spoken
 * (2025-11-25, lifecycle).
 */
function negotiated({ params }: Request, policy: McpPolicy): McpVersion {
  const asked = params.get('protocolVersion');
  if (typeof asked !== 'string' || !/^\d{4}-\d{2}-\d{2}$/.test(asked))
    throw badParam('protocolVersion', 'is no version of the protocol');
  const spoken = MCP_VERSIONS.filter((one) => policy.versions.has(one) && !isStateless(one));
  const version = spoken.find((one) => one === asked) ?? spoken.at(-1);
  if (version === undefined) throw unsupported('the protocol version is not allowed here', policy);
  return version;
}

function unsupported(what: string, { versions }: McpPolicy): Fault {
  const hint = `the versions that are allowed here are ${[...versions].join(', ')}`;
  return new Fault('unsupported-version', what, { hint, at: 'mcp-protocol-version' });
}

function metaOf(message: Message | undefined): JsonObject | undefined {
  if (message === undefined || message.kind === 'response') return undefined;
  const meta = message.params.get('_meta');
  if (meta === undefined) return undefined;
  if (!isObject(meta)) throw badMessage('params._meta is not an object');
  for (const name of meta.keys())
    if ((PROTOCOL_NAMES.get(name.toLowerCase()) ?? name) !== name)
      throw badMessage('a member of _meta differs from one of the protocol in letter case');
  return meta;
}

/** Mcp-Method and Mcp-Name are what the body says; required in 2026-07-28. */
function checkMirrors(fields: Fields, message: Message, version: McpVersion): void {
  const method = only(fields, 'mcp-method');
  const name = only(fields, 'mcp-name');
  const inBody = message.kind === 'response' ? undefined : message.method;
  if (method !== undefined && method !== inBody)
    throw mismatch('Mcp-Method is not the method in the body', 'mcp-method');
  const meant = message.kind === 'request' ? mirroredName(message) : undefined;
  if (name !== undefined && (meant === undefined || decodeValue(name) !== meant))
    throw mismatch('Mcp-Name is not the name in the body', 'mcp-name');
  if (!isStateless(version) || message.kind !== 'request') return;
  if (method === undefined) throw mismatch('Mcp-Method is missing', 'mcp-method');
  if (meant !== undefined && name === undefined) throw mismatch('Mcp-Name is missing', 'mcp-name');
}

/** What Mcp-Name repeats, for the methods that have it. */
export function mirroredName({
  method,
  params,
}: {
  readonly method: string;
  readonly params: JsonObject;
}): string | undefined {
  const member =
    method === 'resources/read'
      ? 'uri'
      : method === 'tools/call' || method === 'prompts/get'
        ? 'name'
        : undefined;
  const value = member === undefined ? undefined : params.get(member);
  return typeof value === 'string' ? value : undefined;
}

/**
 * An elicitation that is answered by no, and by nothing else (MCP 2025-11-25, elicitation, response
 * actions).
 */
function declines(method: string | undefined, result: JsonObject | undefined): boolean {
  if (method !== 'elicitation/create' || result?.size !== 1) return false;
  const action = result.get('action');
  return action === 'decline' || action === 'cancel';
}

type About = Pick<McpFacts, 'kind' | 'method'> & Partial<McpFacts>;

function aboutOf(message: Message, version: McpVersion, session: Session | undefined): About {
  const { kind } = message;
  if (message.kind === 'response') {
    const asked = message.id === undefined ? undefined : session?.asked.get(idKey(message.id));
    const failed = message.error !== undefined || declines(asked?.method, message.result);
    return {
      kind,
      method: asked?.method ?? '',
      failed,
      answersIn: asked?.action,
      answersBy: asked?.rule,
    };
  }
  const { method, params } = message;
  const row = CLIENT_METHODS.get(method);
  if (row === undefined) return { kind, method };
  // With an id where it has none, or in a version that does not have it, it is not the method that
  // is known.
  const elsewhere = row.versions === (isStateless(version) ? 'session' : 'stateless');
  if (row.kind !== kind || elsewhere) return { kind, method: '' };
  switch (row.subject) {
    case 'tool':
      return { kind, method, tool: toolName(params), ...argumentsOf(params) };
    case 'prompt':
      return { kind, method, prompt: textOf(params, 'name'), ...argumentsOf(params) };
    case 'resource':
      return { kind, method, resource: resourceOf(params) };
    case 'reference':
      return { kind, method, ...referenceOf(params) };
    case 'method':
    case 'protocol':
      return { kind, method };
  }
}

function textOf(params: JsonObject, name: string): string {
  const value = params.get(name);
  if (typeof value === 'string' && value.length > 0 && value.length <= 256) return value;
  throw badMessage(`params.${name} is not a text of 1 to 256 characters`);
}

function toolName(params: JsonObject): string {
  const name = textOf(params, 'name');
  if (NAME.test(name)) return name;
  throw badMessage('the name of a tool is of A-Z, a-z, 0-9, _, . and -, at most 128 of them');
}

function argumentsOf(params: JsonObject): Pick<McpFacts, 'args'> {
  const args = params.has('arguments') ? params.get('arguments') : EMPTY;
  if (!isObject(args)) throw badMessage('params.arguments is not an object');
  return { args };
}

/** What a record has a digest of: arguments, or the result with which the agent answers. */
export function digestible(message: Message, { method, args }: McpFacts): JsonObject | undefined {
  if (message.kind === 'response') return message.result;
  return method === 'tools/call' || method === 'prompts/get' ? args : undefined;
}

function resourceOf(params: JsonObject): string {
  const uri = params.get('uri');
  if (typeof uri !== 'string') throw badMessage('params.uri is not a text');
  const problem = uriProblem(uri);
  if (problem !== undefined) throw badMessage(`params.uri ${problem}`);
  return uri;
}

/**
 * completion/complete: of a prompt, or of a template, which stands for the place where its first
 * expression begins.
 */
function referenceOf(params: JsonObject): Partial<McpFacts> {
  const ref = params.get('ref');
  if (!isObject(ref)) throw badMessage('params.ref is not an object');
  refuseVariants(ref);
  if (ref.get('type') === 'ref/prompt') return { prompt: textOf(ref, 'name') };
  const uri = ref.get('type') === 'ref/resource' ? ref.get('uri') : undefined;
  if (typeof uri !== 'string') throw badMessage('params.ref names neither a prompt nor a resource');
  const start = uri.split('{', 1)[0] ?? '';
  const problem = uriProblem(start.endsWith('/') || start.endsWith(':') ? `${start}x` : start);
  if (problem !== undefined) throw badMessage(`params.ref.uri ${problem}`);
  return { resource: start };
}
