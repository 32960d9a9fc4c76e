/** Writing to a descriptor without holding the event loop. */
import { write, writeSync } from 'node:fs';
import { type Clock, sleep } from '../../base/clock.ts';

/** Writes from an offset on, what there is room for; how many bytes that were. */
export type Writer = (bytes: Buffer, from: number) => Promise<number>;

/** By a thread: for a regular file, whose writes wait for the disk. */
export function threadWriter(descriptor: number): Writer {
  return (bytes, from) =>
    new Promise((resolve, reject) => {
      write(descriptor, bytes, from, bytes.length - from, null, (error, count) => {
        if (error !== null) reject(error);
        else resolve(count);
      });
    });
}

const RETRY_MS = 2;
const MAX_RETRY_MS = 50;

/**
 * For a descriptor whose writes never wait: while it takes nothing, it is tried again, ever less
 * often.
 */
export function nonBlockingWriter(descriptor: number, clock: Clock, closed: AbortSignal): Writer {
  return async (bytes, from) => {
    for (let pause = RETRY_MS; ; pause = Math.min(2 * pause, MAX_RETRY_MS)) {
      try {
        return writeSync(descriptor, bytes, from);
      } catch (error) {
        if (!isFull(error)) throw error;
        await sleep(clock, pause, closed);
      }
    }
  };
}

function isFull(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EAGAIN';
}
