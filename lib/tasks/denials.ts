/**
 * What was refused to an agent is not asked again until the refusal has lapsed, in whatever task it
 * comes.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';

export interface Denied {
  readonly agent: string;
  readonly destination: string;
  readonly rule: string | undefined;
  readonly action: string;
  /** undefined: whatever the parameters. */
  readonly digest: string | undefined;
}

interface Denial {
  /** Monotonic milliseconds. */
  readonly until: number;
  readonly by: string;
  readonly why: string;
}

/** Refusals in force for one agent; while there are more it asks nothing. */
export const MAX_DENIALS = 1024;

export class Denials {
  readonly #clock: Clock;
  readonly #ofAgent = new Map<string, Map<string, Denial>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** @param ttl milliseconds */
  add(
    denied: Denied,
    { ttl, by, why }: { readonly ttl: number; readonly by: string; readonly why: string },
  ): void {
    const own = this.#ofAgent.get(denied.agent) ?? new Map<string, Denial>();
    this.#ofAgent.set(denied.agent, own);
    own.set(keyOf(denied), { until: this.#clock.monotonic() + ttl, by, why });
  }

  /**
   * @throws Fault `denied`, or `too-many` where so many are in force that one could be forgotten
   */
  check(denied: Denied): void {
    const own = this.#ofAgent.get(denied.agent);
    if (own === undefined) return;
    const now = this.#clock.monotonic();
    for (const [key, { until }] of own) if (until <= now) own.delete(key);
    const denial = own.get(keyOf(denied));
    if (denial !== undefined) {
      const seconds = Math.ceil((denial.until - now) / 1000);
      throw new Fault('denied', `${denial.by} has refused this: ${denial.why}`, {
        hint: `do something else: the refusal holds for ${seconds} s, in every task`,
        retryAfter: seconds,
      });
    }
    if (own.size >= MAX_DENIALS)
      throw new Fault(
        'too-many',
        `${own.size} questions of agent ${denied.agent} were refused, and it asks no more`,
      );
  }
}

function keyOf({ destination, rule, action, digest }: Denied): string {
  return JSON.stringify([destination, rule ?? '', action, digest ?? '']);
}
