/**
 * The live set: every exchange, tunnel and raw connection from before it is decided until it has
 * ended. Whoever takes away what an exchange lives on (policy, identity, shutdown, time) finds it
 * here, so that no revocation can fall between a decision and its use.
 */
import type { Clock } from '../base/clock.ts';
import type { Exchange } from './exchange.ts';

/** Milliseconds between two looks at deadlines: a timeout may be noticed so late. */
const TICK = 100;

export interface LiveSet {
  readonly size: number;
  enter(exchange: Exchange): void;
  leave(exchange: Exchange): void;
  /** The members of this moment. */
  all(): readonly Exchange[];
  /** Settles when the set is empty. */
  empty(): Promise<void>;
}

export function liveSet(clock: Clock): LiveSet {
  // Not a Set: one that comes and goes with each request leaves old tables behind, whose entries
  // the young generation's collector has to keep.
  const members: Exchange[] = [];
  let waiting: (() => void)[] = [];
  let ticking = false;

  const tick = (): void => {
    const now = clock.monotonic();
    for (const exchange of members.slice()) {
      const fault = exchange.overdue(now);
      if (fault !== undefined) exchange.abort(fault);
    }
    ticking = members.length > 0;
    if (ticking) clock.after(TICK, tick);
  };

  return {
    get size() {
      return members.length;
    },
    enter(exchange) {
      exchange.index = members.push(exchange) - 1;
      if (ticking) return;
      ticking = true;
      clock.after(TICK, tick);
    },
    leave(exchange) {
      remove(members, exchange);
      if (members.length > 0 || waiting.length === 0) return;
      const settled = waiting;
      waiting = [];
      for (const resolve of settled) resolve();
    },
    all: () => members.slice(),
    empty: () =>
      members.length === 0 ? Promise.resolve() : new Promise((resolve) => waiting.push(resolve)),
  };
}

/** Moves the last member to the index that becomes free. */
function remove(members: Exchange[], exchange: Exchange): void {
  const { index } = exchange;
  if (index === undefined) return;
  exchange.index = undefined;
  const last = members.pop();
  if (last === undefined || last === exchange) return;
  members[index] = last;
  last.index = index;
}
