/**
 * Long work beside live traffic, in turns: a configuration of ten thousand documents must not keep
 * the event loop from the requests under way.
 */
import { setImmediate as turn } from 'node:timers/promises';

/** Milliseconds of work at a time. */
const AT_A_TIME = 4;

/**
 * To be awaited after each small step: gives everybody else a turn where the steps since the last
 * one took a while.
 */
export type Pace = () => Promise<void>;

export function pace(): Pace {
  let began = performance.now();
  return async () => {
    if (performance.now() - began < AT_A_TIME) return;
    await turn();
    began = performance.now();
  };
}
