/**
 * One exchange with an MCP server: its body is read whole, and judged, before it is decided; what was parsed is what is sent, written anew. What the server answers is
 * read in the same way (mcp-reply.ts), and a refusal is told in JSON-RPC (mcp-refusal.ts).
 */
import { Fault } from '../base/fault.ts';
import type { Turns } from '../base/turns.ts';
import type { ServerExchange } from '../http1/exchange.ts';
import { fieldsOf, type Body } from '../http1/message.ts';
import type { Definitions } from '../mcp/definitions.ts';
import type { Id, Message } from '../mcp/message.ts';
import { checkParams, type Outgoing, outgoingFields } from '../mcp/outgoing.ts';
import { digestLong, LONG, parseLong, writeLong } from '../mcp/long-json.ts';
import {
  bodyOf,
  hasArguments,
  outgoingJson,
  type Read,
  readBodiless,
  readPost,
  readValue,
  requireJson,
} from '../mcp/request.ts';
import type { Owner, Session, Sessions } from '../mcp/sessions.ts';
import type { Agent } from '../policy/agent.ts';
import type { Facts, McpFacts } from '../policy/facts.ts';
import { digested } from '../policy/parameters.ts';
import { matrixRow } from '../policy/matrix.ts';
import type { Destination, McpPolicy, Policy } from '../policy/model.ts';
import type { Exchange } from './exchange.ts';
import { needsIdentity } from './route.ts';
import type { Held } from './shares.ts';

/** What all exchanges with MCP servers share. */
export interface McpParts {
  readonly definitions: Definitions;
  readonly sessions: Sessions;
  /** In which long messages are read and written. */
  readonly turns: Turns;
  /** SPIFFE ID that we show now for an agent. */
  readonly identity: (agent: Agent | undefined) => string | undefined;
}

const METHODS: ReadonlySet<string> = new Set(['POST', 'GET', 'DELETE']);

/** The MCP destination whose endpoint this request is for, and which may be reached in this way; undefined: there is no message to be read. */
export function endpointFor(policy: Policy, facts: Facts): Destination | undefined {
  const { host, port, listener, http } = facts;
  const destination = policy.find(host, port);
  if (destination?.protocol !== 'mcp' || http === undefined || http.websocket) return undefined;
  if (listener !== undefined && listener !== destination.name) return undefined;
  if (destination.mcp?.endpoints.has(http.path) !== true || http.query !== '') return undefined;
  if (!METHODS.has(http.method)) return undefined;
  return matrixRow(facts, destination).outcome === 'request' ? destination : undefined;
}

interface From {
  readonly exchange: Exchange;
  /** Path of the endpoint. */
  readonly endpoint: string;
}

export class McpExchange {
  readonly destination: Destination;
  readonly policy: McpPolicy;
  readonly parts: McpParts;
  readonly held: Held;
  readonly owner: Owner;
  /** Id of the request, once it has been read. */
  id: Id | undefined;
  session: Session | undefined;
  /** The body to send; undefined where there is none. */
  body: Buffer | undefined;
  #outgoing: Outgoing | undefined;

  constructor(destination: Destination, from: From, parts: McpParts) {
    const { name, mcp } = destination;
    const { exchange, endpoint } = from;
    const { agent, entry, share, task } = exchange;
    if (mcp === undefined) throw new TypeError('a destination of protocol mcp has its settings');
    if (share === undefined) throw new TypeError('an exchange that is nowhere counted');
    this.destination = destination;
    this.policy = mcp;
    this.parts = parts;
    this.held = share.held;
    const identity = needsIdentity(destination) ? parts.identity(agent) : undefined;
    this.owner = { agent: agent?.name, endpoint, entry, task: task?.id, destination: name, identity };
  }

  /** The facts, once they have been read. */
  get facts(): McpFacts {
    return this.#read().facts;
  }

  /** Reads the message. `counted` is told of bytes of the body. From then on an agent that goes away cancels what it asked for (Streamable HTTP, cancellation). */
  async read(x: ServerExchange, counted: (bytes: number) => void): Promise<McpFacts> {
    const facts = await this.#readMessage(x, counted);
    x.connection.untilEnd();
    return facts;
  }

  async #readMessage(x: ServerExchange, counted: (bytes: number) => void): Promise<McpFacts> {
    const { head } = x;
    if (head.method !== 'POST') return this.#readBodiless(x);
    requireJson(head.fields);
    if (head.expectContinue) x.inform(100, []);
    const most = Math.min(this.destination.limits.body ?? Infinity, this.policy.message);
    const bytes = await wholeBody(x.body, { most, counted, tooLarge: requestTooLarge, held: this.held });
    this.session = this.#sessionOf(x);
    const { message, facts: read } = await this.#parse(head.fields, bytes);
    if (message.kind === 'request') this.id = message.id;
    const { tool } = read;
    const { definitions } = this.parts;
    const facts = tool === undefined ? read : { ...read, definition: definitions.of(this.destination, tool) };
    const params = tool === undefined ? undefined : definitions.headersOf(this.destination.name, tool);
    this.#outgoing = { received: head.fields, message, facts, session: this.session, params };
    checkParams(this.#outgoing);
    this.body =
      bytes.length <= LONG
        ? bodyOf(message, this.policy)
        : await writeLong(outgoingJson(message, this.policy), this.parts.turns);
    return facts;
  }

  /** Long ones in slices, while which their bytes are held. */
  async #parse(fields: readonly string[], bytes: Buffer): Promise<Read> {
    const { turns } = this.parts;
    const { held } = this;
    const setting = { policy: this.policy, session: this.session };
    if (turns.full) await turns.room();
    if (bytes.length <= LONG) {
      return turns.counted(() => readPost(fields, bytes, setting));
    }
    hold(held, bytes.length);
    try {
      const { message, facts } = readValue(fields, await parseLong(bytes, turns), setting);
      const argsDigest = hasArguments(facts) ? await digestLong(facts.args, turns) : undefined;
      const paramsDigest = facts.params && (await digestLong(digested(facts.params), turns));
      return { message, facts: { ...facts, argsDigest, paramsDigest } };
    } finally {
      held.bytes -= bytes.length;
    }
  }

  /** The fields to send, from those that cross the proxy anyway. */
  fields(kept: readonly string[]): string[] {
    return outgoingFields(kept, this.#read());
  }

  get message(): Message | undefined {
    return this.#read().message;
  }

  #readBodiless({ head, body }: ServerExchange): McpFacts {
    if (body.length !== 0) throw new Fault('bad-message', `a ${head.method} has no body`, { at: 'body' });
    this.session = this.#sessionOf({ head });
    const kind = head.method === 'GET' ? 'stream' : 'end';
    const facts = readBodiless(head.fields, kind, { policy: this.policy, session: this.session });
    this.#outgoing = { received: head.fields, message: undefined, facts, session: this.session, params: undefined };
    return facts;
  }

  /** The session that the request names; what is not ours to use is 404. 2026-07-28 has none and ignores the field. */
  #sessionOf({ head: { fields } }: Pick<ServerExchange, 'head'>): Session | undefined {
    const [id, ...more] = fieldsOf(fields, 'mcp-session-id');
    if (id === undefined || fieldsOf(fields, 'mcp-protocol-version')[0] === '2026-07-28') return undefined;
    if (more.length > 0)
      throw new Fault('header-mismatch', 'Mcp-Session-Id is there more than once', { at: 'mcp-session-id' });
    return this.parts.sessions.find(id, this.owner);
  }

  #read(): Outgoing {
    if (this.#outgoing === undefined) throw new TypeError('used before it was read');
    return this.#outgoing;
  }
}

function requestTooLarge(most: number): Fault {
  const hint = 'the limits are limits.body and mcp.message of the destination';
  return new Fault('body-too-large', `the message is longer than ${most} bytes`, { hint });
}

function hold(held: Held, bytes: number): void {
  if (held.bytes + bytes > held.most) throw tooManyHeld();
  held.bytes += bytes;
}

function tooManyHeld(): Fault {
  return new Fault('too-many', 'too many messages are being received at one time');
}

interface Reading {
  readonly most: number;
  readonly counted: (bytes: number) => void;
  readonly tooLarge: (most: number) => Fault;
  readonly held: Held;
}

/** All of a body, bounded; together with all others that are being received, because before a decision no other limit holds. */
export async function wholeBody(body: Body, { most, counted, tooLarge, held }: Reading): Promise<Buffer> {
  if ((body.length ?? 0) > most) throw tooLarge(most);
  const pieces: Buffer[] = [];
  let total = 0;
  try {
    for (;;) {
      const piece = body.poll();
      if (piece === 'end') return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
      if (piece === 'later') {
        await body.ready();
        continue;
      }
      total += piece.length;
      held.bytes += piece.length;
      if (total > most) throw tooLarge(most);
      if (held.bytes > held.most) throw tooManyHeld();
      counted(piece.length);
      // While more is waited for, the buffer belongs to the connection.
      pieces.push(total === body.length ? piece : Buffer.from(piece));
    }
  } finally {
    held.bytes -= total;
  }
}
