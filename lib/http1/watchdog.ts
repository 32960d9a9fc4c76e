/**
 * One coarse timer a connection: setting and clearing a limit is an assignment, and the timer is
 * moved only when a limit ends before it would fire. A connection that serves thousands of requests
 * a second arms it about once in the shortest limit it sets.
 */
import type { Clock } from '../base/clock.ts';

export class Watchdog {
  readonly #clock: Clock;
  readonly #expired: () => void;
  #deadline = Infinity;
  #armed = Infinity;
  #cancel: (() => void) | undefined;

  /** `expired` is called once for each limit that ran out. */
  constructor(clock: Clock, expired: () => void) {
    this.#clock = clock;
    this.#expired = expired;
  }

  /** Replaces the limit by one that ends `ms` from now. */
  set(ms: number): void {
    const now = this.#clock.monotonic();
    this.#deadline = now + ms;
    if (this.#deadline < this.#armed) this.#arm(now);
  }

  /** No limit until the next `set`. */
  clear(): void {
    this.#deadline = Infinity;
  }

  /** Stops the timer for good. */
  stop(): void {
    this.#deadline = Infinity;
    this.#armed = -Infinity;
    this.#cancel?.();
  }

  #arm(now: number): void {
    this.#cancel?.();
    this.#armed = this.#deadline;
    this.#cancel = this.#clock.after(this.#deadline - now, this.#fire);
  }

  readonly #fire = (): void => {
    this.#armed = Infinity;
    this.#cancel = undefined;
    if (this.#deadline === Infinity) return;
    const now = this.#clock.monotonic();
    if (now < this.#deadline) {
      this.#arm(now);
      return;
    }
    this.#deadline = Infinity;
    this.#expired();
  };
}
