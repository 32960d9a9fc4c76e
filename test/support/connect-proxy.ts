/**
 * Somebody else's HTTP proxy, small and real: CONNECT leads to one port of this machine whatever
 * was asked for, or the test says what is answered.
 */
import { connect, type Socket } from 'node:net';
import { createSecureContext, TLSSocket } from 'node:tls';
import type { TestSvid } from './authority.ts';
import { listen, type Listener } from './listener.ts';

export interface ConnectProxy extends Listener {
  /** Heads that were sent to it, in order, without their last empty line. */
  readonly heads: readonly string[];
  /** Bytes that came through its tunnels from the client. */
  carried(): number;
}

export interface ConnectProxyOptions {
  /** Port on 127.0.0.1 behind it. */
  readonly to?: number;
  /** Says what it answers instead, once a head is complete; owns the socket then. */
  readonly answer?: (socket: Socket, head: string) => void;
  /** TLS to the proxy itself. */
  readonly tls?: TestSvid;
}

export async function connectProxy({
  to = 0,
  answer,
  tls,
}: ConnectProxyOptions): Promise<ConnectProxy> {
  const heads: string[] = [];
  let carried = 0;
  const listener = await listen((raw) => {
    const socket = tls === undefined ? raw : secured(raw, tls);
    socket.on('error', () => {});
    let text = '';
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end < 0) return;
      socket.off('data', onData);
      const head = text.slice(0, end);
      heads.push(head);
      if (answer !== undefined) return answer(socket, head);
      const upstream = connect({ host: '127.0.0.1', port: to, allowHalfOpen: true });
      upstream.on('error', () => socket.destroy());
      socket.on('close', () => upstream.destroy());
      upstream.once('connect', () => {
        socket.write('HTTP/1.1 200 Connection established\r\nVia: 1.1 corporate\r\n\r\n');
        socket.on('data', (bytes: Buffer) => (carried += bytes.length));
        socket.pipe(upstream).pipe(socket);
      });
    };
    socket.on('data', onData);
  });
  return { ...listener, heads, carried: () => carried };
}

function secured(raw: Socket, svid: TestSvid): TLSSocket {
  const secureContext = createSecureContext({
    cert: svid.certificatesPem,
    key: svid.privateKeyPem,
  });
  return new TLSSocket(raw, { isServer: true, secureContext });
}
