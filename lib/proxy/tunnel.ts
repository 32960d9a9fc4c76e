/**
 * Connections whose bytes are not looked into: CONNECT to a passthrough destination (the agent's own TLS) or to a tcp destination (wrapped in TLS by us), and raw
 * connections to the listener of a tcp destination. Rules:
 * - bytes after the CONNECT head are tunnel data, never a request, and count only after the 200 (RFC 9931);
 * - tcp: the peer is verified before the 200, so that a wrong one is an answer and not a cut;
 * - passthrough: names and addresses are judged before the 200; the agent's ClientHello must name the host of the CONNECT before anything is dialled.
 */
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import type { HandedOver, ServerExchange } from '../http1/exchange.ts';
import type { Facts } from '../policy/facts.ts';
import { matrixRow } from '../policy/matrix.ts';
import type { Destination } from '../policy/model.ts';
import { readClientHello, type ClientHello } from '../tls/clienthello.ts';
import { copyBothWays, cut } from './copy.ts';
import { describeConnect, describeRaw } from './describe.ts';
import type { Reached } from './dial.ts';
import type { Exchange, Transport } from './exchange.ts';
import type { Arrival, Passage } from './handle.ts';
import { agentCut, upstreamCut, type AgentConnection, type RelayParts } from './relay.ts';
import { DECISION_FIELD, faultAnswer } from './respond.ts';
import type { Route } from './route.ts';

/** How long an agent may take to send its ClientHello, in milliseconds. */
export const HELLO_TIMEOUT = 10_000;

const NOTHING = Buffer.alloc(0);

export class ConnectArrival implements Arrival {
  readonly entry = 'connect';
  readonly transport: Transport;
  readonly #x: ServerExchange;
  readonly #from: AgentConnection;
  readonly #parts: RelayParts;
  #open: HandedOver | undefined;

  constructor(x: ServerExchange, from: AgentConnection, parts: RelayParts) {
    this.transport = x.connection;
    this.#x = x;
    this.#from = from;
    this.#parts = parts;
  }

  begun(exchange: Exchange): void {
    this.#from.exchange = exchange;
  }

  describe(time: number): Facts {
    return describeConnect(this.#x.head, time);
  }

  async carry(exchange: Exchange, passage: Passage): Promise<void> {
    const { upstreams, now } = this.#parts;
    const { destination, facts, identity } = passage;
    const route = upstreams.route(destination, facts);
    const by = { identity, signal: exchange.signal };
    exchange.enter('connect', destination.timeouts.connect, now());
    const addresses = await upstreams.resolve(route, exchange.signal);
    if (matrixRow('connect', destination).outcome === 'wrapped') {
      const reached = await upstreams.connect(route, addresses, by);
      const agent = unlessRefused(reached, () => (reachedBy(exchange, reached, this.#parts), this.#accept(exchange)));
      await relayRaw({ exchange, agent, reached, destination }, this.#parts);
      return;
    }
    const agent = this.#accept(exchange);
    exchange.enter('hello', HELLO_TIMEOUT, now());
    const early = await clientHello(agent, route, exchange);
    exchange.enter('connect', destination.timeouts.connect, now());
    const reached = await upstreams.connect(route, addresses, by);
    unlessRefused(reached, () => reachedBy(exchange, reached, this.#parts));
    await relayRaw({ exchange, agent: { socket: agent.socket, early }, reached, destination }, this.#parts);
  }

  async fail(exchange: Exchange, fault: Fault): Promise<void> {
    const x = this.#x;
    if (this.#open !== undefined) {
      cut(this.#open.socket);
    } else if (fault.code === 'client-gone') {
      x.cut(fault);
    } else {
      const { head, body } = faultAnswer(fault, exchange.id, exchange.judgement?.decision.rule);
      exchange.status = head.status;
      try {
        await x.respond(head, body);
      } catch {
        // The agent is gone: there is nobody to tell, and the record is written anyway.
      }
    }
  }

  #accept(exchange: Exchange): HandedOver {
    const agent = this.#x.upgrade({ status: 200, fields: [DECISION_FIELD, exchange.id], length: undefined });
    exchange.status = 200;
    this.#open = agent;
    leaves(agent.socket, exchange);
    return agent;
  }
}

/** A connection to the listener of a tcp destination. */
export class RawArrival implements Arrival {
  readonly entry = 'listener';
  readonly transport: Transport;
  readonly #socket: Socket;
  readonly #destination: Destination;
  readonly #parts: RelayParts;

  constructor(socket: Socket, destination: Destination, parts: RelayParts) {
    this.transport = { bytesRead: 0, bytesWritten: 0 };
    this.#socket = socket;
    this.#destination = destination;
    this.#parts = parts;
  }

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
    const addresses = await upstreams.resolve(route, exchange.signal);
    const reached = await upstreams.connect(route, addresses, { identity, signal: exchange.signal });
    unlessRefused(reached, () => reachedBy(exchange, reached, this.#parts));
    await relayRaw({ exchange, agent: { socket: this.#socket, early: NOTHING }, reached, destination }, this.#parts);
  }

  fail(): Promise<void> {
    cut(this.#socket);
    return Promise.resolve();
  }
}

interface RawRelay {
  readonly exchange: Exchange;
  readonly agent: HandedOver;
  readonly reached: Reached;
  readonly destination: Destination;
}

async function relayRaw({ exchange, agent, reached, destination }: RawRelay, { now }: RelayParts): Promise<void> {
  exchange.enter('idle', destination.timeouts.idle, now());
  await copyBothWays(
    { ...agent, count: (bytes) => (exchange.sent += bytes), cut: agentCut },
    { socket: reached.socket, early: NOTHING, count: (bytes) => (exchange.received += bytes), cut: upstreamCut },
    exchange.signal,
  );
}

/** Aborts the exchange when its agent's socket ends before the copying, which looks after both sockets, has begun. */
function leaves(socket: Duplex, exchange: Exchange): void {
  socket.on('error', (cause) => exchange.abort(agentCut(cause)));
  socket.on('close', () => {
    if (!socket.readableEnded || !socket.writableFinished) exchange.abort(agentCut(undefined));
  });
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
    cut(reached.socket);
    throw failure;
  }
}

/** The bytes up to and with a ClientHello that names the host of the CONNECT; throws a Fault for anything else. The socket is left paused. */
async function clientHello({ socket, early }: HandedOver, route: Route, exchange: Exchange): Promise<Buffer> {
  let bytes = early;
  let hello = readClientHello(bytes);
  while (hello === 'more') {
    bytes = Buffer.concat([bytes, await nextBytes(socket, exchange.signal)]);
    hello = readClientHello(bytes);
  }
  const objection = objectTo(hello, route.matched);
  if (objection === undefined) return bytes;
  throw new Fault('denied', `the TLS inside the tunnel to ${route.matched} ${objection.problem}`, {
    hint: objection.hint,
  });
}

function objectTo(
  { serverName, ech }: ClientHello,
  host: string,
): { readonly problem: string; readonly hint: string } | undefined {
  if (ech) return { problem: 'hides the name it asks for (encrypted ClientHello)', hint: 'turn ECH off in the client' };
  if (serverName === undefined) return { problem: 'names no server (SNI)', hint: 'use a client that sends SNI' };
  if (serverName === host) return undefined;
  return { problem: `asks for ${serverName}`, hint: 'SNI must be the host of the CONNECT request' };
}

/** The next bytes of a paused socket, which is paused again behind them. */
function nextBytes(socket: Duplex, signal: AbortSignal): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      socket.pause();
      socket.off('data', onData).off('end', onEnd);
      off();
    };
    const onData = (chunk: Buffer): void => (done(), resolve(chunk));
    const onEnd = (): void => (
      done(),
      reject(new Fault('malformed', 'the tunnel ended before a ClientHello was complete'))
    );
    const off = onAbort(signal, (reason) => {
      socket.off('data', onData).off('end', onEnd);
      reject(reason);
    });
    socket.on('data', onData).on('end', onEnd);
    socket.resume();
  });
}
