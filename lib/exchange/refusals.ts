/**
 * Refusals that come too often to be recorded one by one: over the rate of an agent they are
 * counted by their codes, and what was counted becomes one record, so that nobody fills the sink of
 * all with what was not allowed.
 */
import type { RefusalsRecord } from '../audit/record.ts';
import type { Clock } from '../base/clock.ts';
import type { Rate } from '../policy/model/rule.ts';
import type { Share } from './shares.ts';

export interface Refusals {
  /** True if this refusal has records of its own; otherwise it has been counted. */
  recorded(share: Share, code: string): boolean;
  /** Writes what was counted. */
  flush(): void;
}

export interface RefusalsOptions {
  readonly clock: Clock;
  /** Of each agent, and of what is nobody's; undefined: all have records of their own. */
  readonly rate: Rate | undefined;
  readonly write: (record: RefusalsRecord) => void;
}

/** Milliseconds that refusals are counted before they are written; a kill loses as much. */
const COUNT_MS = 10_000;

interface Counted {
  /** Records that may be written at once. */
  left: number;
  /** Monotonic milliseconds. */
  at: number;
  /** Wall clock of the first that was counted. */
  since: number;
  codes: Map<string, number>;
}

export function refusals({ clock, rate, write }: RefusalsOptions): Refusals {
  const shares = new Map<Share, Counted>();
  let cancel: (() => void) | undefined;

  const flush = (): void => {
    cancel?.();
    cancel = undefined;
    const now = new Date(clock.now()).toISOString();
    for (const [{ agent }, counted] of shares) {
      if (counted.codes.size === 0) continue;
      const codes = Object.fromEntries(counted.codes);
      const count = [...counted.codes.values()].reduce((sum, number) => sum + number, 0);
      counted.codes = new Map();
      const since = new Date(counted.since).toISOString();
      write({
        kind: 'refusals',
        time: now,
        ...(agent && { agent: agent.name }),
        since,
        count,
        codes,
      });
    }
  };

  return {
    flush,
    recorded(share, code) {
      if (rate === undefined) return true;
      const now = clock.monotonic();
      let counted = shares.get(share);
      if (counted === undefined)
        shares.set(share, (counted = { left: rate.burst, at: now, since: 0, codes: new Map() }));
      counted.left = Math.min(
        rate.burst,
        counted.left + ((now - counted.at) * rate.count) / rate.per,
      );
      counted.at = now;
      if (counted.left >= 1) {
        counted.left -= 1;
        return true;
      }
      if (counted.codes.size === 0) counted.since = clock.now();
      counted.codes.set(code, (counted.codes.get(code) ?? 0) + 1);
      cancel ??= clock.after(COUNT_MS, flush);
      return false;
    },
  };
}
