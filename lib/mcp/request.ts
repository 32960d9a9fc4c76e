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
import { type Fields, fieldOf, fieldsOf } from '../http/message.ts';
import type { McpFacts } from '../policy/model/facts.ts';
import { canonicalJson } from '../schema/json-writer.ts';
import { EMPTY, type Json, type JsonObject } from '../schema/json.ts';
import { digestOf } from './given.ts';
import { checkDuplicatedHeaders, only } from './header-values.ts';
import { type Message, readMessage } from './message.ts';
import { lastingParams } from './meta.ts';
import { type Passing, narrowed } from './narrowed.ts';
import { aboutOf } from './subject.ts';
import { type Spoken, versionOf } from './version.ts';

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
  checkDuplicatedHeaders(fields, received, version);
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
  { policy, session }: Spoken,
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

export type Setting = Spoken & Pick<Passing, 'wasGiven'>;

const NOTHING = Object.freeze({
  method: '',
  tool: undefined,
  prompt: undefined,
  resource: undefined,
  args: EMPTY,
  argsDigest: undefined,
  definition: undefined,
});

/** What a record has a digest of: arguments, or the result with which the agent answers. */
export function digestible(message: Message, { method, args }: McpFacts): JsonObject | undefined {
  if (message.kind === 'response') return message.result;
  return method === 'tools/call' || method === 'prompts/get' ? args : undefined;
}
