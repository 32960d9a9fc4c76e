/**
 * The answer of an MCP server on its way to the agent: JSON is read whole, a stream event by event,
 * and both are written anew from what was admitted. What cannot be read is not passed on: an answer
 * of another media type in place of a message is `upstream-malformed`; of an error page the agent
 * is told the words, cut short.
 */
import { isMcp } from '../policy/protocols/mcp-service.ts';
import { Fault } from '../base/fault.ts';
import type { Turns } from '../base/turns.ts';
import { plain } from '../exchange/evidence.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { ClientResponse } from '../http/client.ts';
import { type Body, type Fields, type ResponseHead, fieldOf, fieldsOf } from '../http/message.ts';
import type { Conversation } from '../mcp/conversation.ts';
import { digestOf, remember } from '../mcp/given.ts';
import { LONG, parseLong, writeLong } from '../mcp/long-json.ts';
import { type Message, errorText, readServerMessage } from '../mcp/message.ts';
import { admit } from '../mcp/reply.ts';
import { SESSION_ID } from '../mcp/sessions.ts';
import { EventReader, type ServerEvent, writeEvent } from '../mcp/sse.ts';
import { isStateless } from '../policy/model/mcp-methods.ts';
import { type ReadOptions, parseJson } from '../schema/json-reader.ts';
import { writeJson } from '../schema/json-writer.ts';
import type { Json } from '../schema/json.ts';
import { type McpExchange, wholeBody } from './mcp.ts';

/** What goes to the agent besides the status. */
export interface Reply {
  /** To be added to the fields of the answer, from which those of `REPLACED` are taken off. */
  readonly fields: Fields;
  readonly body: Buffer | Body | undefined;
}

export const REPLACED: ReadonlySet<string> = new Set([
  'content-type',
  'content-encoding',
  'mcp-session-id',
  'content-length',
  'cache-control',
  'x-accel-buffering',
]);

const JSON_TYPE = 'application/json';
const STREAM_TYPE = 'text/event-stream';
const UNSTORED: Fields = ['cache-control', 'no-store'];
const MAX_WITHHELD = 16;
/** Characters of a name that are shown. */
const MAX_NAME = 64;
/** Ids of events of one session at which a stream may be resumed; the oldest go first. */
const MAX_EVENTS = 1024;
/** Bytes of an error page that are looked at for what it says. */
const MAX_ERROR = 4096;

export async function mcpReply(
  mcp: McpExchange,
  { head, body }: ClientResponse,
  exchange: Exchange,
): Promise<Reply> {
  const coding = fieldsOf(head.fields, 'content-encoding').find(
    (one) => one.toLowerCase() !== 'identity',
  );
  if (coding !== undefined)
    throw new Fault('upstream-malformed', 'the server encoded an answer that was asked for plain');
  const session = sessionFields(mcp, head);
  const type = mediaType(head);
  const { kind } = mcp.facts;
  const succeeded = head.status >= 200 && head.status < 300;
  if (head.status === 200 && type === STREAM_TYPE && (kind === 'request' || kind === 'stream')) {
    const fields = ['content-type', STREAM_TYPE, ...UNSTORED, 'x-accel-buffering', 'no'];
    return { fields: [...fields, ...session], body: new InspectedEvents(body, mcp, exchange) };
  }
  if (succeeded && kind !== 'request') {
    if (kind === 'stream')
      throw new Fault(
        'upstream-malformed',
        'the server answered a request for a stream without one',
      );
    if (kind === 'end' && mcp.session !== undefined) mcp.parts.sessions.forget(mcp.session);
    body.cancel(new Fault('aborted', 'nothing is said in answer to a notification'));
    return { fields: session, body: undefined };
  }
  if (!succeeded)
    return {
      fields: ['content-type', JSON_TYPE, ...UNSTORED, ...session],
      body: await errorBody(mcp, { head, body, type }, exchange),
    };
  if (type !== JSON_TYPE)
    throw new Fault(
      'upstream-malformed',
      'the server answered with neither JSON nor a stream of events',
    );
  const admitted = await admittedOf(await whole(body, mcp, exchange), mcp, exchange);
  if (admitted === undefined)
    throw new Fault(
      'upstream-malformed',
      'the server answered another request than the one that was sent',
    );
  return { fields: ['content-type', JSON_TYPE, ...UNSTORED, ...session], body: admitted };
}

function mediaType({ fields }: ResponseHead): string {
  return (fieldOf(fields, 'content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/**
 * A session begins with the answer to initialize, belongs to who asked, and ends where the server
 * does not know it.
 */
function sessionFields(mcp: McpExchange, { status, fields }: ResponseHead): Fields {
  const id = fieldOf(fields, 'mcp-session-id');
  const { facts, owner, parts, session } = mcp;
  if (status === 404 && session !== undefined) parts.sessions.forget(session);
  if (id === undefined || isStateless(facts.version)) return [];
  if (facts.method !== 'initialize') return id === session?.id ? ['mcp-session-id', id] : [];
  if (status !== 200) return [];
  if (!SESSION_ID.test(id))
    throw new Fault('upstream-malformed', 'the server gave a session id that is not visible ASCII');
  mcp.session = parts.sessions.open(id, owner);
  return ['mcp-session-id', id];
}

function conversation(mcp: McpExchange, exchange: Exchange): Conversation {
  // The policy of this moment, where it changed since.
  const now = exchange.judgement?.decision.destination;
  const destination = now !== undefined && isMcp(now) ? now : mcp.destination;
  return {
    destination,
    policy: destination.service,
    version: mcp.facts.version,
    session: mcp.session,
    grant: exchange.judgement?.facts.task?.grant,
    asked: mcp.pending,
    ...calledAs(exchange),
    tools: mcp.tools,
    gave: (use, text) => mcp.parts.given.note(`${mcp.place} ${use}`, text),
    unnamed: (tool) => mcp.parts.notice(unnamed(destination.name, tool)),
    withheld(what) {
      exchange.withheld ??= [];
      if (exchange.withheld.length < MAX_WITHHELD && !exchange.withheld.includes(what))
        exchange.withheld.push(what);
    },
  };
}

/** In a call the server asks for what belongs to that call; on its own stream for anything. */
function calledAs({ judgement }: Exchange): Pick<Conversation, 'action' | 'rule'> {
  const { action, rule, unused } = judgement?.decision ?? {};
  return unused === true ? { action: 'write' } : { action: action ?? 'write', rule };
}

function unnamed(destination: string, tool: string): string {
  const name = JSON.stringify(tool.slice(0, MAX_NAME));
  const alphabet = 'names of tools are 1 to 128 of A-Z, a-z, 0-9, _, . and -';
  return plain(`destination ${destination} lists a tool ${name}, which is left out: ${alphabet}`);
}

function whole(body: Body, { policy, held }: McpExchange, exchange: Exchange): Promise<Buffer> {
  const tooLarge = (most: number): Fault =>
    new Fault('upstream-malformed', `the server sent a message of more than ${most} bytes`, {
      hint: 'the limit is mcp.message of the destination',
    });
  return wholeBody(body, {
    most: policy.message,
    counted: (bytes) => (exchange.received += bytes),
    tooLarge,
    held,
  });
}

/** A message of the server as it is sent on; undefined where it is not. */
async function admittedOf(
  bytes: Buffer,
  mcp: McpExchange,
  exchange: Exchange,
  kind?: Message['kind'],
): Promise<Buffer | undefined> {
  const { turns } = mcp.parts;
  const work = (): Promise<Buffer | undefined> => admitting(bytes, mcp, exchange, kind);
  if (bytes.length > LONG) return turns.alone(work);
  if (turns.full) await turns.room();
  return work();
}

async function admitting(
  bytes: Buffer,
  mcp: McpExchange,
  exchange: Exchange,
  kind: Message['kind'] | undefined,
): Promise<Buffer | undefined> {
  const { turns } = mcp.parts;
  const c = conversation(mcp, exchange);
  const json = bytes.length > LONG ? await readingLong(bytes, turns, readingFor(c)) : undefined;
  const message = messageOf(bytes, c, json);
  if (kind !== undefined && message.kind !== kind) return undefined;
  const tools =
    message.kind === 'response' && json !== undefined ? message.result?.get('tools') : undefined;
  if (tools !== undefined) await mcp.tools.digestAll(tools, turns);
  const admitted = admit(message, c);
  if (admitted === undefined) return undefined;
  if (typeof admitted === 'string') return Buffer.from(admitted);
  return bytes.length > LONG ? writeLong(admitted, turns) : Buffer.from(writeJson(admitted));
}

/**
 * Tools that cut text leave half of a surrogate pair behind: the rest of what they say is worth
 * having.
 */
function readingFor(c: Conversation): ReadOptions {
  return { data: true, onBroken: () => c.withheld('half of a surrogate pair, which was replaced') };
}

/**
 * What the server says is held to the same grammar as what the agent says, but for the spelling of
 * data.
 */
function messageOf(bytes: Buffer, c: Conversation, json?: Json): Message {
  try {
    return readServerMessage(json ?? parseJson(bytes, readingFor(c)));
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

interface Failed {
  readonly head: ResponseHead;
  readonly body: Body;
  readonly type: string;
}

/** An error of JSON-RPC where the server sent one; otherwise the status, and what was said. */
async function errorBody(
  mcp: McpExchange,
  { head, body, type }: Failed,
  exchange: Exchange,
): Promise<Buffer> {
  let bytes: Buffer | undefined;
  if (type === JSON_TYPE) {
    bytes = await whole(body, mcp, exchange);
    try {
      const admitted = await admittedOf(bytes, mcp, exchange, 'response');
      if (admitted !== undefined) return admitted;
    } catch {
      // Something else in JSON: told as the text that it is.
    }
  } else if (/^text\/|[/+]json$/.test(type)) bytes = await startOf(body, exchange);
  else body.cancel(new Fault('aborted', 'what is no text is not passed on'));
  const said = bytes === undefined ? '' : wordsOf(bytes, type);
  const message = `the server answered ${head.status}${said === '' ? '' : `: ${said}`}`;
  const data = { reason: 'upstream-error', decision: exchange.id };
  return Buffer.from(errorText(mcp.id, { code: -32603, message, data }));
}

/** The first bytes of a text; the rest is not read. */
async function startOf(body: Body, exchange: Exchange): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let total = 0; total < MAX_ERROR;) {
    const piece = body.poll();
    if (piece === 'end') return Buffer.concat(pieces);
    if (piece === 'later') {
      await body.ready();
      continue;
    }
    total += piece.length;
    exchange.received += piece.length;
    // While more is waited for, the buffer belongs to the connection.
    pieces.push(Buffer.from(piece));
  }
  body.cancel(new Fault('aborted', 'more of an error page than is told'));
  return Buffer.concat(pieces);
}

/** What a text says, in one line without markup; cut short. */
function wordsOf(bytes: Buffer, type: string): string {
  const text = bytes.subarray(0, MAX_ERROR).toString('utf8');
  const words = type.endsWith('html') ? text.replaceAll(/<[^>]*>/g, ' ') : text;
  return plain(words.replaceAll(/\s+/g, ' ').trim());
}

/** An event without data moves the place to resume at and says nothing. */
function eventText(event: ServerEvent, data: string | undefined): string {
  return data === undefined && event.id === undefined ? '' : writeEvent({ ...event, data });
}

/** Bytes of a stream that are read in one go. */
const AT_A_TIME = 16_384;

/**
 * A stream of events, each read, admitted and written anew as it comes; what is not taken is not
 * read.
 */
class InspectedEvents implements Body {
  readonly length = undefined;
  readonly #body: Body;
  readonly #mcp: McpExchange;
  readonly #exchange: Exchange;
  readonly #reader: EventReader;
  /** Read and not inspected yet. */
  #events: readonly ServerEvent[] = [];
  #at = 0;
  /** Of the piece that came last: not read yet. */
  #rest: Buffer | undefined;
  /** A long event is being inspected. */
  #working: Promise<void> | undefined;
  /** What has come of it. */
  #inspected = '';
  #failure: Fault | undefined;

  constructor(body: Body, mcp: McpExchange, exchange: Exchange) {
    this.#body = body;
    this.#mcp = mcp;
    this.#exchange = exchange;
    this.#reader = new EventReader(mcp.policy.message);
  }

  poll(): Buffer | 'end' | 'later' {
    const { turns } = this.#mcp.parts;
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#working === undefined && turns.full) this.#working = this.#wait();
      if (this.#working !== undefined) return 'later';
      const text = turns.counted(() => this.#next());
      if (text !== '') return Buffer.from(text);
      if (this.#hasMore()) continue;
      const piece = this.#rest ?? this.#body.poll();
      if (piece === 'end' || piece === 'later') return piece;
      if (this.#rest === undefined) this.#exchange.received += piece.length;
      // A copy: the buffer belongs to the connection. There may be an event for every few bytes.
      this.#rest = piece.length > AT_A_TIME ? Buffer.from(piece.subarray(AT_A_TIME)) : undefined;
      this.#events = turns.counted(() => this.#reader.read(piece.subarray(0, AT_A_TIME)));
      this.#at = 0;
    }
  }

  #hasMore(): boolean {
    return this.#working !== undefined || this.#at < this.#events.length;
  }

  /** This turn has had its share of work. */
  async #wait(): Promise<void> {
    await this.#mcp.parts.turns.room();
    this.#working = undefined;
  }

  /** Of what was read: up to a long event, which is inspected in turns of its own. */
  #next(): string {
    let text = this.#inspected;
    this.#inspected = '';
    while (this.#working === undefined) {
      const event = this.#events[this.#at];
      if (event === undefined) break;
      this.#at += 1;
      const { data = '' } = event;
      if (data.length <= LONG) text += this.#inspect(event);
      else this.#working = this.#inspectLong(event, Buffer.from(data));
    }
    return text;
  }

  #inspect(event: ServerEvent): string {
    const { session } = this.#mcp;
    if (event.id !== undefined && session !== undefined)
      remember(session.events, digestOf(event.id), MAX_EVENTS);
    if (event.comment || event.data === undefined || event.data === '') return writeEvent(event);
    const c = conversation(this.#mcp, this.#exchange);
    if (event.type !== 'message') c.withheld('an event of another type than message');
    const admitted =
      event.type === 'message' ? admit(messageOf(Buffer.from(event.data), c), c) : undefined;
    return eventText(event, typeof admitted === 'object' ? writeJson(admitted) : admitted);
  }

  async #inspectLong(event: ServerEvent, data: Buffer): Promise<void> {
    const { parts, session } = this.#mcp;
    if (event.id !== undefined && session !== undefined)
      remember(session.events, digestOf(event.id), MAX_EVENTS);
    try {
      await parts.turns.room();
      const message = event.type === 'message';
      if (!message)
        conversation(this.#mcp, this.#exchange).withheld('an event of another type than message');
      const admitted = message ? await admittedOf(data, this.#mcp, this.#exchange) : undefined;
      this.#inspected = eventText(event, admitted?.toString('utf8'));
    } catch (failure) {
      this.#failure = Fault.from(failure, 'upstream-malformed');
    } finally {
      this.#working = undefined;
    }
  }

  ready(): Promise<void> {
    return this.#working ?? this.#body.ready();
  }

  trailers(): Fields {
    return [];
  }

  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }
}
