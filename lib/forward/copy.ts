/**
 * Raw bytes both ways between two sockets. Rules:
 * - what one side does not take stops the other from being read: nothing is queued beyond the
 *   sockets' own buffers;
 * - the end of one direction is passed on and the other direction goes on (RFC 9293 section 3.6);
 * - everything else that ends a side, and an abort, cuts both by a reset, so that a cut never looks
 *   like an end. The upstream is cut at once; the agent when it has been handed what the upstream
 *   said before, and what ends the exchange where its protocol has words for that.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import type { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import { abortSocket, keepReadable, release } from '../http1/sockets.ts';

export interface Side {
  readonly socket: Duplex;
  /** Bytes that were read from this side already. */
  readonly early: Buffer;
  /** Told of bytes from this side as they are handed to the other. */
  readonly count: (bytes: number) => void;
  /** The Fault of a cut on this side. */
  readonly cut: (cause: unknown) => Fault;
  /** Bytes for the other side in place of bytes of this one; by default the same. */
  readonly pass?: (chunk: Buffer) => readonly Buffer[];
}

/** The end of a connection as the agent sees it. */
export interface Farewell {
  readonly clock: Clock;
  /** Milliseconds that bytes on their way to the agent may take. */
  readonly ms: number;
  /** The last bytes to the agent, behind which its connection ends in order. */
  readonly words?: (reason: Fault) => Buffer | undefined;
}

export interface Copying {
  /** Aborts the copying. */
  readonly signal: AbortSignal;
  readonly farewell: Farewell;
}

/**
 * Settles when both directions have ended; rejects with the Fault that cut them. Both sockets are
 * closed either way. `near` is the agent's.
 */
export async function copyBothWays(
  near: Side,
  far: Side,
  { signal, farewell }: Copying,
): Promise<void> {
  let stop: (fault: Fault) => void = () => {};
  const stopped = new Promise<never>((_, reject) => (stop = reject));
  const off = onAbort(signal, stop);
  // An upstream that takes no more may have said something before; its end is then no orderly one.
  let unsent: Error | undefined;
  keepReadable(far.socket, (cause) => {
    unsent ??= cause;
    near.socket.pause();
  });
  try {
    const broken = (): Fault | undefined => (unsent === undefined ? undefined : far.cut(unsent));
    const both = Promise.all([copyOneWay(near, far), copyOneWay(far, near, broken)]);
    await Promise.race([both, stopped]);
  } catch (failure) {
    // Still in the turn of the abort: not one byte more reaches the upstream.
    abortSocket(far.socket);
    await part(near.socket, failure as Fault, farewell);
    throw failure;
  } finally {
    off();
  }
  near.socket.destroy();
  far.socket.destroy();
}

const NOTHING = Buffer.alloc(0);

/**
 * Lets go what is on its way to the agent, says the last words, and cuts its connection; settles
 * when it is closed or cut.
 */
async function part(socket: Duplex, reason: Fault, { clock, ms, words }: Farewell): Promise<void> {
  if (reason.code === 'client-gone' || socket.destroyed || socket.writableEnded) {
    abortSocket(socket);
    return;
  }
  socket.removeAllListeners('data');
  socket.on('error', () => {});
  socket.resume();
  const last = words?.(reason);
  if (last !== undefined) socket.end(last);
  const { promise, resolve } = Promise.withResolvers<void>();
  const cancel = clock.after(ms, resolve);
  socket.once('close', resolve);
  if (last === undefined) socket.write(NOTHING, () => resolve());
  await promise;
  cancel();
  abortSocket(socket);
}

/** `broken` says why the end of `from` is no orderly one. */
function copyOneWay(from: Side, to: Side, broken?: () => Fault | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const { socket } = from;
    let ended = false;
    const pass = (chunk: Buffer): void => {
      from.count(chunk.length);
      let more = true;
      for (const piece of from.pass?.(chunk) ?? [chunk]) more = to.socket.write(piece);
      if (!more) socket.pause();
    };
    const passAndRelease = (chunk: Buffer): void => {
      from.count(chunk.length);
      const sent = (failure?: Error | null): void => {
        if (failure === undefined || failure === null) release(chunk, socket);
      };
      if (!to.socket.write(chunk, sent)) socket.pause();
    };
    socket.on('data', from.pass === undefined ? passAndRelease : pass);
    to.socket.on('drain', () => socket.resume());
    socket.on('end', () => {
      const fault = broken?.();
      if (fault !== undefined) {
        reject(fault);
        return;
      }
      ended = true;
      to.socket.end(() => resolve());
    });
    socket.on('error', (error) => reject(from.cut(error)));
    socket.on('close', () => {
      // After its end a side may close whenever it likes; what it still had to take is lost if the
      // other direction has not ended.
      if (!ended || !socket.writableFinished) reject(from.cut(undefined));
    });
    if (socket.destroyed) reject(from.cut(undefined));
    if (from.early.length > 0) pass(from.early);
    if (!to.socket.writableNeedDrain) socket.resume();
    if (socket.readableEnded && !ended) to.socket.end(() => resolve());
  });
}
