/**
 * One endless stream out of many attempts, for every kind of stream. It ends only by our own signal or by a status that asking again cannot change; a
 * server that closes, restarts or cancels is asked again after a back-off with full jitter, which starts over only after a message that was good.
 */
import { backoff } from '../base/backoff.ts';
import { sleep } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { LIMITS } from './limits.ts';
import { endFault, isFinal, withdraws } from './status.ts';

export type WatchEvent<T> =
  | { readonly kind: 'update'; readonly value: T }
  /** A message was not usable as a whole; what was supplied before stands. */
  | { readonly kind: 'discarded'; readonly fault: Fault }
  /** The stream ended. `final`: nobody asks again. `withdrawn`: what it supplied may not be used any more. */
  | { readonly kind: 'lost'; readonly fault: Fault; readonly final: boolean; readonly withdrawn: boolean };

export interface WatchOptions<M, T> {
  /** For messages: what the stream supplies. */
  readonly what: string;
  /** One attempt. */
  readonly open: (signal: AbortSignal) => AsyncIterable<M>;
  /** Judges one message; a Fault discards it. */
  readonly read: (message: M) => Promise<T>;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Uniform in [0, 1); for the jitter. */
  readonly random?: () => number;
}

async function* attempt<M, T>({ open, read, signal }: WatchOptions<M, T>): AsyncGenerator<WatchEvent<T>> {
  for await (const message of open(signal)) {
    try {
      yield { kind: 'update', value: await read(message) };
    } catch (failure) {
      if (!(failure instanceof Fault)) throw failure;
      yield { kind: 'discarded', fault: failure };
    }
  }
}

/** Yields what happens until the signal aborts, and then ends without an error. */
export async function* watch<M, T>(options: WatchOptions<M, T>): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const { what, clock, signal, random } = options;
  const jitter = random === undefined ? {} : { random };
  const away = backoff({ ...LIMITS.away, ...jitter });
  const denied = backoff({ ...LIMITS.denied, ...jitter });
  while (!signal.aborted) {
    let fault = endFault(what);
    try {
      for await (const event of attempt(options)) {
        if (event.kind === 'update') {
          away.reset();
          denied.reset();
        }
        yield event;
      }
    } catch (failure) {
      fault = Fault.from(failure, 'internal');
    }
    if (signal.aborted) return;
    const [final, withdrawn] = [isFinal(fault), withdraws(fault)];
    yield { kind: 'lost', fault, final, withdrawn };
    if (final) return;
    await pause(clock, (withdrawn ? denied : away).next(), signal);
  }
}

/** Waits, or returns at once when the signal aborts, which the loop then sees. */
async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(clock, ms, signal);
  } catch (failure) {
    if (!signal.aborted) throw failure;
  }
}
