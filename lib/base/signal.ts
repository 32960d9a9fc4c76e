/**
 * Revocation travels down as an AbortSignal whose reason is a Fault. `AbortSignal.any` over a
 * long-lived signal keeps memory for every call, so signals are linked here by listeners that are
 * taken off again.
 */
import { Fault } from './fault.ts';

export interface Linked extends Disposable {
  readonly signal: AbortSignal;
  /** Abort this link alone, not its parents. */
  abort(reason: Fault): void;
}

/**
 * A signal that aborts with the first of its parents and with the same reason; disposing it takes
 * all listeners off.
 */
export function link(...parents: readonly AbortSignal[]): Linked {
  const controller = new AbortController();
  const unlink: (() => void)[] = [];
  for (const parent of parents) {
    if (parent.aborted) {
      controller.abort(parent.reason);
      break;
    }
    const listener = (): void => controller.abort(parent.reason);
    parent.addEventListener('abort', listener, { once: true });
    unlink.push(() => parent.removeEventListener('abort', listener));
  }
  return {
    signal: controller.signal,
    abort: (reason) => controller.abort(reason),
    [Symbol.dispose]: () => {
      for (const off of unlink) off();
    },
  };
}

/**
 * Calls `act` once with the reason when the signal aborts, at once if it has already; returns how
 * to take it off.
 */
export function onAbort(signal: AbortSignal, act: (reason: Fault) => void): () => void {
  const run = (): void => act(reasonOf(signal));
  if (signal.aborted) {
    run();
    return () => {};
  }
  signal.addEventListener('abort', run, { once: true });
  return () => signal.removeEventListener('abort', run);
}

/** Why the signal aborted, always as a Fault. */
export function reasonOf(signal: AbortSignal): Fault {
  return Fault.from(signal.reason, 'aborted');
}

/** For a promise whose failure is handled elsewhere or does not matter; `why` is for the reader. */
export function ignore(promise: Promise<unknown>, why: string): void {
  promise.catch(() => why);
}
