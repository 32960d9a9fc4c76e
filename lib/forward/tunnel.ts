/**
 * Tunnels: CONNECT to a passthrough destination (the agent's own TLS), to a tcp destination
 * (wrapped in TLS by us) or to one that is intercepted (lib/listen/intercepted.ts), and raw
 * connections to the listener of a tcp destination. Rules:
 * - bytes after the CONNECT head are tunnel data, never a request, and count only after the 200
 *   (RFC 9931);
 * - tcp: the peer is verified before the 200, so that a wrong one is an answer and not a cut;
 * - passthrough: names and addresses are judged before the 200; the agent's ClientHello must name
 *   the host of the CONNECT before anything is dialled.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Fault } from '../base/fault.ts';
import { agentCut, upstreamCut } from '../exchange/aborted.ts';
import type { AgentConnection } from '../exchange/agent-connection.ts';
import { describeConnect, describeRaw } from '../exchange/describe.ts';
import type { Exchange, Transport } from '../exchange/exchange.ts';
import { DECISION_FIELD, faultAnswer, reasonPhrase } from '../exchange/fault-response.ts';
import type { Arrival, Passage } from '../exchange/handle.ts';
import { credentialsOf } from '../exchange/headers.ts';
import type { Caller } from '../exchange/shares.ts';
import type { HandedOver, ServerExchange } from '../http/server-exchange.ts';
import { abortSocket } from '../http1/sockets.ts';
import { matrixRow } from '../policy/protocols/index.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Proof } from '../tasks/registry.ts';
import type { Task } from '../tasks/task.ts';
import type { Reached } from '../upstream/dial.ts';
import { HELLO_TIMEOUT, clientHello } from './client-hello.ts';
import { copyBothWays } from './copy.ts';
import type { RelayParts } from './http.ts';
import type { Interceptor } from './interceptor.ts';

const NOTHING = Buffer.alloc(0);

export interface TunnelParts extends RelayParts {
  readonly interceptor: Interceptor;
  /** Aborts when idle connections should end. */
  readonly closing: AbortSignal;
}

export class ConnectArrival implements Arrival {
  readonly entry = 'connect';
  readonly transport: Transport;
  readonly #x: ServerExchange;
  readonly #from: AgentConnection;
  readonly #parts: TunnelParts;
  #open: HandedOver | undefined;
  #unwatch: () => void = () => {};

  constructor(x: ServerExchange, from: AgentConnection, parts: TunnelParts) {
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
  }

  describe(time: number): Facts {
    return describeConnect(this.#x.head, time);
  }

  carry(exchange: Exchange, passage: Passage): Promise<void> {
    switch (matrixRow(passage.facts, passage.destination).outcome) {
      case 'wrapped':
        return this.#wrap(exchange, passage);
      case 'tunnel':
        return this.#passThrough(exchange, passage);
      case 'intercepted':
      case 'inspected':
        return this.#lookInside(exchange, passage);
      case 'request':
      case 'refused':
        throw new TypeError('a tunnel that the access matrix does not serve');
    }
  }

  async fail(exchange: Exchange, fault: Fault): Promise<void> {
    const x = this.#x;
    if (this.#open !== undefined) {
      abortSocket(this.#open.socket);
    } else if (fault.code === 'client-gone') {
      x.abort(fault);
    } else if (!(await this.#toldInside(exchange, fault))) {
      const rule = exchange.judgement?.decision.rule;
      const { head, body } = faultAnswer(fault, { id: exchange.id, rule, fields: x.head.fields });
      exchange.status = head.status;
      try {
        await x.respond(
          { ...head, reason: reasonPhrase(fault, exchange.judgement !== undefined) },
          body,
        );
      } catch {
        // The agent is gone: there is nobody to tell, and the record is written anyway.
      }
    }
  }

  #toldInside(exchange: Exchange, fault: Fault): Promise<boolean> {
    const host = exchange.judgement?.facts.host ?? '';
    const accept = (): HandedOver => this.#accept(exchange);
    return this.#parts.interceptor.refuse({ exchange, fault, host, accept });
  }

  async #wrap(exchange: Exchange, { destination, facts, identity }: Passage): Promise<void> {
    const { upstreams, now } = this.#parts;
    const route = upstreams.route(destination, facts);
    exchange.enter('connect', destination.timeouts.connect, now());
    const addresses = await upstreams.resolve(route, exchange.signal, exchange.agent?.name);
    const reached = await upstreams.connect(route, addresses, {
      identity,
      signal: exchange.signal,
    });
    const agent = unlessRefused(
      reached,
      () => (reachedBy(exchange, reached, this.#parts), this.#accept(exchange)),
    );
    await relayRaw({ exchange, agent, reached, destination }, this.#parts);
  }

  async #passThrough(exchange: Exchange, { destination, facts, identity }: Passage): Promise<void> {
    const { upstreams, now } = this.#parts;
    const route = upstreams.route(destination, facts);
    exchange.enter('connect', destination.timeouts.connect, now());
    const addresses = await upstreams.resolve(route, exchange.signal, exchange.agent?.name);
    const agent = this.#accept(exchange);
    exchange.enter('hello', HELLO_TIMEOUT, now());
    const { ech = 'pass' } = destination.tls;
    const early = await clientHello(agent, { host: route.matched, ech, signal: exchange.signal });
    exchange.enter('connect', destination.timeouts.connect, now());
    const reached = await upstreams.connect(route, addresses, {
      identity,
      signal: exchange.signal,
    });
    unlessRefused(reached, () => reachedBy(exchange, reached, this.#parts));
    await relayRaw(
      { exchange, agent: { socket: agent.socket, early }, reached, destination },
      this.#parts,
    );
  }

  #lookInside(exchange: Exchange, { destination, facts }: Passage): Promise<void> {
    const { interceptor, closing } = this.#parts;
    return interceptor.serve({
      exchange,
      destination,
      authority: { host: facts.host, port: facts.port },
      closing,
      accept: () => this.#accept(exchange),
      settled: () => this.#unwatch(),
      caller: this.caller,
    });
  }

  #accept(exchange: Exchange): HandedOver {
    const agent = this.#x.upgrade({
      status: 200,
      fields: [DECISION_FIELD, exchange.id],
      length: undefined,
    });
    exchange.status = 200;
    this.#open = agent;
    this.#unwatch = leaves(agent.socket, exchange);
    return agent;
  }
}

export interface RawFrom extends Pick<AgentConnection, 'caller' | 'task'> {
  readonly destination: Destination;
}

/** A connection to the listener of a tcp destination. */
export class RawArrival implements Arrival {
  readonly entry = 'listener';
  readonly transport: Transport;
  readonly #socket: Socket;
  readonly #destination: Destination;
  readonly #parts: RelayParts;
  readonly caller: Caller;
  readonly bound: Task | undefined;

  constructor(socket: Socket, from: RawFrom, parts: RelayParts) {
    this.caller = from.caller;
    this.bound = from.task;
    this.transport = { bytesRead: 0, bytesWritten: 0 };
    this.#socket = socket;
    this.#destination = from.destination;
    this.#parts = parts;
  }

  get proof(): undefined {
    return undefined;
  }

  /** Raw bytes name no task: its socket may. */
  credentials(): undefined {}

  begun(exchange: Exchange): void {
    leaves(this.#socket, exchange);
  }

  describe(time: number): Facts {
    return describeRaw(this.#destination, time);
  }

  async carry(exchange: Exchange, { destination, facts, identity }: Passage): Promise<void> {
    const { upstreams, now } = this.#parts;
    const route = upstreams.route(destination, facts);
    exchange.enter('connect', destination.timeouts.connect, now());
    const addresses = await upstreams.resolve(route, exchange.signal, exchange.agent?.name);
    const reached = await upstreams.connect(route, addresses, {
      identity,
      signal: exchange.signal,
    });
    unlessRefused(reached, () => reachedBy(exchange, reached, this.#parts));
    await relayRaw(
      { exchange, agent: { socket: this.#socket, early: NOTHING }, reached, destination },
      this.#parts,
    );
  }

  fail(): Promise<void> {
    abortSocket(this.#socket);
    return Promise.resolve();
  }
}

interface RawRelay {
  readonly exchange: Exchange;
  readonly agent: HandedOver;
  readonly reached: Reached;
  readonly destination: Destination;
}

async function relayRaw(
  { exchange, agent, reached, destination }: RawRelay,
  { now, farewell }: RelayParts,
): Promise<void> {
  exchange.enter('idle', destination.timeouts.idle, now());
  await copyBothWays(
    { ...agent, count: (bytes) => (exchange.sent += bytes), cut: agentCut },
    {
      socket: reached.socket,
      early: NOTHING,
      count: (bytes) => (exchange.received += bytes),
      cut: upstreamCut,
    },
    { signal: exchange.signal, farewell },
  );
}

/**
 * Aborts the exchange when its agent's socket ends before whoever looks after it then has begun;
 * returns how to stop that.
 */
function leaves(socket: Duplex, exchange: Exchange): () => void {
  const onError = (cause: unknown): void => exchange.abort(agentCut(cause));
  const onClose = (): void => {
    if (!socket.readableEnded || !socket.writableFinished) exchange.abort(agentCut(undefined));
  };
  socket.on('error', onError).on('close', onClose);
  return () => socket.off('error', onError).off('close', onClose);
}

function reachedBy(exchange: Exchange, reached: Reached, { recheck }: RelayParts): void {
  exchange.upstream = reached;
  exchange.throwIfAborted();
  recheck(exchange);
}

/** Runs `act`; a connection that is then not used is closed. */
function unlessRefused<T>(reached: Reached, act: () => T): T {
  try {
    return act();
  } catch (failure) {
    abortSocket(reached.socket);
    throw failure;
  }
}
