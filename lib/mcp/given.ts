/**
 * What servers gave to be shown to them again: cursors of lists, states of requests. Nothing else
 * goes back in their place, or they would carry anything. Digests, in memory: after a restart
 * clients begin a list again.
 */
import { hash } from 'node:crypto';

export interface Given {
  /** `place` is of whom it was given by and to, and what for. */
  note(place: string, text: string): void;
  has(place: string, text: string): boolean;
}

/** More push out the oldest. */
const MAX_GIVEN = 65_536;

export function given(most = MAX_GIVEN): Given {
  const known = new Set<string>();
  return {
    note: (place, text) => remember(known, digestOf(`${place} ${text}`), most),
    has: (place, text) => known.has(digestOf(`${place} ${text}`)),
  };
}

export function digestOf(text: string): string {
  return hash('sha256', text, 'base64url');
}

/** Adds to a memory of so many, of which the oldest goes first. */
export function remember(known: Set<string>, one: string, most: number): void {
  known.delete(one);
  known.add(one);
  for (const oldest of known) {
    if (known.size <= most) break;
    known.delete(oldest);
  }
}
