/**
 * The server's side of HTTP/2, alone, over real sockets: what reaches the handler and what is
 * refused.
 */
import { type AddressInfo, type Socket, createServer } from 'node:net';
import type { Duplex } from 'node:stream';
import { systemClock } from '../../lib/base/clock.ts';
import type { Fault } from '../../lib/base/fault.ts';
import { type HttpLimits, httpLimits } from '../../lib/http/limits.ts';
import type { ServerExchange } from '../../lib/http/server-exchange.ts';
import { type Http2Limits, http2Limits } from '../../lib/http2/limits.ts';
import { serveHttp2 } from '../../lib/http2/server.ts';
import { type RawClient, rawClient } from './raw.ts';

export interface Served extends AsyncDisposable {
  readonly port: number;
  readonly handled: ServerExchange[];
  readonly refused: Fault[];
  readonly draining: AbortController;
  client(): Promise<RawClient>;
}

export interface Given {
  readonly limits?: Partial<HttpLimits>;
  readonly http2?: Partial<Http2Limits>;
  readonly handle?: (x: ServerExchange) => Promise<void>;
  /** What is served in place of the socket. */
  readonly through?: (socket: Socket) => Duplex;
}

export const answer = (x: ServerExchange): Promise<void> =>
  x.respond(
    { status: 200, fields: ['content-type', 'text/plain'], length: undefined },
    Buffer.from('hello'),
  );

export async function served(given: Given = {}): Promise<Served> {
  const handled: ServerExchange[] = [];
  const refused: Fault[] = [];
  const draining = new AbortController();
  const sockets = new Set<() => void>();
  const clients: RawClient[] = [];
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(() => socket.destroy());
    socket.on('error', () => {});
    void serveHttp2(given.through?.(socket) ?? socket, {
      limits: httpLimits(given.limits),
      http2: http2Limits(given.http2),
      clock: systemClock,
      draining: draining.signal,
      scheme: 'http',
      handle: (x) => {
        handled.push(x);
        return (given.handle ?? answer)(x);
      },
      refuse: (fault) => {
        refused.push(fault);
        return { head: { status: fault.http, fields: [], length: 0 }, body: Buffer.alloc(0) };
      },
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    handled,
    refused,
    draining,
    client: async () => {
      const client = await rawClient(port);
      clients.push(client);
      return client;
    },
    [Symbol.asyncDispose]: async () => {
      for (const { socket } of clients) socket.destroy();
      for (const destroy of sockets) destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Reads all of a request's body. */
export async function whole(x: ServerExchange): Promise<number> {
  let bytes = 0;
  for (;;) {
    const piece = x.body.poll();
    if (piece === 'end') return bytes;
    if (piece === 'later') await x.body.ready();
    else bytes += piece.length;
  }
}
