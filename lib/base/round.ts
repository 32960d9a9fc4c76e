/**
 * Going over many things in turns of the event loop. What is to be gone over anew while a round is
 * under way is gone over once, and what that round has not reached yet comes before what it has: however
 * often rounds begin, everything is reached.
 */
import { ignore } from './signal.ts';
import type { Turns } from './turns.ts';

export interface Round<T> {
  /** Something is still to be reached. */
  readonly underWay: boolean;
  /** `urgent` ones first, and then all; as many in this turn as there is room for. */
  begin(urgent: readonly T[], all: readonly T[]): void;
}

/** `visit` must not throw. */
export function rounds<T>(turns: Turns, visit: (one: T) => void): Round<T> {
  let queue: readonly T[] = [];
  let next = 0;
  let going = false;
  const step = (one: T | undefined): void => {
    if (one === undefined) return;
    turns.counted(() => visit(one));
  };
  const go = async (): Promise<void> => {
    going = true;
    try {
      while (next < queue.length) {
        if (turns.full) await turns.room();
        else step(queue[next++]);
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
