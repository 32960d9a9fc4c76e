/**
 * The ClientHello that opens the agent's TLS inside a tunnel, read before anything is done about
 * it.
 */
import type { Duplex } from 'node:stream';
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import type { HandedOver } from '../http/server-exchange.ts';
import { PREFACE } from '../http1/request-head.ts';
import { type ClientHello, readClientHello } from '../interception/client-hello.ts';

/**
 * Milliseconds that an agent may take to send its ClientHello, and where it is intercepted to
 * complete the handshake, in milliseconds.
 */
export const HELLO_TIMEOUT = 10_000;

/** Protocols inside TLS that ends here, in order of preference (RFC 7301). */
export const ALPN: readonly string[] = Object.freeze(['h2', 'http/1.1']);

export interface HelloPolicy {
  /** The host of the CONNECT, which the ClientHello must name. */
  readonly host: string;
  /**
   * True if it may carry an encrypted one beside it (RFC 9849): harmless where our side ends the
   * TLS.
   */
  readonly ech: 'pass' | 'deny';
  readonly signal: AbortSignal;
}

/**
 * The bytes up to and with a ClientHello as it must be; throws a Fault for anything else. The
 * socket is left paused.
 */
export async function clientHello(
  { socket, early }: HandedOver,
  { host, ech, signal }: HelloPolicy,
): Promise<Buffer> {
  let bytes = early;
  let hello = readClientHello(bytes);
  while (hello === 'more') {
    bytes = Buffer.concat([bytes, await nextBytes(socket, signal)]);
    hello = readClientHello(bytes);
  }
  const objection = objectTo(hello, host, ech === 'pass');
  if (objection === undefined) return bytes;
  throw new Fault('denied', `the TLS inside the tunnel to ${host} ${objection.problem}`, {
    hint: objection.hint,
  });
}

interface Objection {
  readonly problem: string;
  readonly hint: string;
}

function objectTo(
  { serverName, ech, old }: ClientHello,
  host: string,
  passes: boolean,
): Objection | undefined {
  if (ech && !passes)
    return {
      problem: 'may hide the name it asks for (encrypted ClientHello)',
      hint: 'turn ECH off in the client',
    };
  if (old === true)
    return { problem: 'offers nothing newer than TLS 1.1', hint: 'use TLS 1.2 or later' };
  if (serverName === undefined)
    return { problem: 'names no server (SNI)', hint: 'use a client that sends SNI' };
  if (serverName === host) return undefined;
  return { problem: `asks for ${serverName}`, hint: 'SNI must be the host of the CONNECT request' };
}

/** Record type of a handshake (RFC 8446 section 5.1). */
const HANDSHAKE = 0x16;

/** The first bytes of the agent inside its tunnel. */
export interface Beginning {
  readonly kind: 'tls' | 'http1' | 'http2';
  /** All that was read. */
  readonly early: Buffer;
}

/**
 * Tells TLS from HTTP by the first bytes, and HTTP/2 by its whole preface (RFC 9113 section 3.4).
 * The socket is left paused.
 */
export async function beginning(
  { socket, early }: HandedOver,
  signal: AbortSignal,
): Promise<Beginning> {
  let bytes = early;
  for (;;) {
    if (bytes[0] === HANDSHAKE) return { kind: 'tls', early: bytes };
    const same = PREFACE.subarray(0, bytes.length).equals(bytes.subarray(0, PREFACE.length));
    if (same && bytes.length >= PREFACE.length) return { kind: 'http2', early: bytes };
    if (!same) return { kind: 'http1', early: bytes };
    bytes = Buffer.concat([bytes, await nextBytes(socket, signal)]);
  }
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
      reject(new Fault('malformed', 'the tunnel ended before it said what is in it'))
    );
    const off = onAbort(signal, (reason) => {
      socket.off('data', onData).off('end', onEnd);
      reject(reason);
    });
    socket.on('data', onData).on('end', onEnd);
    socket.resume();
  });
}
