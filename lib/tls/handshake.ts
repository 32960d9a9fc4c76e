/**
 * The server's side of a handshake, waited for: it is done, or the socket is gone and there is one
 * reason why.
 */
import type { Duplex } from 'node:stream';
import type { TLSSocket } from 'node:tls';
import { onAbort, reasonOf } from '../base/signal.ts';

export interface Awaited {
  /** Makes the TLS socket; called unless the signal has aborted. */
  readonly start: () => TLSSocket;
  /** Aborts with the reason to reject with. */
  readonly signal: AbortSignal;
  /** What is wrong with a handshake that is complete; undefined for nothing. */
  readonly objection?: (socket: TLSSocket) => Error | undefined;
  /** What to reject with. */
  readonly fault: (failure: unknown) => Error;
}

/** Owns the raw socket from here: on failure it is destroyed. */
export function handshaken(
  raw: Duplex,
  { start, signal, objection, fault }: Awaited,
): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) throw reasonOf(signal);
    const socket = start();
    raw.on('error', () => {});
    socket.on('error', () => {});
    const settle = (): void => {
      off();
      socket.off('error', fail);
      socket.off('close', closed);
      socket.off('end', closed);
    };
    const fail = (failure: unknown): void => {
      settle();
      socket.destroy();
      raw.destroy();
      reject(fault(failure));
    };
    const closed = (): void => fail(new Error('the connection closed'));
    const off = onAbort(signal, fail);
    socket.once('error', fail);
    socket.once('close', closed);
    // A half-open socket does not close by itself when the other side ends its own.
    socket.once('end', closed);
    socket.once('secure', () => {
      const wrong = objection?.(socket);
      if (wrong !== undefined) return fail(wrong);
      settle();
      resolve(socket);
    });
  });
}
