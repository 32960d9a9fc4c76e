/** Tunnels and raw connections: a connection to the upstream, and bytes both ways. */
import type { Duplex } from 'node:stream';
import { agentCut, upstreamCut } from '../exchange/aborted.ts';
import type { Permit } from '../exchange/authorize.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { HandedOver } from '../http/server-exchange.ts';
import { abortSocket } from '../http1/sockets.ts';
import type { UpstreamConnection } from '../upstream/dial.ts';
import type { Route } from '../upstream/route.ts';
import type { ForwardContext } from './context.ts';
import { copyBothWays } from './copy.ts';

export const NOTHING = Buffer.alloc(0);

/** One permitted exchange of raw bytes. */
export class RawRelay {
  readonly #exchange: Exchange;
  readonly #permit: Permit;
  readonly #context: ForwardContext;
  readonly route: Route;

  constructor(exchange: Exchange, permit: Permit, context: ForwardContext) {
    this.#exchange = exchange;
    this.#permit = permit;
    this.#context = context;
    this.route = context.upstreams.route(permit.destination, permit.facts);
  }

  /** The judged addresses; nothing is dialled. */
  resolve(): Promise<readonly string[]> {
    const { signal, agent } = this.#exchange;
    this.#connecting();
    return this.#context.upstreams.resolve(this.route, signal, agent?.name);
  }

  /** Connects, and authorizes again by what has changed since. */
  async connect(addresses: readonly string[]): Promise<UpstreamConnection> {
    const exchange = this.#exchange;
    const { upstreams, reauthorize } = this.#context;
    const { identity } = this.#permit;
    this.#connecting();
    const by = { identity, signal: exchange.signal };
    const upstream = await upstreams.connect(this.route, addresses, by);
    return useOrCut(upstream, () => {
      exchange.upstream = upstream;
      exchange.throwIfAborted();
      reauthorize(exchange);
      return upstream;
    });
  }

  async copy(agent: HandedOver, upstream: UpstreamConnection): Promise<void> {
    const exchange = this.#exchange;
    const { now, farewell } = this.#context;
    exchange.enter('idle', this.#permit.destination.timeouts.idle, now());
    await copyBothWays(
      { ...agent, count: (bytes) => (exchange.sent += bytes), cut: agentCut },
      {
        socket: upstream.socket,
        early: NOTHING,
        count: (bytes) => (exchange.received += bytes),
        cut: upstreamCut,
      },
      { signal: exchange.signal, farewell },
    );
  }

  #connecting(): void {
    const { timeouts } = this.#permit.destination;
    this.#exchange.enter('connect', timeouts.connect, this.#context.now());
  }
}

/** Runs `use`; a connection that is then not used is closed. */
export function useOrCut<T>(upstream: UpstreamConnection, use: () => T): T {
  try {
    return use();
  } catch (failure) {
    abortSocket(upstream.socket);
    throw failure;
  }
}

/**
 * Aborts the exchange when its agent's socket ends before whoever looks after it then has begun;
 * returns how to stop that.
 */
export function abortOnDisconnect(socket: Duplex, exchange: Exchange): () => void {
  const onError = (cause: unknown): void => exchange.abort(agentCut(cause));
  const onClose = (): void => {
    if (!socket.readableEnded || !socket.writableFinished) exchange.abort(agentCut(undefined));
  };
  socket.on('error', onError).on('close', onClose);
  return () => socket.off('error', onError).off('close', onClose);
}
