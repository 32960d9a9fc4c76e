/** The ClientHello that opens the agent's TLS inside a tunnel, read before anything is done about it. */
import type { Duplex } from 'node:stream';
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import type { HandedOver } from '../http1/exchange.ts';
import { readClientHello, type ClientHello } from '../tls/clienthello.ts';

/** How long an agent may take to send its ClientHello, and where it is intercepted to complete the handshake, in milliseconds. */
export const HELLO_TIMEOUT = 10_000;

/** The bytes up to and with a ClientHello that names `host`, the one of the CONNECT; throws a Fault for anything else. The socket is left paused. */
export async function clientHello({ socket, early }: HandedOver, host: string, signal: AbortSignal): Promise<Buffer> {
  let bytes = early;
  let hello = readClientHello(bytes);
  while (hello === 'more') {
    bytes = Buffer.concat([bytes, await nextBytes(socket, signal)]);
    hello = readClientHello(bytes);
  }
  const objection = objectTo(hello, host);
  if (objection === undefined) return bytes;
  throw new Fault('denied', `the TLS inside the tunnel to ${host} ${objection.problem}`, { hint: objection.hint });
}

interface Objection {
  readonly problem: string;
  readonly hint: string;
}

function objectTo({ serverName, ech }: ClientHello, host: string): Objection | undefined {
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
