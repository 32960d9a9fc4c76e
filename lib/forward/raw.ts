/** A connection to the listener of a tcp destination. */
import type { Socket } from 'node:net';
import type { InboundConnection } from '../exchange/agent-connection.ts';
import type { Permit } from '../exchange/authorize.ts';
import { describeRaw } from '../exchange/describe.ts';
import { Exchange } from '../exchange/exchange.ts';
import type { Described } from '../exchange/described.ts';
import type { InboundExchange } from '../exchange/inbound.ts';
import { abortSocket } from '../http1/sockets.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { ForwardContext } from './context.ts';
import { NOTHING, RawRelay, abortOnDisconnect } from './raw-relay.ts';

/** Raw bytes, of which nothing is known but where they go. */
export interface DescribedRaw extends Described {
  readonly kind: 'raw';
}

export interface RawConnection extends InboundConnection {
  readonly destination: Destination;
}

export class RawInbound implements InboundExchange<DescribedRaw> {
  readonly exchange: Exchange;
  readonly connection: RawConnection;
  readonly #socket: Socket;
  readonly #context: ForwardContext;

  constructor(socket: Socket, connection: RawConnection, context: ForwardContext) {
    const transport = { bytesRead: 0, bytesWritten: 0 };
    this.exchange = new Exchange('listener', transport, context.now());
    this.connection = connection;
    this.#socket = socket;
    this.#context = context;
    abortOnDisconnect(socket, this.exchange);
  }

  /** Raw bytes name no task: their socket may. */
  credentials(): undefined {}

  describe(time: number): DescribedRaw {
    return { kind: 'raw', facts: describeRaw(this.connection.destination, time) };
  }

  async forward(_: DescribedRaw, permit: Permit): Promise<void> {
    const relay = new RawRelay(this.exchange, permit, this.#context);
    const upstream = await relay.connect(await relay.resolve());
    await relay.copy({ socket: this.#socket, early: NOTHING }, upstream);
  }

  reject(): Promise<void> {
    abortSocket(this.#socket);
    return Promise.resolve();
  }
}
