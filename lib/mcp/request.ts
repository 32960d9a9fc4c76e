/**
 * A request of Streamable HTTP read as one message: media type, JSON, JSON-RPC, protocol version and the fields that mirror the body, all in agreement or refused.
 * - The version is that of `MCP-Protocol-Version`, or of the session; in 2026-07-28 the body repeats it, and method and name stand in fields too.
 * - Fields are held against the body and then written anew from it; nothing is decided by them.
 * - What the client says it can do for the server is narrowed to what the server may ask for, so that servers do not ask in vain.
 */
import { hash } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import { fieldOf, fieldsOf, type Fields } from '../http1/message.ts';
import type { McpFacts } from '../policy/facts.ts';
import { EMPTY, isObject, type Json, type JsonObject } from '../policy/json.ts';
import { parseJson } from '../policy/json-reader.ts';
import { canonicalJson, writeJson } from '../policy/json-writer.ts';
import { CLIENT_METHODS, isStateless, type McpVersion, MCP_VERSIONS, NAME } from '../policy/mcp-methods.ts';
import type { McpPolicy } from '../policy/model.ts';
import { uriProblem } from '../policy/resource.ts';
import { decodeValue } from './header-values.ts';
import { asJson, badMessage, idKey, type Message, readMessage, refuseVariants, withMember } from './message.ts';
import type { Session } from './sessions.ts';

const META = 'io.modelcontextprotocol/';
export const META_VERSION = `${META}protocolVersion`;
const META_CAPABILITIES = `${META}clientCapabilities`;

/** What a message is about: the facts without what the server has said. */
export interface Read {
  readonly message: Message;
  readonly facts: McpFacts;
}

/** Whether the body can be read as JSON at all; a Fault `unsupported-media` otherwise (M4, M5). */
export function requireJson(fields: Fields): void {
  const type = fieldOf(fields, 'content-type');
  if (type === undefined || !/^application\/json(?:\s*;\s*charset="?utf-8"?)?$/i.test(type.trim()))
    throw new Fault('unsupported-media', 'the body of a message is application/json in UTF-8', { at: 'content-type' });
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

/** The message of a POST. Throws Faults `bad-json`, `bad-message`, `header-mismatch` and `unsupported-version`. */
export function readPost(fields: Fields, bytes: Buffer, setting: Setting): Read {
  const { message, facts } = readValue(fields, parseJson(bytes), setting);
  const { args } = facts;
  if (!hasArguments(facts)) return { message, facts };
  return { message, facts: { ...facts, argsDigest: hash('sha256', canonicalJson(args)) } };
}

/** The same of JSON that has been read, but for the digest of the arguments, which is left out. */
export function readValue(fields: Fields, value: Json, { policy, session }: Setting): Read {
  const message = readMessage(value);
  const version = versionOf(fields, message, { policy, session });
  checkMirrors(fields, message, version);
  const params = message.kind === 'response' ? undefined : message.params;
  return { message, facts: { ...NOTHING, version, params, ...aboutOf(message, version, session) } };
}

/**
 * A GET or DELETE: the stream of the server, or the end of a session. A stream can be had without a session, but nothing can be resumed there: what was said before is
 * of whoever it was said to.
 */
export function readBodiless(fields: Fields, kind: 'stream' | 'end', { policy, session }: Setting): McpFacts {
  const resumes = fieldOf(fields, 'last-event-id') !== undefined;
  if (session === undefined && (kind === 'end' || resumes))
    throw new Fault('session-unknown', 'to resume a stream, or to end a session, needs its Mcp-Session-Id', {
      hint: 'open a session with initialize',
      at: 'mcp-session-id',
    });
  return { ...NOTHING, version: versionOf(fields, undefined, { policy, session }), kind };
}

export interface Setting {
  readonly policy: McpPolicy;
  readonly session: Session | undefined;
}

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
  return new Fault('header-mismatch', what, { at, hint: 'fields repeat what the body says, or are left out' });
}

function versionOf(fields: Fields, message: Message | undefined, { policy, session }: Setting): McpVersion {
  const field = only(fields, 'mcp-protocol-version');
  const meta = metaOf(message);
  const repeated = meta?.get(META_VERSION);
  if (repeated !== undefined && repeated !== field)
    throw mismatch('MCP-Protocol-Version is not the version in the body', 'mcp-protocol-version');
  if (session?.version !== undefined && field !== undefined && field !== session.version)
    throw mismatch('MCP-Protocol-Version is not that of the session', 'mcp-protocol-version');
  const handshake = message?.kind === 'request' && message.method === 'initialize';
  const wanted = handshake ? message.params.get('protocolVersion') : (field ?? session?.version);
  const version = MCP_VERSIONS.find((one) => one === wanted);
  if (version === undefined || !policy.versions.has(version)) {
    const hint = `the versions that are allowed here are ${[...policy.versions].join(', ')}`;
    const what = wanted === undefined ? 'MCP-Protocol-Version is missing' : 'the protocol version is not allowed here';
    throw new Fault('unsupported-version', what, { hint, at: 'mcp-protocol-version' });
  }
  if (isStateless(version) && repeated === undefined && message?.kind === 'request')
    throw mismatch(`params._meta does not repeat the version (${META_VERSION})`, 'mcp-protocol-version');
  return version;
}

function metaOf(message: Message | undefined): JsonObject | undefined {
  if (message === undefined || message.kind === 'response') return undefined;
  const meta = message.params.get('_meta');
  if (meta === undefined) return undefined;
  if (!isObject(meta)) throw badMessage('params._meta is not an object');
  for (const name of meta.keys()) {
    const lower = name.toLowerCase();
    if (
      (lower === META_VERSION.toLowerCase() && name !== META_VERSION) ||
      (lower === META_CAPABILITIES.toLowerCase() && name !== META_CAPABILITIES)
    )
      throw badMessage('a member of _meta differs from one of the protocol in letter case');
  }
  return meta;
}

/** Mcp-Method and Mcp-Name are what the body says; required in 2026-07-28 (M7). */
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
    method === 'resources/read' ? 'uri' : method === 'tools/call' || method === 'prompts/get' ? 'name' : undefined;
  const value = member === undefined ? undefined : params.get(member);
  return typeof value === 'string' ? value : undefined;
}

type About = Pick<McpFacts, 'kind' | 'method'> & Partial<McpFacts>;

function aboutOf(message: Message, version: McpVersion, session: Session | undefined): About {
  const { kind } = message;
  if (message.kind === 'response') {
    const answered = message.id === undefined ? undefined : session?.asked.get(idKey(message.id));
    return { kind, method: answered ?? '' };
  }
  const { method, params } = message;
  const row = CLIENT_METHODS.get(method);
  if (row === undefined) return { kind, method };
  // With an id where it has none, or in a version that does not have it, it is not the method that is known.
  const elsewhere = row.versions === (isStateless(version) ? 'session' : 'stateless');
  if (row.kind !== kind || elsewhere) return { kind, method: '' };
  switch (row.subject) {
    case 'tool':
      if (params.has('task')) throw badMessage('tools/call as a task is not supported');
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

/** Whether it is a method that has arguments, and so a digest of them. */
export function hasArguments({ method }: Pick<McpFacts, 'method'>): boolean {
  return method === 'tools/call' || method === 'prompts/get';
}

function resourceOf(params: JsonObject): string {
  const uri = params.get('uri');
  if (typeof uri !== 'string') throw badMessage('params.uri is not a text');
  const problem = uriProblem(uri);
  if (problem !== undefined) throw badMessage(`params.uri ${problem}`);
  return uri;
}

/** completion/complete: of a prompt, or of a template, which stands for the place where its first expression begins. */
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

const OFFERS: readonly (readonly [string, string])[] = [
  ['sampling', 'sampling/createMessage'],
  ['elicitation', 'elicitation/create'],
  ['roots', 'roots/list'],
];

/** The body that is sent. */
export function bodyOf(message: Message, policy: McpPolicy): Buffer {
  return Buffer.from(writeJson(outgoingJson(message, policy)));
}

/** The same, before it is text. */
export function outgoingJson(message: Message, policy: McpPolicy): JsonObject {
  return asJson(narrowed(message, policy));
}

/** Without offers of the client that the server may not take up. */
function narrowed(message: Message, policy: McpPolicy): Message {
  if (message.kind !== 'request') return message;
  if (message.method === 'initialize') {
    const offered = message.params.get('capabilities');
    if (!isObject(offered)) return message;
    return { ...message, params: withMember(message.params, 'capabilities', offersOf(offered, policy)) };
  }
  const meta = message.params.get('_meta');
  const offered = isObject(meta) ? meta.get(META_CAPABILITIES) : undefined;
  if (!isObject(meta) || !isObject(offered)) return message;
  const left = withMember(meta, META_CAPABILITIES, offersOf(offered, policy));
  return { ...message, params: withMember(message.params, '_meta', left) };
}

function offersOf(offered: JsonObject, { serverRequests }: McpPolicy): JsonObject {
  const left = new Map(offered);
  left.delete('tasks');
  for (const [capability, method] of OFFERS) if (!serverRequests.has(method)) left.delete(capability);
  return left;
}
