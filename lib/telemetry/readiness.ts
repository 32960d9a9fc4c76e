/**
 * Readiness as a set of named things that are still pending. Each says in its own words what is
 * awaited; ready means none is left.
 */
import type { Clock } from '../base/clock.ts';

export interface Pending {
  /** It is there. */
  done(): void;
  /**
   * It is awaited again, and why. Does not restart the count of seconds when it was pending
   * already.
   */
  undone(detail: string): void;
}

interface Waiting {
  readonly name: string;
  readonly detail: string;
  readonly seconds: number;
}

export interface Readiness {
  /** Adds a thing that is awaited from now on. */
  pending(name: string, detail: string): Pending;
  report(): { readonly ready: boolean; readonly waiting: readonly Waiting[] };
}

export function readiness(clock: Clock): Readiness {
  const waiting = new Map<string, { readonly detail: string; readonly since: number }>();
  return {
    pending(name, detail) {
      const undone = (text: string): void => {
        waiting.set(name, { detail: text, since: waiting.get(name)?.since ?? clock.monotonic() });
      };
      undone(detail);
      return { done: () => void waiting.delete(name), undone };
    },
    report() {
      const now = clock.monotonic();
      const list = [...waiting].map(([name, { detail, since }]) => ({
        name,
        detail,
        seconds: Math.floor((now - since) / 1000),
      }));
      return { ready: list.length === 0, waiting: list };
    },
  };
}
