/**
 * The message of a request to an MCP server: its body is read whole, before anything is decided;
 * what was parsed is what is sent, written anew.
 */
import { Fault } from '../base/fault.ts';
import type { Exchange } from '../exchange/exchange.ts';
import { type Fields, fieldsOf } from '../http/message.ts';
import type { ServerExchange } from '../http/server-exchange.ts';
import { mapped } from '../mcp/ids.ts';
import { LONG, digestLong, parseLong, writeLong } from '../mcp/long-json.ts';
import { type Id, asJson, idIn, idKey } from '../mcp/message.ts';
import { type Outgoing, checkParams, ownFields } from '../mcp/outgoing.ts';
import {
  type Read,
  type Setting,
  digestible,
  readBodiless,
  readPost,
  readValue,
  requireJson,
} from '../mcp/request.ts';
import { type Pending, type Session, keep } from '../mcp/sessions.ts';
import { digested } from '../policy/decision/call-digest.ts';
import { MCP_VERSIONS, isStateless } from '../policy/model/mcp-methods.ts';
import { endsSomething } from '../policy/protocols/mcp-rules.ts';
import { parseJson } from '../schema/json-reader.ts';
import { writeJson } from '../schema/json-writer.ts';
import type { Json } from '../schema/json.ts';
import type { McpEndpoint } from './mcp-endpoint.ts';
import { hold, wholeBody } from './whole-body.ts';

export interface McpMessage {
  /** Id of the request; undefined where nothing answers it. */
  readonly id: Id | undefined;
  /** The request as the server and as the agent know it. */
  readonly pending: Pending | undefined;
  readonly session: Session | undefined;
  readonly outgoing: Outgoing;
  /** The message to send; undefined where there is no body. */
  readonly body: Buffer | undefined;
}

/** Notes what is sent, for the answers to it: once, when it may be sent. */
export function noteSent(
  { session, pending, outgoing }: McpMessage,
  kept: Fields,
  { parts, place }: McpEndpoint,
): void {
  if (session !== undefined && pending !== undefined)
    keep(session.pending, idKey(pending.sent), pending);
  if (endsSomething(outgoing.facts)) return;
  const own = ownFields(kept, outgoing);
  for (let i = 0; i < own.length; i += 2)
    parts.given.note(`${place} ${own[i] ?? ''}`, own[i + 1] ?? '');
}

export class MessageReader {
  /** Id of the request, as soon as it is known. */
  id: Id | undefined;
  readonly #endpoint: McpEndpoint;
  readonly #request: ServerExchange;
  readonly #exchange: Exchange;

  constructor(endpoint: McpEndpoint, request: ServerExchange, exchange: Exchange) {
    this.#endpoint = endpoint;
    this.#request = request;
    this.#exchange = exchange;
  }

  /**
   * Reads the message. From then on an agent that goes away cancels what it asked for (Streamable
   * HTTP, cancellation).
   */
  async read(): Promise<McpMessage> {
    const { head, connection } = this.#request;
    const message = head.method === 'POST' ? await this.#readPost() : this.#readBodiless();
    connection.untilEnd();
    return message;
  }

  async #readPost(): Promise<McpMessage> {
    const { head } = this.#request;
    const { parts, tools } = this.#endpoint;
    requireJson(head.fields);
    if (head.expectContinue) this.#request.inform(100, []);
    const bytes = await this.#receive();
    const { message, facts: read, session } = await this.#parse(bytes);
    const { message: sent, pending } = mapped(message, parts.ids, session);
    const { tool } = read;
    const facts = tool === undefined ? read : { ...read, definition: tools.of(tool) };
    const params = tool === undefined ? undefined : tools.headersOf(tool);
    const outgoing = this.#outgoing({ message: sent, facts, session, params });
    checkParams(outgoing);
    const body =
      bytes.length <= LONG
        ? Buffer.from(writeJson(asJson(sent)))
        : await writeLong(asJson(sent), parts.turns);
    return { id: this.id, pending, session, outgoing, body };
  }

  #receive(): Promise<Buffer> {
    const { policy, destination, held } = this.#endpoint;
    const { body = Infinity } = destination.limits;
    const key = body < policy.message ? 'limits.body' : 'mcp.message';
    const limit = Math.min(body, policy.message);
    const counted = (bytes: number): void => void (this.#exchange.sent += bytes);
    return wholeBody(this.#request.body, { limit, counted, tooLarge: tooLarge(key), held });
  }

  /** Reads a long message in slices, while its bytes are held. */
  async #parse(bytes: Buffer): Promise<ReadInSession> {
    const { parts, held } = this.#endpoint;
    const { turns } = parts;
    const { fields } = this.#request.head;
    if (turns.full) await turns.room();
    if (bytes.length <= LONG) {
      return turns.counted(() => {
        const value = this.#identified(parseJson(bytes));
        const session = this.#session();
        return { ...readPost(fields, value, this.#setting(session)), session };
      });
    }
    using _ = hold(held, bytes.length);
    return await turns.alone(() => this.#parseLong(bytes));
  }

  async #parseLong(bytes: Buffer): Promise<ReadInSession> {
    const { turns } = this.#endpoint.parts;
    const value = this.#identified(await parseLong(bytes, turns));
    const session = this.#session();
    const { fields } = this.#request.head;
    const { message, facts } = readValue(fields, value, this.#setting(session));
    const words = digestible(message, facts);
    const argsDigest = words && (await digestLong(words, turns));
    const paramsDigest = facts.params && (await digestLong(digested(facts.params), turns));
    return { message, facts: { ...facts, argsDigest, paramsDigest }, session };
  }

  #identified(value: Json): Json {
    this.id = idIn(value);
    return value;
  }

  #setting(session: Session | undefined): Setting {
    return { policy: this.#endpoint.policy, session, wasGiven: this.#wasGiven };
  }

  #readBodiless(): McpMessage {
    const { head, body } = this.#request;
    if (body.length !== 0)
      throw new Fault('bad-message', `a ${head.method} has no body`, { at: 'body' });
    const session = this.#session();
    const kind = head.method === 'GET' ? 'stream' : 'end';
    const facts = readBodiless(head.fields, kind, { policy: this.#endpoint.policy, session });
    const outgoing = this.#outgoing({ message: undefined, facts, session, params: undefined });
    return { id: undefined, pending: undefined, session, outgoing, body: undefined };
  }

  #outgoing(read: Pick<Outgoing, 'message' | 'facts' | 'session' | 'params'>): Outgoing {
    const { destination } = this.#endpoint;
    const received = this.#request.head.fields;
    return { ...read, received, destination, shown: this.#wasGiven };
  }

  readonly #wasGiven = (use: string, text: string): boolean =>
    this.#endpoint.parts.given.has(`${this.#endpoint.place} ${use}`, text);

  /**
   * The session that the request names; what is not ours to use is 404. A stateless version has
   * none and ignores the field.
   */
  #session(): Session | undefined {
    const { fields } = this.#request.head;
    const { parts, owner } = this.#endpoint;
    const [id, ...more] = fieldsOf(fields, 'mcp-session-id');
    const [named] = fieldsOf(fields, 'mcp-protocol-version');
    const version = MCP_VERSIONS.find((known) => known === named);
    if (id === undefined || (version !== undefined && isStateless(version))) return undefined;
    if (more.length > 0)
      throw new Fault('header-mismatch', 'Mcp-Session-Id is there more than once', {
        at: 'mcp-session-id',
      });
    return parts.sessions.find(id, owner);
  }
}

interface ReadInSession extends Read {
  readonly session: Session | undefined;
}

function tooLarge(key: 'limits.body' | 'mcp.message'): (limit: number) => Fault {
  const hint = `the limit is ${key} of the destination`;
  return (limit) =>
    new Fault('body-too-large', `the message is longer than ${limit} bytes`, { hint });
}
