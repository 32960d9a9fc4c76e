/** Connections that were cut because there were too many: counted, and logged once in a while. */
import type { Clock } from '../base/clock.ts';
import type { Logger } from './logger.ts';

export interface Drops {
  /** Since the start, by the words for where they came: `agent a`, `unknown`, `health`. */
  readonly counts: ReadonlyMap<string, number>;
  /** One more. */
  count(where: string): void;
}

/** How often they are logged, in milliseconds. */
const LOG_EVERY = 10_000;

export function drops(clock: Clock, log: () => Logger): Drops {
  const counts = new Map<string, number>();
  let fresh = new Map<string, number>();
  let waiting = false;

  const tell = (): void => {
    waiting = fresh.size > 0;
    if (!waiting) return;
    for (const [where, connections] of fresh) {
      const hint = 'who opens so many? see listeners.maxConnections and the limit of open files';
      log().log('warn', 'listeners', 'connections were cut: there were too many', {
        where,
        connections,
        hint,
      });
    }
    fresh = new Map();
    clock.after(LOG_EVERY, tell);
  };

  return {
    counts,
    count(where) {
      counts.set(where, (counts.get(where) ?? 0) + 1);
      fresh.set(where, (fresh.get(where) ?? 0) + 1);
      if (!waiting) tell();
    },
  };
}
