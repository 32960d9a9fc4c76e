/**
 * One request to an HTTP destination and its answer. What goes out is written anew from what was
 * judged; the answer comes first and the upload runs beside it, so that an early refusal reaches
 * the agent. Both bodies pass as they come, with back-pressure, and nothing is held to fill a
 * buffer.
 */
import type { McpDestination } from '../policy/protocols/mcp-service.ts';
import { Fault } from '../base/fault.ts';
import type { JwtSvids } from '../credentials/jwt-svid.ts';
import { refusedUs } from '../exchange/aborted.ts';
import type { AgentConnection } from '../exchange/agent-connection.ts';
import { type Asked, type Asking, NO_FIELDS, requireSame } from '../exchange/asking.ts';
import { CountedBody, bodyTooLarge, boundedAnswer } from '../exchange/counted-body.ts';
import type { Described } from '../exchange/describe.ts';
import { type Exchange, idleOf } from '../exchange/exchange.ts';
import { DECISION_FIELD, faultAnswer } from '../exchange/fault-response.ts';
import type { Arrival, Passage, Standing, Unread } from '../exchange/handle.ts';
import { type FieldRules, credentialsOf } from '../exchange/headers.ts';
import type { Caller } from '../exchange/shares.ts';
import type { ClientConnection, ClientResponse } from '../http/client.ts';
import type { Body, Fields, OutgoingResponse } from '../http/message.ts';
import type { Connection, ServerExchange } from '../http/server-exchange.ts';
import { abortSocket } from '../http1/sockets.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { EntryPoint, Facts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { callOf } from '../policy/protocols/grpc-rules.ts';
import type { Proof } from '../tasks/registry.ts';
import type { Task } from '../tasks/task.ts';
import type { Upstreams } from '../upstream/pools.ts';
import { contentOf } from './content.ts';
import type { Farewell } from './copy.ts';
import { EventStream, isEventStream } from './event-stream.ts';
import { mayHaveContentOnGet } from './get-content.ts';
import {
  type Call,
  type CallAnswer,
  CallBody,
  callTimeout,
  grpcRefusal,
  noteStatus,
  speaksGrpc,
  statusFields,
} from './grpc.ts';
import type { Listings } from './mcp-list.ts';
import { mcpRefusal } from './mcp-refusal.ts';
import { REPLACED, mcpReply } from './mcp-reply.ts';
import { McpExchange, type McpParts, endpointFor } from './mcp.ts';
import { lengthFor, requestHead, withoutFields } from './outgoing.ts';
import { Attempts, isIdempotent, repeatable } from './replay.ts';
import { switchProtocols } from './switch.ts';
import { noWebSocket, webSocketKey } from './websocket.ts';

/** What all requests share. */
export interface RelayParts {
  readonly upstreams: Upstreams;
  readonly fields: FieldRules;
  readonly tokens: JwtSvids;
  readonly mcp: McpParts;
  readonly listings: Listings;
  readonly now: () => number;
  readonly farewell: Farewell;
  /** Throws the Fault for an exchange that what changed since it was judged forbids. */
  readonly recheck: (exchange: Exchange) => void;
}

export class RequestArrival implements Arrival {
  readonly entry: EntryPoint;
  readonly transport: Connection;
  readonly #x: ServerExchange;
  readonly #from: AgentConnection;
  readonly #parts: RelayParts;
  #described: Described | undefined;
  /** By which it was read. */
  #under: Policy | undefined;
  /** That were judged, until a credential is put among them. */
  #fields: Fields = NO_FIELDS;
  /** What carries the request at the moment. */
  #connection: ClientConnection | undefined;
  #answering = false;
  /** The connection to the upstream may carry other requests afterwards. */
  #lent = true;
  /** A body that is part of what is judged is being received. */
  #reading = false;
  /** Content that was read whole, because it was judged. */
  #content: Buffer | undefined;
  /** At the endpoint of an MCP destination alone. */
  #mcp: McpExchange | undefined;
  /** The answer, where it is a stream of events. */
  #events: EventStream | undefined;
  /** At a gRPC destination alone. */
  #call: Call | undefined;

  constructor(x: ServerExchange, from: AgentConnection, entry: EntryPoint, parts: RelayParts) {
    this.entry = entry;
    this.transport = x.connection;
    this.#x = x;
    this.#from = from;
    this.#parts = parts;
  }

  get caller(): Caller {
    return this.#from.caller;
  }

  get bound(): Task | undefined {
    return this.#from.task;
  }

  get proof(): Proof {
    return this.#from.proof;
  }

  credentials(): string | undefined {
    return credentialsOf(this.#x.head.fields);
  }

  begun(exchange: Exchange): void {
    this.#from.exchange = exchange;
    exchange.tunnel = this.#from.tunnel;
    exchange.reader = this;
  }

  describe(time: number, policy: Policy): Facts | Promise<Facts> {
    const described = this.#from.describe(this.#x.head, {
      policy,
      fields: this.#parts.fields,
      time,
    });
    this.#described = described;
    this.#under = policy;
    const { facts } = described;
    if (
      this.transport.major === 2 &&
      policy.find(facts.host, facts.port)?.service.protocol === 'grpc'
    )
      return this.#readCall(described);
    const endpoint = endpointFor(policy, facts);
    this.#lent = !mayHaveContentOnGet(facts, policy, endpoint);
    return endpoint === undefined ? facts : this.#readMessage(endpoint, described, policy);
  }

  #readCall(described: Described): Facts {
    const { facts } = described;
    this.#call = { timeout: callTimeout(this.#x), body: undefined };
    return { ...facts, grpc: facts.http === undefined ? undefined : callOf(facts.http) };
  }

  /** The body of a message is part of what is judged. */
  async #readMessage(
    destination: McpDestination,
    described: Described,
    under: Policy,
  ): Promise<Facts> {
    const exchange = this.#from.exchange;
    if (exchange === undefined) throw new TypeError('described before it began');
    const from = { endpoint: described.facts.http?.path ?? '', exchange };
    const mcp = (this.#mcp = new McpExchange(destination, from, this.#parts.mcp));
    this.#reading = true;
    exchange.stops(this);
    exchange.enter('message', destination.timeouts.message, this.#parts.now());
    const message = await mcp.read(this.#x, (bytes) => (exchange.sent += bytes));
    this.#reading = false;
    const { http, host, port } = described.facts;
    under.find(host, port)?.spellings?.args(message.args);
    const facts = {
      ...described.facts,
      http: http && { ...http, fields: mcp.fields(http.fields) },
      mcp: message,
    };
    this.#described = { ...described, facts, continues: false };
    return facts;
  }

  /** What was read is read again by the policy that judges it. */
  reread(facts: Facts, policy: Policy): Facts {
    const { host, port, time, mcp, http: before } = facts;
    const destination = policy.find(host, port);
    if (policy === this.#under || destination === undefined) return facts;
    const { http } = this.#from.describe(this.#x.head, {
      policy,
      fields: this.#parts.fields,
      time,
    }).facts;
    if (http === undefined) return facts;
    if (mcp !== undefined) destination.spellings?.args(mcp.args);
    const fields =
      mcp === undefined ? http.fields : (this.#mcp?.fields(http.fields) ?? http.fields);
    return { ...facts, http: { ...http, fields, content: before?.content } };
  }

  /** Before a call of a tool is judged, its server has been asked what it says of it. */
  learn(exchange: Exchange, facts: Facts, standing: Standing): Promise<Facts> | undefined {
    const mcp = this.#mcp;
    if (mcp === undefined) return undefined;
    return this.#parts.listings.before({ exchange, mcp, facts }, standing)?.then((known) => {
      if (this.#described !== undefined) this.#described = { ...this.#described, facts: known };
      return known;
    });
  }

  async readContent(exchange: Exchange, facts: Facts, unread: Unread): Promise<Facts> {
    exchange.stops(this);
    this.#reading = true;
    const how = { now: this.#parts.now(), call: this.#call !== undefined };
    const content = await contentOf(this.#x, exchange, { ...unread, ...how });
    this.#reading = false;
    if (typeof content !== 'string') this.#content = content.bytes;
    const read = { ...facts, http: facts.http && { ...facts.http, content } };
    this.#described &&= { ...this.#described, facts: read, continues: false };
    return read;
  }

  async carry(exchange: Exchange, passage: Passage): Promise<void> {
    const described = this.#described;
    if (described === undefined) throw new TypeError('carried before it was described');
    exchange.stops(this);
    this.#fields = passage.facts.http?.fields ?? NO_FIELDS;
    if (described.webSocket !== undefined && passage.destination.http2 === true)
      throw noWebSocket(passage.destination);
    if (this.#call?.timeout !== undefined) exchange.deadline(this.#call.timeout);
    const body =
      this.#content ??
      (this.#mcp === undefined ? this.#bodyFor(exchange, passage) : this.#mcp.sending());
    if (passage.destination.credential !== undefined) await this.#authorize(exchange, passage);
    const {
      loan,
      response: whole,
      accept,
    } = await this.#ask(exchange, passage, { described, body });
    try {
      const response = boundedAnswer(whole, passage.destination.limits.response);
      if (this.#mcp !== undefined) await this.#answerMessage(exchange, response, this.#mcp);
      else if (response.upgraded !== undefined)
        await switchProtocols(exchange, response, {
          described,
          accept,
          x: this.#x,
          parts: this.#parts,
        });
      else await this.#answer(exchange, response, body instanceof CountedBody && !body.ended);
    } finally {
      this.#connection = undefined;
      // Servers differ on whether the content of a GET is the begin of the next request.
      if (this.#lent) loan.giveBack();
      else loan.lease.discard(new Fault('aborted', 'a GET with content was sent on it'));
    }
  }

  /**
   * Breaks off both sides: an agent that does not read keeps the answer waiting, whatever happens
   * to the upstream.
   */
  stop(reason: Fault): void {
    const inOrder = this.#events?.end(reason) === true;
    this.#connection?.destroy(reason);
    if (this.#reading) this.#x.body.cancel(reason);
    if (this.#answering && !inOrder) this.#x.abort(reason, this.#lastWords(reason));
  }

  /** What a client of gRPC is told where its call ends after its answer began. */
  #lastWords(reason: Fault): (() => readonly string[]) | undefined {
    const exchange = this.#from.exchange;
    if (this.#call === undefined || exchange === undefined || reason.code === 'client-gone')
      return undefined;
    return () => statusFields(reason, exchange);
  }

  async fail(exchange: Exchange, fault: Fault): Promise<void> {
    const x = this.#x;
    if (exchange.inOrder) return;
    if (x.answered || fault.code === 'client-gone') {
      x.abort(fault, this.#lastWords(fault));
      return;
    }
    const { head, body } = this.#refusal(exchange, fault);
    exchange.status = head.status;
    try {
      await x.respond(head, body);
    } catch {
      // The agent is gone: there is nobody to tell, and the record is written anyway.
    }
  }

  #refusal(
    exchange: Exchange,
    fault: Fault,
  ): { readonly head: OutgoingResponse; readonly body?: Buffer } {
    if (this.#mcp !== undefined) return mcpRefusal(this.#mcp, fault, exchange);
    if (fault.code !== 'unsupported-media' && speaksGrpc(this.#x))
      return grpcRefusal(fault, exchange);
    const { fields } = this.#x.head;
    return faultAnswer(fault, { id: exchange.id, rule: exchange.judgement?.decision.rule, fields });
  }

  /** The request's body, bounded; undefined when there is none. */
  #bodyFor(exchange: Exchange, { destination }: Passage): CountedBody | undefined {
    const { framing } = this.#x.head;
    const most = destination.limits.body ?? Infinity;
    if (framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0))
      return undefined;
    if (framing.kind === 'length' && framing.length > most) throw bodyTooLarge(most);
    const body = new CountedBody(this.#x.body, (bytes) => (exchange.sent += bytes), most);
    exchange.sends(body, destination.timeouts.idle);
    this.transport.bodyPause = Infinity;
    return body;
  }

  /** Puts the destination's credential in place of whatever Authorization the agent sent. */
  async #authorize(exchange: Exchange, { destination, identity }: Passage): Promise<void> {
    const { credential, timeouts } = destination;
    if (credential === undefined || identity === undefined) return;
    const { tokens, fields, now } = this.#parts;
    exchange.enter('connect', timeouts.connect, now());
    const token = await tokens.obtain(credential.audience, identity, {
      signal: exchange.signal,
      task: exchange.task?.id,
    });
    this.#fields = fields.authorized(this.#fields, token);
    exchange.credential = credential.kind;
  }

  /**
   * Sends the request on a verified connection; again on another one where one kept open turned out
   * to be dead before it was used.
   */
  async #ask(exchange: Exchange, passage: Passage, asked: Asked): Promise<Asking> {
    const { upstreams, now, recheck } = this.#parts;
    const { destination, facts, identity } = passage;
    const route = upstreams.route(destination, facts);
    const { described } = asked;
    const body = repeatable(asked.body, destination);
    const key = described.webSocket === undefined ? undefined : webSocketKey();
    const more = {
      fields: this.#fields,
      via: this.#parts.fields.via,
      call: this.#call !== undefined,
      key: key?.key,
    };
    const head = requestHead(destination, asked, { ...more, received: this.#x.head });
    let attempts: Attempts | undefined;
    for (;;) {
      const once = attempts !== undefined || !isIdempotent(described.method, body);
      const task = exchange.task?.id;
      let loan = upstreams.idle(route, identity, { task, once });
      if (loan === undefined) {
        exchange.enter('connect', destination.timeouts.connect, now());
        loan = await upstreams.borrow(route, identity, {
          signal: exchange.signal,
          by: exchange.agent,
          task,
          once,
        });
      }
      const { connection, info } = loan.lease;
      exchange.upstream = info;
      try {
        exchange.throwIfAborted();
        recheck(exchange);
        requireSame(facts, exchange.judgement?.facts);
        if (described.continues && !this.#x.answered) this.#x.inform(100, []);
        this.#awaitAnswer(exchange, destination);
        this.#connection = connection;
        const response = await connection.request(head, body, { onInform: this.#inform });
        return { loan, response, accept: key?.accept ?? '' };
      } catch (failure) {
        this.#connection = undefined;
        loan.lease.discard(Fault.from(failure, 'internal'));
        // An upstream that keeps a deadline itself may cut the request before we look at the clock.
        const over = exchange.reason ?? exchange.overdue(now());
        attempts ??= new Attempts(described.method, body);
        if (
          over !== undefined ||
          this.#x.connection.gone ||
          !attempts.again(failure, loan.lease.fresh)
        )
          throw over ?? refusedUs(failure, route.matched);
      }
    }
  }

  readonly #inform = (status: number, fields: readonly string[]): void => {
    // 100 is answered here (RFC 9110 section 10.1.1); the others are for the agent.
    if (status !== 100 && !this.#x.answered)
      this.#x.inform(status, this.#parts.fields.response(fields));
  };

  /**
   * A stream of calls may be silent for long before its head comes; what bounds it is its deadline,
   * and `idle`.
   */
  #awaitAnswer(exchange: Exchange, { timeouts }: Destination): void {
    const { now } = this.#parts;
    if (this.#call === undefined) exchange.enter('headers', timeouts.headers, now());
    else exchange.enter('idle', timeouts.idle, now());
  }

  /** `close`: the answer came before the end of the request, and the rest is not wanted. */
  #answer(exchange: Exchange, { head, body }: ClientResponse, close: boolean): Promise<void> {
    exchange.throwIfAborted();
    this.#answering = true;
    exchange.status = head.status;
    exchange.enter('idle', idleOf(exchange), this.#parts.now());
    const fields = this.#parts.fields.response(head.fields);
    fields.push(DECISION_FIELD, exchange.id);
    const counted = new CountedBody(body, (bytes) => (exchange.received += bytes));
    if (this.#call !== undefined)
      return this.#answerCall(exchange, { head, fields, counted }, this.#call);
    const length = lengthFor(this.#x.head.method, head);
    const answer = { status: head.status, fields, length, close };
    if (length !== undefined || !isEventStream(head.fields))
      return this.#x.respond(answer, counted);
    return this.#answerEvents(exchange, answer, counted);
  }

  async #answerEvents(exchange: Exchange, answer: OutgoingResponse, body: Body): Promise<void> {
    const comments = exchange.judgement?.decision.destination?.timeouts.keepAlive;
    this.#events = new EventStream(body, { exchange, comments, clock: this.#parts.farewell.clock });
    await this.#x.respond(answer, this.#events);
    if (exchange.inOrder) exchange.throwIfAborted();
  }

  async #answerCall(
    exchange: Exchange,
    { head, fields, counted }: CallAnswer,
    call: Call,
  ): Promise<void> {
    noteStatus(exchange, head.fields);
    const body = (call.body = new CallBody(counted, exchange, this.#parts.now));
    await this.#x.respond({ status: head.status, fields, length: undefined, trailers: true }, body);
    if (body.fault !== undefined) throw body.fault;
  }

  async #answerMessage(
    exchange: Exchange,
    response: ClientResponse,
    mcp: McpExchange,
  ): Promise<void> {
    const { head } = response;
    exchange.throwIfAborted();
    exchange.enter('idle', mcp.destination.timeouts.idle, this.#parts.now());
    if (response.upgraded !== undefined) {
      abortSocket(response.upgraded.socket);
      throw new Fault('upstream-malformed', 'the upstream switched protocols unasked');
    }
    const { fields: told, body } = await mcpReply(mcp, response, exchange);
    exchange.status = head.status;
    const fields = withoutFields(this.#parts.fields.response(head.fields), REPLACED);
    fields.push(...told, DECISION_FIELD, exchange.id);
    this.#answering = true;
    const answer = { status: head.status, fields, length: body?.length ?? 0 };
    if (body === undefined || Buffer.isBuffer(body)) await this.#x.respond(answer, body);
    else await this.#answerEvents(exchange, { ...answer, length: undefined }, body);
  }
}
