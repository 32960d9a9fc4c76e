/**
 * One exchange with an MCP server: its body is read whole, and judged, before it is decided; what
 * was parsed is what is sent, written anew. What the server answers is read in the same way
 * (mcp-reply.ts), and a refusal is told in JSON-RPC (mcp-refusal.ts).
 */
import { type McpDestination, type McpPolicy, isMcp } from '../policy/protocols/mcp-service.ts';
import { Fault } from '../base/fault.ts';
import type { Turns } from '../base/turns.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { Held } from '../exchange/shares.ts';
import { type Body, fieldsOf } from '../http/message.ts';
import type { ServerExchange } from '../http/server-exchange.ts';
import type { AgentTools, Definitions } from '../mcp/definitions.ts';
import { type Given, given } from '../mcp/given.ts';
import { type Ids, ids, mapped } from '../mcp/ids.ts';
import { LONG, digestLong, parseLong, writeLong } from '../mcp/long-json.ts';
import { type Id, asJson, idIn, idKey } from '../mcp/message.ts';
import { type Outgoing, checkParams, outgoingFields, ownFields } from '../mcp/outgoing.ts';
import {
  type Read,
  type Setting,
  digestible,
  readBodiless,
  readPost,
  readValue,
  requireJson,
} from '../mcp/request.ts';
import {
  type Owner,
  type Pending,
  type Session,
  type Sessions,
  keep,
  sessions,
} from '../mcp/sessions.ts';
import { digested } from '../policy/decision/call-digest.ts';
import { matrixRow } from '../policy/protocols/index.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { Facts, McpFacts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { endsSomething } from '../policy/protocols/mcp-rules.ts';
import { parseJson } from '../schema/json-reader.ts';
import { writeJson } from '../schema/json-writer.ts';
import type { Json } from '../schema/json.ts';
import { needsIdentity } from '../upstream/route.ts';

/** What all exchanges with MCP servers share. */
export interface McpParts {
  readonly definitions: Definitions;
  readonly sessions: Sessions;
  readonly given: Given;
  readonly ids: Ids;
  /** Told in words of what is left out of lists for its name. */
  readonly notice: (what: string) => void;
  /** In which long messages are read and written. */
  readonly turns: Turns;
  /** SPIFFE ID that we show now for an agent. */
  readonly identity: (agent: Agent | undefined) => string | undefined;
}

export function mcpParts(
  parts: Pick<McpParts, 'definitions' | 'turns' | 'identity'> & {
    readonly onNotice?: McpParts['notice'] | undefined;
  },
): McpParts {
  const { onNotice, ...rest } = parts;
  return {
    ...rest,
    sessions: sessions(),
    given: given(),
    ids: ids(),
    notice: once((what) => onNotice?.(what)),
  };
}

const METHODS: ReadonlySet<string> = new Set(['POST', 'GET', 'DELETE']);

/**
 * The MCP destination whose endpoint this request is for, and which may be reached in this way;
 * undefined: there is no message to be read.
 */
export function endpointFor(policy: Policy, facts: Facts): McpDestination | undefined {
  const { host, port, listener, http } = facts;
  const destination = policy.find(host, port);
  if (destination === undefined || !isMcp(destination)) return undefined;
  if (http === undefined || http.websocket) return undefined;
  if (listener !== undefined && listener !== destination.name) return undefined;
  if (!destination.service.endpoints.has(http.path) || http.query !== '') return undefined;
  if (!METHODS.has(http.method)) return undefined;
  return matrixRow(facts, destination).outcome === 'request' ? destination : undefined;
}

interface From {
  readonly exchange: Exchange;
  /** Path of the endpoint. */
  readonly endpoint: string;
}

export class McpExchange {
  readonly destination: McpDestination;
  readonly policy: McpPolicy;
  readonly parts: McpParts;
  readonly held: Held;
  readonly owner: Owner;
  /** What its agent knows of the server's tools. */
  readonly tools: AgentTools;
  /** Id of the request, once it has been read. */
  id: Id | undefined;
  /** What the request is to the server and to the agent. */
  pending: Pending | undefined;
  session: Session | undefined;
  /** Who was given what by whom. */
  readonly place: string;
  #outgoing: Outgoing | undefined;
  #kept: readonly string[] = [];
  #body: Buffer | undefined;

  constructor(destination: McpDestination, from: From, parts: McpParts) {
    const { name, service } = destination;
    const { exchange, endpoint } = from;
    const { agent, entry, share, task } = exchange;
    this.destination = destination;
    this.policy = service;
    this.parts = parts;
    this.held = share.held;
    const identity = needsIdentity(destination) ? parts.identity(agent) : undefined;
    this.owner = {
      agent: agent?.name,
      endpoint,
      entry,
      task: task?.id,
      destination: name,
      identity,
    };
    const to = `${endpoint} ${agent?.name ?? ''}`;
    this.place = `${name} ${to}`;
    this.tools = parts.definitions.of(destination, to);
  }

  /** The facts, once they have been read. */
  get facts(): McpFacts {
    return this.outgoing.facts;
  }

  /** What is sent, once it has been read. */
  get outgoing(): Outgoing {
    if (this.#outgoing === undefined) throw new TypeError('used before it was read');
    return this.#outgoing;
  }

  /**
   * Reads the message. `counted` is told of bytes of the body. From then on an agent that goes away
   * cancels what it asked for (Streamable HTTP, cancellation).
   */
  async read(x: ServerExchange, counted: (bytes: number) => void): Promise<McpFacts> {
    const facts = await this.#readMessage(x, counted);
    x.connection.untilEnd();
    return facts;
  }

  /** The facts anew, fields to send among them, after the server has been asked for its tools. */
  learned(before: Facts): Facts {
    const { outgoing, tools } = this;
    const { tool = '' } = outgoing.facts;
    const mcp = { ...outgoing.facts, definition: tools.of(tool) };
    this.#outgoing = { ...outgoing, facts: mcp, params: tools.headersOf(tool) };
    checkParams(this.#outgoing);
    const { http } = before;
    return {
      ...before,
      mcp,
      http: http && { ...http, fields: outgoingFields(this.#kept, this.#outgoing) },
    };
  }

  /** What crosses the proxy anyway. */
  get kept(): readonly string[] {
    return this.#kept;
  }

  /** The fields to send, from those that cross the proxy anyway. */
  fields(kept: readonly string[]): string[] {
    this.#kept = kept;
    return outgoingFields(kept, this.outgoing);
  }

  /** The body to send, once it may be sent; undefined where there is none. */
  sending(): Buffer | undefined {
    const { outgoing, pending, session, parts, place } = this;
    if (session !== undefined && pending !== undefined)
      keep(session.pending, idKey(pending.sent), pending);
    if (!endsSomething(outgoing.facts))
      for (const [name, value] of pairs(ownFields(this.#kept, outgoing)))
        parts.given.note(`${place} ${name}`, value);
    return this.#body;
  }

  async #readMessage(x: ServerExchange, counted: (bytes: number) => void): Promise<McpFacts> {
    const { head } = x;
    if (head.method !== 'POST') return this.#readBodiless(x);
    requireJson(head.fields);
    if (head.expectContinue) x.inform(100, []);
    const { parts, policy, destination, tools } = this;
    const { body = Infinity } = destination.limits;
    const key = body < policy.message ? 'limits.body' : 'mcp.message';
    const most = Math.min(body, policy.message);
    const bytes = await wholeBody(x.body, {
      most,
      counted,
      tooLarge: requestTooLarge(key),
      held: this.held,
    });
    const { message, facts: read } = await this.#parse(x, bytes);
    const { message: sent, pending } = mapped(message, parts.ids, this.session);
    this.pending = pending;
    const { tool } = read;
    const facts = tool === undefined ? read : { ...read, definition: tools.of(tool) };
    const params = tool === undefined ? undefined : tools.headersOf(tool);
    this.#outgoing = this.#with({ received: head.fields, message: sent, facts, params });
    checkParams(this.#outgoing);
    this.#body =
      bytes.length <= LONG
        ? Buffer.from(writeJson(asJson(sent)))
        : await writeLong(asJson(sent), parts.turns);
    return facts;
  }

  /** Long ones in slices, while which their bytes are held. */
  async #parse(x: ServerExchange, bytes: Buffer): Promise<Read> {
    const { turns } = this.parts;
    const { held } = this;
    const { fields } = x.head;
    if (turns.full) await turns.room();
    if (bytes.length <= LONG) {
      return turns.counted(() =>
        readPost(fields, this.#identified(x, parseJson(bytes)), this.#setting),
      );
    }
    hold(held, bytes.length);
    try {
      return await turns.alone(() => this.#parseLong(x, bytes));
    } finally {
      held.bytes -= bytes.length;
    }
  }

  async #parseLong(x: ServerExchange, bytes: Buffer): Promise<Read> {
    const { turns } = this.parts;
    const { fields } = x.head;
    const value = this.#identified(x, await parseLong(bytes, turns));
    const { message, facts } = readValue(fields, value, this.#setting);
    const words = digestible(message, facts);
    const argsDigest = words && (await digestLong(words, turns));
    const paramsDigest = facts.params && (await digestLong(digested(facts.params), turns));
    return { message, facts: { ...facts, argsDigest, paramsDigest } };
  }

  /** From here on a refusal has the id of the request. */
  #identified(x: ServerExchange, value: Json): Json {
    this.id = idIn(value);
    this.session = this.#sessionOf(x);
    return value;
  }

  get #setting(): Setting {
    return { policy: this.policy, session: this.session, wasGiven: this.#wasGiven };
  }

  #readBodiless({ head, body }: ServerExchange): McpFacts {
    if (body.length !== 0)
      throw new Fault('bad-message', `a ${head.method} has no body`, { at: 'body' });
    this.session = this.#sessionOf({ head });
    const kind = head.method === 'GET' ? 'stream' : 'end';
    const facts = readBodiless(head.fields, kind, { policy: this.policy, session: this.session });
    this.#outgoing = this.#with({
      received: head.fields,
      message: undefined,
      facts,
      params: undefined,
    });
    return facts;
  }

  readonly #wasGiven = (use: string, text: string): boolean =>
    this.parts.given.has(`${this.place} ${use}`, text);

  #with(read: Pick<Outgoing, 'received' | 'message' | 'facts' | 'params'>): Outgoing {
    const { session, destination } = this;
    return { ...read, session, destination, shown: this.#wasGiven };
  }

  /**
   * The session that the request names; what is not ours to use is 404. 2026-07-28 has none and
   * ignores the field.
   */
  #sessionOf({ head: { fields } }: Pick<ServerExchange, 'head'>): Session | undefined {
    const [id, ...more] = fieldsOf(fields, 'mcp-session-id');
    if (id === undefined || fieldsOf(fields, 'mcp-protocol-version')[0] === '2026-07-28')
      return undefined;
    if (more.length > 0)
      throw new Fault('header-mismatch', 'Mcp-Session-Id is there more than once', {
        at: 'mcp-session-id',
      });
    return this.parts.sessions.find(id, this.owner);
  }
}

function* pairs(fields: readonly string[]): Generator<readonly [string, string]> {
  for (let i = 0; i < fields.length; i += 2) yield [fields[i] ?? '', fields[i + 1] ?? ''];
}

/** Different notices; more are not told. */
const MAX_NOTICES = 1000;

/** Tells each thing once. */
function once(tell: (what: string) => void): (what: string) => void {
  const told = new Set<string>();
  return (what) => {
    if (told.has(what) || told.size >= MAX_NOTICES) return;
    told.add(what);
    tell(what);
  };
}

function requestTooLarge(key: 'limits.body' | 'mcp.message'): (most: number) => Fault {
  const hint = `the limit is ${key} of the destination`;
  return (most) =>
    new Fault('body-too-large', `the message is longer than ${most} bytes`, { hint });
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

/**
 * All of a body, bounded; together with all others that are being received, because before a
 * decision no other limit holds.
 */
export async function wholeBody(
  body: Body,
  { most, counted, tooLarge, held }: Reading,
): Promise<Buffer> {
  if ((body.length ?? 0) > most) throw tooLarge(most);
  const pieces: Buffer[] = [];
  let total = 0;
  try {
    for (;;) {
      const piece = body.poll();
      if (piece === 'end')
        return pieces.length === 1 && pieces[0] !== undefined ? pieces[0] : Buffer.concat(pieces);
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
