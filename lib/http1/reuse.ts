/**
 * Whether a connection that has served may carry a request that must not be sent twice. A server
 * may close an unused connection at any time (RFC 9112 section 9.5), and a request that meets its
 * close is lost. So it is noted for each key how its server closes:
 * - unknown, until a connection has stayed open for a while after an answer;
 * - it stays open;
 * - it closes: one ended right after an answer, or without having announced it (Keep-Alive). That
 *   holds for a while, longer each time, and until one has stayed open far longer than it took
 *   then.
 */
import type { Clock } from '../base/clock.ts';
import { fieldOf, type Fields } from '../http/message.ts';

/**
 * A server that ends a connection within this time of an answer does so with every answer;
 * milliseconds.
 */
export const SOON_MS = 100;

/** How long a server is taken to close connections, doubled each time it does; milliseconds. */
const MARKED_MS = 60_000;
const MAX_MARKED_MS = 3_600_000;

/**
 * A connection must have stayed open at least so long before a server is trusted again;
 * milliseconds.
 */
const PROOF_MS = 1000;

/** Keys that are remembered; the one learned first is forgotten, and has to prove itself anew. */
const MAX_KEYS = 4096;

/**
 * A server closes a little before the time that it announces, and the request travels;
 * milliseconds.
 */
const MARGIN_MS = 1000;

export interface Closing {
  state: 'unknown' | 'stays' | 'closes';
  /** The longest that a connection lasted unused before it was closed, in milliseconds. */
  after: number;
  /** Until when it is taken to close, whatever is seen. */
  until: number;
  times: number;
}

export class Reuse {
  readonly #clock: Clock;
  readonly #known = new Map<string, Closing>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  of(key: string): Closing {
    let known = this.#known.get(key);
    if (known !== undefined) return known;
    const [oldest] = this.#known.size < MAX_KEYS ? [] : this.#known.keys();
    if (oldest !== undefined) this.#known.delete(oldest);
    this.#known.set(key, (known = { state: 'unknown', after: 0, until: 0, times: 0 }));
    return known;
  }

  /** A connection was open `ms` after its last answer. */
  open(known: Closing, ms: number): void {
    if (known.state === 'unknown' && ms >= SOON_MS) known.state = 'stays';
    if (known.state !== 'closes' || this.#clock.monotonic() < known.until) return;
    if (ms >= Math.max(PROOF_MS, 2 * known.after)) known.state = 'stays';
  }

  /** The server has closed a connection `ms` after its last answer, and not as it had announced. */
  closed(known: Closing, ms: number): void {
    const holds = Math.min(MARKED_MS * 2 ** known.times, MAX_MARKED_MS);
    known.after = known.state === 'closes' ? Math.max(known.after, ms) : ms;
    if (known.state !== 'closes') known.times += 1;
    known.state = 'closes';
    known.until = this.#clock.monotonic() + holds;
  }
}

export interface Announced {
  /** Milliseconds after an answer until which a connection may be used. */
  readonly ms: number;
  /** Requests that it takes besides. */
  readonly more: number;
}

/**
 * What a server says of how long it keeps the connection: `Keep-Alive: timeout=5, max=100`;
 * undefined where nothing.
 */
export function announced(fields: Fields): Announced | undefined {
  const value = fieldOf(fields, 'keep-alive');
  if (value === undefined) return undefined;
  const seconds = parameter(value, /(?:^|[\s,;])timeout\s*=\s*"?(\d{1,9})/i);
  const more = parameter(value, /(?:^|[\s,;])max\s*=\s*"?(\d{1,9})/i);
  return { ms: seconds * 1000 - Math.min(MARGIN_MS, seconds * 500), more };
}

function parameter(value: string, pattern: RegExp): number {
  const found = pattern.exec(value)?.[1];
  return found === undefined ? Infinity : Number(found);
}
