/**
 * A Cell holds the newest of a line of immutable snapshots. A reader takes one with `get()` and
 * keeps it for the whole of what it does; a follower is called with each new one, in order, after
 * it was set.
 */
export interface Cell<T> {
  /** The newest value, or undefined before the first. */
  get(): T | undefined;
  set(value: T): void;
  /**
   * Calls `act` after each later `set`, until the signal aborts. Followers are told in the order
   * they joined.
   */
  follow(act: (value: T) => void, signal: AbortSignal): void;
}

export function cell<T>(initial?: T): Cell<T> {
  let current = initial;
  const followers = new Set<(value: T) => void>();
  return {
    get: () => current,
    set(value) {
      current = value;
      for (const follower of followers) follower(value);
    },
    follow(act, signal) {
      if (signal.aborted) return;
      followers.add(act);
      signal.addEventListener('abort', () => followers.delete(act), { once: true });
    },
  };
}
