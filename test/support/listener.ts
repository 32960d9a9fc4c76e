/**
 * What the fake upstreams share: a TCP listener on an ephemeral loopback port that knows every
 * socket it accepted, writes down what it received, and is gone when it is disposed: no socket is
 * left.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { until } from './until.ts';

/** Bytes as they came, the first MiB of them, and how many there were in all. */
export interface ByteLog {
  readonly bytes: Buffer;
  readonly total: number;
  readonly text: string;
}

const KEPT = 1_048_576;

export function byteLog(): ByteLog & { add(chunk: Buffer): void } {
  const chunks: Buffer[] = [];
  let total = 0;
  return {
    add(chunk) {
      if (total < KEPT) chunks.push(Buffer.from(chunk.subarray(0, KEPT - total)));
      total += chunk.length;
    },
    get bytes() {
      return Buffer.concat(chunks);
    },
    get total() {
      return total;
    },
    get text() {
      return Buffer.concat(chunks).toString('latin1');
    },
  };
}

/**
 * Notes every chunk as it enters the stream, without making it flow: a handler that does not read
 * still feels back-pressure.
 */
export function note(stream: Duplex, log: { add(chunk: Buffer): void }): void {
  const push = stream.push.bind(stream);
  stream.push = (chunk: Buffer | null, encoding) => {
    if (chunk !== null) log.add(chunk);
    return push(chunk, encoding);
  };
}

export interface Listener extends AsyncDisposable {
  readonly host: string;
  readonly port: number;
  /** `host:port`, as a destination's upstream address. */
  readonly address: string;
  /** Sockets open now. */
  open(): number;
  /** Resolves when no socket is open any more; throws after `within` milliseconds. */
  quiet(within?: number): Promise<void>;
  /** Resets every open socket (RST), as an upstream that dies. */
  reset(): void;
}

export async function listen(
  accept: (socket: Socket) => void,
  host = '127.0.0.1',
): Promise<Listener> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    sockets.add(socket);
    socket.on('error', () => 'a client that resets is part of many tests');
    socket.once('close', () => sockets.delete(socket));
    accept(socket);
  });
  server.listen({ host, port: 0 });
  await once(server, 'listening');
  const address = server.address();
  if (address === null || typeof address === 'string')
    throw new TypeError('a TCP listener has a port');
  const quiet = async (within?: number): Promise<void> => {
    await until(`no socket of ${host}:${address.port} is open`, () => sockets.size === 0, within);
  };
  return {
    host,
    port: address.port,
    address: host.includes(':') ? `[${host}]:${address.port}` : `${host}:${address.port}`,
    open: () => sockets.size,
    quiet,
    reset() {
      for (const socket of sockets) socket.resetAndDestroy();
    },
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
      await quiet();
    },
  };
}
