/**
 * A request over HTTP on a connection of an agent's: described by the protocol of its destination,
 * and forwarded and refused by what it was described as.
 */
import type { Fault } from '../base/fault.ts';
import type { AgentConnection } from '../exchange/agent-connection.ts';
import type { Permit } from '../exchange/authorize.ts';
import type { ExchangeContext } from '../exchange/context.ts';
import type { DescribedHttp, DescribedRequestHead } from '../exchange/describe.ts';
import type { Reader } from '../exchange/described.ts';
import { Exchange } from '../exchange/exchange.ts';
import { type Answer, faultAnswer } from '../exchange/fault-response.ts';
import { credentialsOf } from '../exchange/headers.ts';
import type { InboundExchange, Unread } from '../exchange/inbound.ts';
import type { OutgoingResponse } from '../http/message.ts';
import type { ServerExchange } from '../http/server-exchange.ts';
import { outgoingFields } from '../mcp/outgoing.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { EntryPoint, RequestFacts } from '../policy/model/facts.ts';
import type { McpDestination } from '../policy/protocols/mcp-service.ts';
import { contentOf } from './content.ts';
import type { ForwardContext } from './context.ts';
import { describeRequest } from './describe.ts';
import type { DescribedMcp, DescribedRequest, UnreadMcp } from './described.ts';
import { grpcRefusal, speaksGrpc, statusTrailers } from './grpc-status.ts';
import * as grpc from './grpc.ts';
import * as http from './http.ts';
import { mcpRefusal } from './mcp-refusal.ts';
import * as mcp from './mcp.ts';
import { Relay } from './relay.ts';
import * as websocket from './websocket.ts';

export class RequestInbound implements InboundExchange<DescribedRequest>, Reader {
  readonly exchange: Exchange;
  readonly connection: AgentConnection;
  readonly #request: ServerExchange;
  readonly #context: ForwardContext;

  constructor(
    request: ServerExchange,
    connection: AgentConnection,
    entry: EntryPoint,
    context: ForwardContext,
  ) {
    this.exchange = new Exchange(entry, request.connection, context.now());
    this.exchange.tunnel = connection.tunnel;
    this.connection = connection;
    this.#request = request;
    this.#context = context;
    this.exchange.reader = this;
    connection.exchange = this.exchange;
  }

  credentials(): string | undefined {
    return credentialsOf(this.#request.head.fields);
  }

  describe(time: number, policy: Policy): DescribedRequest | Promise<DescribedRequest> {
    return describeRequest(this.#describeHead(time, policy), this);
  }

  get major(): 1 | 2 {
    return this.#request.connection.major;
  }

  callTimeout(): number | undefined {
    return grpc.callTimeout(this.#request);
  }

  readMessage(head: DescribedHttp, destination: McpDestination): Promise<DescribedMcp | UnreadMcp> {
    const { exchange } = this;
    const source = { exchange, request: this.#request, context: this.#context };
    return mcp.describeMessage(head, destination, source);
  }

  reread(described: DescribedRequest, policy: Policy): RequestFacts {
    const { facts } = described;
    if (policy === described.policy) return facts;
    const { destination, facts: read } = this.#describeHead(facts.time, policy);
    if (destination === undefined) return facts;
    const { http } = read;
    const { content } = facts.http;
    if (described.kind !== 'mcp') return { ...facts, http: { ...http, content } };
    destination.spellings?.args(described.facts.mcp.args);
    const fields = outgoingFields(http.fields, described.message.outgoing);
    return { ...facts, http: { ...http, fields, content } };
  }

  learn(
    described: DescribedRequest,
    context: ExchangeContext,
  ): Promise<DescribedRequest> | undefined {
    if (described.kind !== 'mcp') return undefined;
    return this.#context.listings.before(described, this.exchange, context);
  }

  async readContent(described: DescribedRequest, unread: Unread): Promise<DescribedRequest> {
    const { exchange } = this;
    const request = this.#request;
    exchange.onAbort({ abort: (reason) => request.body.cancel(reason) });
    const call = described.kind === 'grpc';
    const reading = { ...unread, now: this.#context.now(), call };
    const content = await contentOf(request, exchange, reading);
    exchange.onAbort(undefined);
    const bytes = typeof content === 'string' ? undefined : content.bytes;
    const facts = { ...described.facts, http: { ...described.facts.http, content } };
    return { ...described, facts, continues: false, content: bytes } as DescribedRequest;
  }

  forward(described: DescribedRequest, permit: Permit): Promise<void> {
    const trailers = described.kind === 'grpc' ? statusTrailers : undefined;
    const relay = new Relay(this.exchange, this.#request, this.#context, trailers);
    this.exchange.onAbort(relay);
    switch (described.kind) {
      case 'http':
        return http.forward(described, permit, relay);
      case 'websocket':
        return websocket.forward(described, permit, relay);
      case 'grpc':
        return grpc.forward(described, permit, relay);
      case 'mcp':
        return mcp.forward(this.#asAuthorized(described), permit, relay);
      case 'unread-mcp':
        return Promise.reject(described.fault);
    }
  }

  /** With the fields that cross the proxy as the policy that authorized it has them read. */
  #asAuthorized(described: DescribedMcp): DescribedMcp {
    const policy = this.exchange.authorization?.policy ?? described.policy;
    if (policy === described.policy) return described;
    const { facts } = this.#describeHead(described.facts.time, policy);
    return { ...described, kept: facts.http.fields };
  }

  async reject(fault: Fault, described: DescribedRequest | undefined): Promise<void> {
    const { exchange } = this;
    const request = this.#request;
    if (exchange.inOrder) return;
    if (request.answered || fault.code === 'client-gone') {
      const trailers = described?.kind === 'grpc' ? statusTrailers(fault, exchange) : undefined;
      request.abort(fault, trailers);
      return;
    }
    const { head, body } = this.#refusal(fault, described);
    exchange.status = head.status;
    try {
      await request.respond(head, body);
    } catch {
      // The agent is gone: there is nobody to answer, and the record is written anyway.
    }
  }

  #describeHead(time: number, policy: Pick<Policy, 'find'>): DescribedRequestHead {
    const { fields } = this.#context;
    return this.connection.describe(this.#request.head, { policy, fields, time });
  }

  #refusal(
    fault: Fault,
    described: DescribedRequest | undefined,
  ): Answer | { readonly head: OutgoingResponse; readonly body?: undefined } {
    const { exchange } = this;
    if (described?.kind === 'mcp' || described?.kind === 'unread-mcp')
      return mcpRefusal(described, fault, exchange);
    if (fault.code !== 'unsupported-media' && speaksGrpc(this.#request))
      return grpcRefusal(fault, exchange);
    const { fields } = this.#request.head;
    const rule = exchange.authorization?.decision.rule;
    return faultAnswer(fault, { id: exchange.id, rule, fields });
  }
}
