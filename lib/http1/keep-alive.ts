/** How long a server keeps a connection between requests, by what it says and what it does. */
import type { Clock } from '../base/clock.ts';
import type { ResponseHead } from '../http/message.ts';
import { announced } from './reuse.ts';

export class KeepAlive {
  readonly #clock: Clock;
  #allowed = true;
  #served = 0;
  /** Milliseconds after an answer for which the server keeps the connection, as it says. */
  #announcedMs = Infinity;
  /** Monotonic time of the end of the last exchange. */
  idleSince: number;
  /** The server has ended the connection sooner than it had announced. */
  endedEarly = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.idleSince = clock.monotonic();
  }

  /** Neither side has said that the connection ends. */
  get allowed(): boolean {
    return this.#allowed;
  }

  get hasServed(): boolean {
    return this.#served > 0;
  }

  /** Whether the server still keeps the connection. */
  get lasts(): boolean {
    if (!this.#allowed) return false;
    return this.#announcedMs === Infinity || this.#idleMs() < this.#announcedMs;
  }

  forbid(): void {
    this.#allowed = false;
  }

  answered(head: ResponseHead): void {
    this.#allowed &&= head.keepAlive;
    const said = announced(head.fields);
    if (said === undefined) return;
    this.#announcedMs = said.ms;
    this.#allowed &&= said.more > 0;
  }

  completed(): void {
    this.#served++;
    this.idleSince = this.#clock.monotonic();
  }

  ended(): void {
    this.endedEarly = this.#served > 0 && this.#idleMs() < this.#announcedMs;
  }

  #idleMs(): number {
    return this.#clock.monotonic() - this.idleSince;
  }
}
