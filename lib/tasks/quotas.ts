/**
 * Quotas: so many in any span of that length, for each agent and purpose, over all their tasks.
 * Rules:
 * - no span holds more: what is counted leaves the window no earlier than it must, and up to a
 *   thousandth of the span later where a quota has more than 1000;
 * - a restart does not wash a count off: what is counted is written down before it is acted upon, a
 *   five-hundredth of the quota ahead, so that it is written seldom. What was written and cannot be
 *   read counts as all of it.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Quota } from '../policy/model/grant.ts';

type Counted = 'tasks' | 'calls';

/**
 * What is kept over a restart; synchronous, because what is counted must not be acted upon before.
 */
export interface CountsKept {
  /** undefined: nothing was ever kept. Throws where it cannot be read. */
  load(): string | undefined;
  save(text: string): void;
}

export interface Spent {
  readonly quota: string;
  /** Seconds until there is room for one more. */
  readonly retryAfter: number;
}

export interface Whose {
  readonly agent: string;
  readonly purpose: string;
}

export interface Quotas {
  /** Why there may not be one more now; undefined: there may. */
  spent(kind: Counted, whose: Whose, quota: Quota | undefined): Spent | undefined;
  /**
   * @throws Fault `audit-unavailable` where it cannot be written down; then it must not be acted
   *         upon
   */
  count(kind: Counted, whose: Whose, quota: Quota | undefined): void;
}

/** Up to this many are remembered one by one. */
const EXACT = 1000;
/** How often a quota's whole count is written down. */
const WRITES = 500;

class Window {
  /** Monotonic ms of the first of each, and how many: the oldest first, from `#from` on. */
  readonly #at: number[] = [];
  readonly #many: number[] = [];
  #from = 0;
  total = 0;
  /** Written down, and not counted yet. */
  ahead = 0;

  add(at: number, many: number, width: number): void {
    const last = this.#at.length - 1;
    const before = this.#at[last];
    if (last >= this.#from && before !== undefined && at - before <= width)
      this.#many[last] = (this.#many[last] ?? 0) + many;
    else {
      this.#at.push(at);
      this.#many.push(many);
    }
    this.total += many;
  }

  /** Forgets what began before. */
  forget(before: number): void {
    for (
      let first = this.#at[this.#from];
      first !== undefined && first <= before;
      first = this.#at[this.#from]
    ) {
      this.total -= this.#many[this.#from] ?? 0;
      this.#from += 1;
    }
    if (this.#from < 512) return;
    this.#at.splice(0, this.#from);
    this.#many.splice(0, this.#from);
    this.#from = 0;
  }

  /** When that is in which, once it is forgotten, no more than `most` are left. */
  until(most: number): number {
    let left = this.total;
    for (let i = this.#from; i < this.#at.length; i += 1) {
      left -= this.#many[i] ?? 0;
      if (left <= most) return this.#at[i] ?? 0;
    }
    return 0;
  }

  all(): readonly (readonly [number, number])[] {
    return this.#at
      .slice(this.#from)
      .map((at, i) => [at, this.#many[this.#from + i] ?? 0] as const);
  }
}

export function quotas(clock: Clock, kept?: CountsKept): Quotas {
  return new Counts(clock, kept);
}

class Counts implements Quotas {
  readonly #clock: Clock;
  readonly #kept: CountsKept | undefined;
  readonly #windows: Map<string, Window>;
  /** Monotonic ms of the start, where what was counted before it is not known. */
  readonly #unknownSince: number | undefined;

  constructor(clock: Clock, kept: CountsKept | undefined) {
    this.#clock = clock;
    this.#kept = kept;
    const before = restored(kept, clock);
    this.#windows = before ?? new Map<string, Window>();
    this.#unknownSince = before === undefined ? clock.monotonic() : undefined;
  }

  spent(kind: Counted, whose: Whose, quota: Quota | undefined): Spent | undefined {
    if (quota === undefined) return undefined;
    const now = this.#clock.monotonic();
    const unknown = this.#unknownSince;
    if (unknown !== undefined && now - unknown < quota.per)
      return { quota: quota.text, retryAfter: seconds(unknown + quota.per - now) };
    const window = this.#windows.get(keyOf(kind, whose));
    if (window === undefined) return undefined;
    const lasts = quota.per + widthOf(quota);
    window.forget(now - lasts);
    if (window.total < quota.count) return undefined;
    return { quota: quota.text, retryAfter: seconds(window.until(quota.count - 1) + lasts - now) };
  }

  count(kind: Counted, whose: Whose, quota: Quota | undefined): void {
    if (quota === undefined) return;
    const key = keyOf(kind, whose);
    let window = this.#windows.get(key);
    if (window === undefined) this.#windows.set(key, (window = new Window()));
    window.add(this.#clock.monotonic(), 1, widthOf(quota));
    window.ahead -= 1;
    if (window.ahead >= 0) return;
    window.ahead = Math.ceil(quota.count / WRITES) - 1;
    this.#write();
  }

  #write(): void {
    try {
      this.#kept?.save(written(this.#windows, this.#clock));
    } catch (cause) {
      const hint = 'nothing was done; free the disk of stateDir or repair it';
      throw new Fault('audit-unavailable', 'what is counted against quotas cannot be written', {
        hint,
        cause,
      });
    }
  }
}

function widthOf({ count, per }: Quota): number {
  return count <= EXACT ? 0 : per / EXACT;
}

function keyOf(kind: Counted, { agent, purpose }: Whose): string {
  return `${kind} ${agent} ${purpose}`;
}

function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}

/** By the wall clock, which a restart does not reset; what is written ahead counts as made now. */
function written(windows: ReadonlyMap<string, Window>, clock: Clock): string {
  const [monotonic, wall] = [clock.monotonic(), clock.now()];
  const all = [...windows].map(([key, window]) => {
    const made = window
      .all()
      .map(([at, many]) => [Math.floor(wall - (monotonic - at)), many] as const);
    return [key, window.ahead === 0 ? made : [...made, [wall, window.ahead] as const]] as const;
  });
  return JSON.stringify({ version: 1, windows: Object.fromEntries(all) });
}

/** undefined where it cannot be read. */
function restored(kept: CountsKept | undefined, clock: Clock): Map<string, Window> | undefined {
  const windows = new Map<string, Window>();
  try {
    const text = kept?.load();
    if (text === undefined) return windows;
    const { version, windows: all }: { version?: unknown; windows?: unknown } = Object(
      JSON.parse(text),
    );
    if (version !== 1 || typeof all !== 'object' || all === null) return undefined;
    for (const [key, made] of Object.entries(all)) windows.set(key, windowOf(made, clock));
    return windows;
  } catch {
    return undefined;
  }
}

/** @throws TypeError for what is not of the form that `written` gives */
function windowOf(made: unknown, clock: Clock): Window {
  const window = new Window();
  const [monotonic, wall] = [clock.monotonic(), clock.now()];
  for (const [at, many] of made as readonly (readonly [unknown, unknown])[]) {
    if (typeof at !== 'number' || typeof many !== 'number') throw new TypeError('no number');
    // A wall clock that was set back makes nothing older than it is.
    window.add(monotonic - Math.max(0, wall - at), many, 0);
  }
  return window;
}
