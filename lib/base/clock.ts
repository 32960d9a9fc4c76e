/**
 * Time is handed in, so that tests control it. Timers live in this file alone: they do not keep the
 * process alive unless asked to, and a delay past what the engine's timers hold (2^31-1 ms, beyond
 * which they fire at once) is waited for in turns.
 */
import { reasonOf } from './signal.ts';

export interface Clock {
  /** Wall clock, milliseconds since the epoch: certificates and records. */
  now(): number;
  /** Monotonic milliseconds: durations and deadlines. */
  monotonic(): number;
  /**
   * Calls `act` after `ms`; the returned function cancels. `hold` keeps the process alive until
   * then.
   */
  after(ms: number, act: () => void, hold?: boolean): () => void;
}

const LONGEST = 0x7fffffff;

function after(ms: number, act: () => void, hold = false): () => void {
  let timer: NodeJS.Timeout;
  const arm = (left: number): void => {
    const turn = Math.min(Math.max(left, 0), LONGEST);
    timer = setTimeout(() => (left > turn ? arm(left - turn) : act()), turn);
    if (!hold) timer.unref();
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
    const done = (): void => {
      signal.removeEventListener('abort', stop);
      resolve();
    };
    const cancel = clock.after(ms, done, true);
    signal.addEventListener('abort', stop, { once: true });
  });
}
