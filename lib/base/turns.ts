/**
 * Long work in turns of the event loop, so that what cannot wait (health, revocation, everybody's
 * other bytes) never waits for more of it than one turn may hold. It paces; it never decides.
 */

export interface Turns {
  /** This turn has had its share of work: who is about to begin more waits for room. */
  readonly full: boolean;
  /** Settles in a later turn, for one waiter in each, in order. */
  room(): Promise<void>;
  /**
   * Long work, one after another: what many of them hold at one time would be a burden by itself.
   */
  alone<T>(work: () => Promise<T>): Promise<T>;
  /** Does work that counts, whatever comes of it. */
  counted<T>(work: () => T): T;
  /** Work that was done in this turn, in milliseconds. */
  count(ms: number): void;
}

/** Milliseconds of counted work in one turn. */
const SHARE = 5;
/** Shorter work is not counted: it is what a turn is made of. */
const LEAST = 0.25;

export function turns(): Turns {
  let spent = 0;
  let pending = false;
  let last: Promise<void> = Promise.resolve();
  const waiting: (() => void)[] = [];
  let first = 0;
  const turn = (): void => {
    pending = false;
    spent = 0;
    const one = waiting[first];
    first += 1;
    if (first < waiting.length) next();
    else first = waiting.length = 0;
    one?.();
  };
  const next = (): void => {
    if (pending) return;
    pending = true;
    setImmediate(turn);
  };
  const count = (ms: number): void => {
    if (ms < LEAST) return;
    spent += ms;
    next();
  };
  return {
    count,
    get full() {
      return spent >= SHARE;
    },
    room() {
      next();
      return new Promise((resolve) => waiting.push(resolve));
    },
    alone(work) {
      const mine = last.then(work);
      last = mine.then(
        () => {},
        () => {},
      );
      return mine;
    },
    counted(work) {
      const began = performance.now();
      try {
        return work();
      } finally {
        count(performance.now() - began);
      }
    },
  };
}
