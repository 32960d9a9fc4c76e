/**
 * Messages of a server in one exchange: read strictly, held against the conversation it belongs to,
 * and written anew from what was admitted.
 */
import { Fault } from '../base/fault.ts';
import type { Turns } from '../base/turns.ts';
import { plain } from '../exchange/evidence.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { Body } from '../http/message.ts';
import type { Conversation } from '../mcp/conversation.ts';
import { LONG, parseLong, writeLong } from '../mcp/long-json.ts';
import { type Message, readServerMessage } from '../mcp/message.ts';
import { admit } from '../mcp/reply.ts';
import type { Session } from '../mcp/sessions.ts';
import { isMcp } from '../policy/protocols/mcp-service.ts';
import { parseJson } from '../schema/json-reader.ts';
import { writeJson } from '../schema/json-writer.ts';
import type { Json, ReadOptions } from '../schema/json.ts';
import type { DescribedMcp } from './described.ts';
import { wholeBody } from './whole-body.ts';

/** One message of the agent, and what its server says in answer. */
export interface Dialogue {
  readonly described: DescribedMcp;
  /** The session of the message, or the one that its answer opened. */
  readonly session: Session | undefined;
  readonly exchange: Exchange;
}

const MAX_WITHHELD = 16;
/** Characters of a name that are shown. */
const MAX_NAME = 64;

export function conversationOf({ described, session, exchange }: Dialogue): Conversation {
  const { endpoint, message, facts } = described;
  // The policy of this moment, where it changed since.
  const current = exchange.authorization?.decision.destination;
  const destination = current !== undefined && isMcp(current) ? current : endpoint.destination;
  const { parts, place, tools } = endpoint;
  return {
    destination,
    policy: destination.service,
    version: facts.mcp.version,
    session,
    grant: exchange.authorization?.facts.task?.grant,
    asked: message.pending,
    ...calledAs(exchange),
    tools,
    gave: (use, text) => parts.given.note(`${place} ${use}`, text),
    unnamed: (tool) => parts.notice(unnamed(destination.name, tool)),
    withheld(what) {
      exchange.withheld ??= [];
      if (exchange.withheld.length < MAX_WITHHELD && !exchange.withheld.includes(what))
        exchange.withheld.push(what);
    },
  };
}

/** In a call the server asks for what belongs to that call; on its own stream for anything. */
function calledAs({ authorization }: Exchange): Pick<Conversation, 'action' | 'rule'> {
  const { action, rule, unused } = authorization?.decision ?? {};
  return unused === true ? { action: 'write' } : { action: action ?? 'write', rule };
}

function unnamed(destination: string, tool: string): string {
  const name = JSON.stringify(tool.slice(0, MAX_NAME));
  const alphabet = 'names of tools are 1 to 128 of A-Z, a-z, 0-9, _, . and -';
  return plain(`destination ${destination} lists a tool ${name}, which is left out: ${alphabet}`);
}

/** A message of the server, read whole. */
export function receive(body: Body, { described, exchange }: Dialogue): Promise<Buffer> {
  const { policy, held } = described.endpoint;
  const tooLarge = (limit: number): Fault =>
    new Fault('upstream-malformed', `the server sent a message of more than ${limit} bytes`, {
      hint: 'the limit is mcp.message of the destination',
    });
  return wholeBody(body, {
    limit: policy.message,
    counted: (bytes) => (exchange.received += bytes),
    tooLarge,
    held,
  });
}

/** A message of the server as it is sent on; undefined where it is not. */
export async function admittedOf(
  bytes: Buffer,
  dialogue: Dialogue,
  kind?: Message['kind'],
): Promise<Buffer | undefined> {
  const { turns } = dialogue.described.endpoint.parts;
  const work = (): Promise<Buffer | undefined> => admitting(bytes, dialogue, kind);
  if (bytes.length > LONG) return turns.alone(work);
  if (turns.full) await turns.room();
  return work();
}

async function admitting(
  bytes: Buffer,
  dialogue: Dialogue,
  kind: Message['kind'] | undefined,
): Promise<Buffer | undefined> {
  const { turns } = dialogue.described.endpoint.parts;
  const conversation = conversationOf(dialogue);
  const json =
    bytes.length > LONG ? await readingLong(bytes, turns, readingFor(conversation)) : undefined;
  const message = messageOf(bytes, conversation, json);
  if (kind !== undefined && message.kind !== kind) return undefined;
  const tools =
    message.kind === 'response' && json !== undefined ? message.result?.get('tools') : undefined;
  if (tools !== undefined) await conversation.tools.digestAll(tools, turns);
  const admitted = admit(message, conversation);
  if (admitted === undefined) return undefined;
  if (typeof admitted === 'string') return Buffer.from(admitted);
  return bytes.length > LONG ? writeLong(admitted, turns) : Buffer.from(writeJson(admitted));
}

/**
 * Tools that cut text leave half of a surrogate pair behind: the rest of what they say is worth
 * having.
 */
function readingFor(conversation: Conversation): ReadOptions {
  return {
    data: true,
    onBroken: () => conversation.withheld('half of a surrogate pair, which was replaced'),
  };
}

/**
 * A server is held to the same grammar as an agent, but for the spelling of
 * data.
 */
export function messageOf(bytes: Buffer, conversation: Conversation, json?: Json): Message {
  try {
    return readServerMessage(json ?? parseJson(bytes, readingFor(conversation)));
  } catch (failure) {
    throw noMessage(failure);
  }
}

async function readingLong(bytes: Buffer, turns: Turns, options: ReadOptions): Promise<Json> {
  try {
    return await parseLong(bytes, turns, options);
  } catch (failure) {
    throw noMessage(failure);
  }
}

function noMessage(failure: unknown): Fault {
  return new Fault(
    'upstream-malformed',
    `the server sent no message: ${Fault.from(failure, 'internal').message}`,
  );
}
