/**
 * Going over many things in turns of the event loop. What is to be gone over anew while a round is
 * under way is gone over once, and what that round has not reached yet comes before what it has:
 * however often rounds begin, everything is reached.
 */
import { ignore } from './signal.ts';
import type { Turns } from './turns.ts';

export interface Round<T> {
  /** Something is still to be reached. */
  readonly underWay: boolean;
  /** `urgent` ones first, and then all; as many in this turn as there is room for. */
  begin(urgent: readonly T[], all: readonly T[]): void;
}

/** Milliseconds after which visits are counted. */
const BUNCH_MS = 1;

/** `visit` must not throw. */
export function rounds<T>(turns: Turns, visit: (one: T) => void): Round<T> {
  let queue: readonly T[] = [];
  let next = 0;
  let going = false;
  // Visits that are too short to count are counted together, and a large round has many of them.
  const some = (): void => {
    const until = performance.now() + BUNCH_MS;
    do {
      const one = queue[next++];
      if (one !== undefined) visit(one);
    } while (next < queue.length && !turns.full && performance.now() < until);
  };
  const go = async (): Promise<void> => {
    going = true;
    try {
      while (next < queue.length) {
        if (turns.full) await turns.room();
        else turns.counted(some);
      }
    } finally {
      going = false;
      queue = [];
      next = 0;
    }
  };
  return {
    get underWay() {
      return going;
    },
    begin(urgent, all) {
      queue = [...new Set([...urgent, ...queue.slice(next), ...all])];
      next = 0;
      if (!going) ignore(go(), 'a visit throws nothing');
    },
  };
}
