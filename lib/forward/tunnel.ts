/**
 * Tunnels: CONNECT to a passthrough destination (the agent's own TLS), to a tcp destination
 * (wrapped in TLS by us) or to one that is intercepted (lib/listen/intercepted.ts). Rules:
 * - bytes after the CONNECT head are tunnel data, never a request, and count only after the 200
 *   (RFC 9931);
 * - tcp: the peer is verified before the 200, so that a wrong one is an answer and not a cut;
 * - passthrough: names and addresses are judged before the 200; the agent's ClientHello must name
 *   the host of the CONNECT before anything is dialled.
 */
import type { Fault } from '../base/fault.ts';
import type { AgentConnection } from '../exchange/agent-connection.ts';
import type { Permit } from '../exchange/authorize.ts';
import { describeConnect } from '../exchange/describe.ts';
import { Exchange } from '../exchange/exchange.ts';
import { DECISION_FIELD, faultAnswer, reasonPhrase } from '../exchange/fault-response.ts';
import { credentialsOf } from '../exchange/headers.ts';
import type { Described } from '../exchange/described.ts';
import type { InboundExchange } from '../exchange/inbound.ts';
import type { HandedOver, ServerExchange } from '../http/server-exchange.ts';
import { abortSocket } from '../http1/sockets.ts';
import { matrixRow } from '../policy/protocols/index.ts';
import { HELLO_TIMEOUT, clientHello } from './client-hello.ts';
import type { ForwardContext } from './context.ts';
import type { Interceptor } from './interceptor.ts';
import { RawRelay, abortOnDisconnect, useOrCut } from './raw-relay.ts';

export interface TunnelContext extends ForwardContext {
  readonly interceptor: Interceptor;
  /** Aborts when idle connections should end. */
  readonly closing: AbortSignal;
}

export interface DescribedConnect extends Described {
  readonly kind: 'connect';
}

export class ConnectInbound implements InboundExchange<DescribedConnect> {
  readonly exchange: Exchange;
  readonly connection: AgentConnection;
  readonly #request: ServerExchange;
  readonly #context: TunnelContext;
  readonly #agent: TunnelAgent;

  constructor(request: ServerExchange, connection: AgentConnection, context: TunnelContext) {
    this.exchange = new Exchange('connect', request.connection, context.now());
    this.connection = connection;
    this.#request = request;
    this.#context = context;
    this.#agent = new TunnelAgent(request, this.exchange);
    connection.exchange = this.exchange;
  }

  credentials(): string | undefined {
    return credentialsOf(this.#request.head.fields);
  }

  describe(time: number): DescribedConnect {
    return { kind: 'connect', facts: describeConnect(this.#request.head, time) };
  }

  forward(_: DescribedConnect, permit: Permit): Promise<void> {
    switch (matrixRow(permit.facts, permit.destination).outcome) {
      case 'wrapped':
        return this.#wrap(permit);
      case 'tunnel':
        return this.#passThrough(permit);
      case 'intercepted':
      case 'inspected':
        return this.#intercept(permit);
      case 'request':
      case 'refused':
        throw new TypeError('a tunnel that the access matrix does not serve');
    }
  }

  async reject(fault: Fault): Promise<void> {
    const { exchange } = this;
    const request = this.#request;
    if (this.#agent.abort()) return;
    if (fault.code === 'client-gone') {
      request.abort(fault);
      return;
    }
    const host = exchange.authorization?.facts.host ?? '';
    const accept = (): HandedOver => this.#agent.accept();
    if (await this.#context.interceptor.refuse({ exchange, fault, host, accept })) return;
    const rule = exchange.authorization?.decision.rule;
    const { fields } = request.head;
    const { head, body } = faultAnswer(fault, { id: exchange.id, rule, fields });
    exchange.status = head.status;
    const reason = reasonPhrase(fault, exchange.authorization !== undefined);
    try {
      await request.respond({ ...head, reason }, body);
    } catch {
      // The agent is gone: there is nobody to answer, and the record is written anyway.
    }
  }

  async #wrap(permit: Permit): Promise<void> {
    const relay = new RawRelay(this.exchange, permit, this.#context);
    const upstream = await relay.connect(await relay.resolve());
    const agent = useOrCut(upstream, () => this.#agent.accept());
    await relay.copy(agent, upstream);
  }

  async #passThrough(permit: Permit): Promise<void> {
    const { exchange } = this;
    const relay = new RawRelay(exchange, permit, this.#context);
    const addresses = await relay.resolve();
    const agent = this.#agent.accept();
    exchange.enter('hello', HELLO_TIMEOUT, this.#context.now());
    const { ech = 'pass' } = permit.destination.tls;
    const host = relay.route.matched;
    const early = await clientHello(agent, { host, ech, signal: exchange.signal });
    const upstream = await relay.connect(addresses);
    await relay.copy({ socket: agent.socket, early }, upstream);
  }

  #intercept({ destination, facts }: Permit): Promise<void> {
    const { interceptor, closing } = this.#context;
    return interceptor.serve({
      exchange: this.exchange,
      destination,
      authority: { host: facts.host, port: facts.port },
      closing,
      accept: () => this.#agent.accept(),
      settled: () => this.#agent.settled(),
      caller: this.connection.caller,
    });
  }
}

/** The agent's side of a tunnel: its socket from the 200 on. */
class TunnelAgent {
  readonly #request: ServerExchange;
  readonly #exchange: Exchange;
  #open: HandedOver | undefined;
  /** Stops watching the socket. */
  #settle: () => void = () => {};

  constructor(request: ServerExchange, exchange: Exchange) {
    this.#request = request;
    this.#exchange = exchange;
  }

  /** Answers the CONNECT with 200. */
  accept(): HandedOver {
    const exchange = this.#exchange;
    const fields = [DECISION_FIELD, exchange.id];
    const open = this.#request.upgrade({ status: 200, fields, length: undefined });
    exchange.status = 200;
    this.#open = open;
    this.#settle = abortOnDisconnect(open.socket, exchange);
    return open;
  }

  /** Whoever serves the socket from here on notices itself when it closes. */
  settled(): void {
    this.#settle();
  }

  /** False, with nothing done, where no tunnel is open. */
  abort(): boolean {
    if (this.#open === undefined) return false;
    abortSocket(this.#open.socket);
    return true;
  }
}
