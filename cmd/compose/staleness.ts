/**
 * What follows while the newest configuration is not the one in force. It is tried again, sooner
 * first and later less often: what was in its way (descriptors that had run out, a file that was
 * away, a port that was taken) may pass without a change of any file. Past a bound the sidecar is
 * not ready: whoever took something away by a document relies on its being read.
 */
import type { Readiness } from '../../lib/telemetry/readiness.ts';
import { backoff } from '../../lib/base/backoff.ts';
import type { Clock } from '../../lib/base/clock.ts';

export interface Staleness {
  /** A load has failed, and why. */
  failed(why: string): void;
  /** The newest configuration is in force. */
  current(): void;
  /** Seconds since the first load that failed; 0 while the newest is in force. */
  seconds(): number;
  /** Nothing is tried any more. */
  end(): void;
}

export interface StalenessOptions {
  readonly clock: Clock;
  readonly readiness: Readiness;
  /** Milliseconds. */
  readonly most: number;
  readonly again: () => void;
}

/** How soon a load that failed is tried again, and how often at the least. */
const RETRY = Object.freeze({ baseMs: 1000, capMs: 30_000 });

export function staleness({ clock, readiness, most, again }: StalenessOptions): Staleness {
  const ready = readiness.pending('policy', '');
  ready.done();
  const delay = backoff(RETRY);
  let since: number | undefined;
  let why = '';
  let [notLate, notAgain] = [(): void => {}, (): void => {}];
  const end = (): void => {
    notLate();
    notAgain();
    since = undefined;
  };
  return {
    failed(reason) {
      why = reason.split('\n', 1)[0] ?? '';
      notAgain();
      notAgain = clock.after(delay.next(), again);
      if (since !== undefined) return;
      since = clock.monotonic();
      notLate = clock.after(most, () =>
        ready.undone(`the newest configuration is not in force: ${why}`),
      );
    },
    current() {
      end();
      delay.reset();
      ready.done();
    },
    seconds: () => (since === undefined ? 0 : Math.floor((clock.monotonic() - since) / 1000)),
    end,
  };
}
