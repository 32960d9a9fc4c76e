/**
 * Rates at which a destination may be asked: one token bucket for each key, in memory, on the
 * monotonic clock. A bucket that is full again is the same as none, so only keys that are in use
 * are remembered. The key is the caller's words for what is asked: a destination, one of its rules
 * or of its tools.
 */
import { Fault } from '../base/fault.ts';
import type { Rate } from '../policy/model/rule.ts';

/** Keys in use at one time; one more is refused, since nobody could count it. */
export const MAX_KEYS = 4096;

export interface Rates {
  /**
   * Takes one of what the rate allows at `now` (monotonic milliseconds). Throws a Fault `too-many`
   * that says when to try again.
   */
  take(key: string, rate: Rate, now: number): void;
}

interface Bucket {
  /** Tokens that it held at `at`; it fills up to `burst` by itself. */
  left: number;
  at: number;
  /** Time at which it is full again, by the rate that it was last taken from. */
  full: number;
}

export function rates(): Rates {
  const buckets = new Map<string, Bucket>();
  const forget = (now: number): void => {
    for (const [key, { full }] of buckets) if (full <= now) buckets.delete(key);
  };
  return {
    take(key, rate, now) {
      const { count, per, burst } = rate;
      let bucket = buckets.get(key);
      if (bucket === undefined) {
        if (buckets.size >= MAX_KEYS) forget(now);
        if (buckets.size >= MAX_KEYS) throw tooMany(key, rate, 1);
        buckets.set(key, (bucket = { left: burst, at: now, full: now }));
      }
      const left = Math.min(burst, bucket.left + ((now - bucket.at) * count) / per);
      bucket.at = now;
      bucket.left = left;
      if (left < 1)
        throw tooMany(key, rate, Math.ceil(Math.round(((1 - left) * per) / count) / 1000));
      bucket.left -= 1;
      bucket.full = now + ((burst - bucket.left) * per) / count;
    },
  };
}

function tooMany(key: string, { text }: Rate, retryAfter: number): Fault {
  return new Fault('too-many', `${key} is asked more often than ${text}`, {
    hint: `try again in ${retryAfter} s, or raise limits.rate there`,
    retryAfter,
  });
}
