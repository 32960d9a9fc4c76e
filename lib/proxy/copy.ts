/**
 * Raw bytes both ways between two sockets. Rules:
 * - what one side does not take stops the other from being read: nothing is queued beyond the sockets' own buffers;
 * - the end of one direction is passed on and the other direction goes on (RFC 9293 section 3.6);
 * - everything else that ends a side, and an abort, cuts both by a reset, so that a cut never looks like an end.
 */
import type { Duplex } from 'node:stream';
import type { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import { release, resetSocket } from '../http1/sockets.ts';

export interface Side {
  readonly socket: Duplex;
  /** Bytes that were read from this side already. */
  readonly early: Buffer;
  /** Told of bytes from this side as they are handed to the other. */
  readonly count: (bytes: number) => void;
  /** What it means when this side is cut. */
  readonly cut: (cause: unknown) => Fault;
}

/** Settles when both directions have ended; rejects with the Fault that cut them. Both sockets are closed either way. */
export async function copyBothWays(near: Side, far: Side, signal: AbortSignal): Promise<void> {
  let stop: (fault: Fault) => void = () => {};
  const stopped = new Promise<never>((_, reject) => (stop = reject));
  const off = onAbort(signal, stop);
  try {
    const both = Promise.all([copyOneWay(near, far), copyOneWay(far, near)]);
    await Promise.race([both, stopped]);
  } catch (failure) {
    cut(near.socket);
    cut(far.socket);
    throw failure;
  } finally {
    off();
  }
  near.socket.destroy();
  far.socket.destroy();
}

function copyOneWay(from: Side, to: Side): Promise<void> {
  return new Promise((resolve, reject) => {
    const { socket } = from;
    let ended = false;
    const pass = (chunk: Buffer): void => {
      from.count(chunk.length);
      if (!to.socket.write(chunk)) socket.pause();
    };
    socket.on('data', (chunk: Buffer) => {
      from.count(chunk.length);
      const sent = (failure?: Error | null): void => {
        if (failure === undefined || failure === null) release(chunk, socket);
      };
      if (!to.socket.write(chunk, sent)) socket.pause();
    });
    to.socket.on('drain', () => socket.resume());
    socket.on('end', () => {
      ended = true;
      to.socket.end(() => resolve());
    });
    socket.on('error', (error) => reject(from.cut(error)));
    socket.on('close', () => {
      // After its end a side may close whenever it likes; what it still had to take is lost if the other direction has not ended.
      if (!ended || !socket.writableFinished) reject(from.cut(undefined));
    });
    if (socket.destroyed) reject(from.cut(undefined));
    if (from.early.length > 0) pass(from.early);
    if (!to.socket.writableNeedDrain) socket.resume();
    if (socket.readableEnded && !ended) to.socket.end(() => resolve());
  });
}

/** Ends a socket so that the other side sees a cut: a TCP reset where there is TCP, no close_notify where there is TLS. */
export function cut(socket: Duplex): void {
  // The error a reset may still cause has nobody to tell.
  socket.on('error', () => {});
  if (!socket.destroyed) resetSocket(socket);
}
