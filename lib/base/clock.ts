/**
 * Time is handed in, so that tests control it. Timers live in this file alone: they are unref'd, and a delay past what the engine's
 * timers hold (2^31-1 ms, beyond which they fire at once) is waited for in turns.
 */
import { reasonOf } from './signal.ts';

export interface Clock {
  /** Wall clock, milliseconds since the epoch: certificates and records. */
  now(): number;
  /** Monotonic milliseconds: durations and deadlines. */
  monotonic(): number;
  /** Calls `act` after `ms`; the returned function cancels. */
  after(ms: number, act: () => void): () => void;
}

const LONGEST = 0x7fffffff;

function after(ms: number, act: () => void): () => void {
  let timer: NodeJS.Timeout;
  const arm = (left: number): void => {
    const turn = Math.min(Math.max(left, 0), LONGEST);
    timer = setTimeout(() => (left > turn ? arm(left - turn) : act()), turn);
    timer.unref();
  };
  arm(ms);
  return () => clearTimeout(timer);
}

export const systemClock: Clock = Object.freeze({
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after,
});

/** Waits `ms`; rejects with the signal's reason when it aborts first. */
export function sleep(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted) {
      reject(reasonOf(signal));
      return;
    }
    const stop = (): void => {
      cancel();
      reject(reasonOf(signal));
    };
    const cancel = clock.after(ms, () => {
      signal.removeEventListener('abort', stop);
      resolve();
    });
    signal.addEventListener('abort', stop, { once: true });
  });
}
