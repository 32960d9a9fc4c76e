/**
 * Exponential back-off with full jitter: each delay is uniform in (0, min(cap, base * 2^n)]. Pure
 * but for the randomness handed in.
 */
export interface Backoff {
  /** Milliseconds to wait before the next attempt. */
  next(): number;
  /** To be called after a success. */
  reset(): void;
}

export interface BackoffOptions {
  readonly baseMs: number;
  readonly capMs: number;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

export function backoff({ baseMs, capMs, random = Math.random }: BackoffOptions): Backoff {
  let attempt = 0;
  return {
    next() {
      const ceiling = Math.min(capMs, baseMs * 2 ** Math.min(attempt, 30));
      attempt += 1;
      return Math.ceil(ceiling * (1 - random()));
    },
    reset() {
      attempt = 0;
    },
  };
}
