/**
 * From the stream of X.509-SVIDs to the states of our identity. What the clock alone forbids is
 * kept and held against the wall clock each second, since the Workload API does not send it again;
 * the SVID before is used meanwhile. When the renewal of the one in use is overdue, that is told,
 * and another connection is tried.
 */
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import type { Identity, IdentityState } from '../spiffe/identity.ts';
import type { WorkloadApi } from './client.ts';
import type { Counter } from './counts.ts';
import type { X509SVIDResponse } from './gen/workload_pb.ts';
import { LIMITS } from './limits.ts';
import type { Notes } from './notes.ts';
import { readX509Svids, type X509State } from './parse.ts';
import type { Select } from './select.ts';
import { next, type IdentityEvent } from './state.ts';
import { isTimely } from './timeliness.ts';
import { type Overdue, watch, type WatchEvent } from './watch.ts';

export interface FollowOptions {
  readonly api: WorkloadApi;
  readonly select: Select;
  readonly states: Cell<IdentityState>;
  readonly counter: Counter;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** Uniform in [0, 1); for the jitter of the back-off. */
  readonly random?: () => number;
  /** Told once, when nobody asks any more. */
  readonly onFinal: (fault: Fault) => void;
}

const LOOK_MS = 1_000;

/** Whether the Workload API owes an SVID, or a newer one. */
export function overdue(state: IdentityState | undefined, now: number): Overdue | undefined {
  const { share, leastMs, again, firstMs } = LIMITS.overdue;
  if (state?.kind !== 'current') return { every: firstMs, atOnce: false };
  const { notBefore, notAfter } = state.identity.svid;
  const life = notAfter - notBefore;
  if (now < notBefore + share * life) return undefined;
  return { every: Math.max(leastMs, again * life), atOnce: true };
}

/** Settles when the signal aborts, or when asking again cannot help. */
export async function followX509(options: FollowOptions, tell: Notes): Promise<void> {
  const { api, states, counter, clock, select, signal } = options;
  const following = new Following(options, tell);
  const read = async (message: X509SVIDResponse): Promise<Received> => {
    const state = await readX509Svids(message, clock, select);
    return { message, state };
  };
  following.look();
  const events = watch({
    ...options,
    what: 'X.509-SVIDs',
    open: (one) => api.x509Svids(one),
    read,
    overdue: () => overdue(states.get(), clock.now()),
  });
  for await (const event of events) {
    if (signal.aborted) return;
    if (event.kind === 'discarded') counter.discarded();
    if (event.kind === 'lost') counter.lost(event.fault);
    following.take(event);
  }
}

interface Received {
  readonly message: X509SVIDResponse;
  readonly state: X509State;
}

class Following {
  readonly #options: FollowOptions;
  readonly #tell: Notes;
  #generation = 0;
  /** The newest message, where the clock forbids a part of it. */
  #kept: Received | undefined;
  /** The generation whose renewal was said to be overdue. */
  #late = 0;

  constructor(options: FollowOptions, tell: Notes) {
    this.#options = options;
    this.#tell = tell;
  }

  take(event: WatchEvent<Received>): void {
    const { counter, clock, onFinal } = this.#options;
    switch (event.kind) {
      case 'update':
        counter.update(event.value.state, clock.now());
        if (event.value.state.chosen.kind === 'refused') counter.discarded();
        this.#receive(event.value);
        break;
      case 'discarded':
        this.#tell.trouble(event.fault);
        this.#apply({ kind: 'trouble', fault: event.fault });
        break;
      case 'lost':
        this.#tell.trouble(event.fault);
        if (event.withdrawn) this.#kept = undefined;
        this.#apply({ kind: event.withdrawn ? 'denied' : 'trouble', fault: event.fault });
        if (!event.final) break;
        this.#tell.warn('asking again cannot help, so it is not done');
        onFinal(event.fault);
        break;
    }
  }

  /** Each second, until the signal aborts. */
  look(): void {
    const { clock, signal } = this.#options;
    if (signal.aborted) return;
    ignore(this.#judgeAgain(), 'what was readable once is readable again');
    this.#tellOverdue();
    clock.after(LOOK_MS, () => this.look());
  }

  async #judgeAgain(): Promise<void> {
    const { clock, select } = this.#options;
    const kept = this.#kept;
    if (kept === undefined || !kept.state.untimely.some((one) => isTimely(one, clock.now())))
      return;
    const state = await readX509Svids(kept.message, clock, select);
    // A newer message may have come meanwhile.
    if (this.#kept !== kept) return;
    if (state.chosen.kind !== 'refused' || state.untimely.length < kept.state.untimely.length) {
      this.#receive({ message: kept.message, state });
    }
  }

  #tellOverdue(): void {
    const { states, clock } = this.#options;
    const state = states.get();
    if (state?.kind !== 'current' || state.identity.generation === this.#late) return;
    if (overdue(state, clock.now()) === undefined) return;
    const { id, notAfter } = state.identity.svid;
    this.#late = state.identity.generation;
    const until = new Date(notAfter).toISOString();
    const why =
      state.problem === undefined ? 'the Workload API has sent no newer one' : state.problem;
    this.#tell.warn(
      `the renewal of ${id} is overdue, which expires at ${until}: ${why}; it is asked for anew`,
    );
  }

  #receive({ message, state: whole }: Received): void {
    const { states, clock } = this.#options;
    const state = withoutEarly(whole, states.get(), clock.now());
    this.#kept = state.untimely.length > 0 ? { message, state } : undefined;
    this.#apply({ kind: 'update', received: state });
    this.#settle(state);
  }

  #apply(event: IdentityEvent): void {
    const { states, clock, counter } = this.#options;
    const before = states.get() ?? { kind: 'waiting', since: clock.now(), problem: undefined };
    const after = next(before, event, { now: clock.now(), generation: this.#generation });
    if (after.kind === 'current' && after.identity.generation > this.#generation) {
      this.#generation = after.identity.generation;
      counter.generation();
    }
    if (!same(before, after)) states.set(after);
    announce(this.#options, before, this.#tell);
  }

  /** After a message that could be read: all is well, or what is not. */
  #settle({ chosen, dropped, leftOut }: X509State): void {
    const faults = [...(chosen.kind === 'svid' ? [] : [chosen.fault]), ...dropped, ...leftOut];
    const [first] = faults;
    if (first === undefined) this.#tell.fine();
    else
      this.#tell.trouble(new Fault(first.code, faults.map((fault) => fault.describe()).join('; ')));
  }
}

/**
 * An SVID that starts ahead of our clock, within the skew, is used at once where there is no other.
 * Peers may go by a clock like ours: while the SVID before is valid, it is used until the start.
 */
function withoutEarly(state: X509State, before: IdentityState | undefined, now: number): X509State {
  const { chosen } = state;
  if (chosen.kind !== 'svid' || before?.kind !== 'current') return state;
  const { id, notBefore, notAfter } = chosen.svid;
  const old = before.identity.svid;
  if (notBefore <= now || old.id !== id || old.notBefore > now || old.notAfter <= notBefore)
    return state;
  const start = new Date(notBefore).toISOString();
  const fault = new Fault('bad-svid', `the new X.509-SVID of ${id} is not valid before ${start}`, {
    hint: 'the one before is used until then; compare the clocks of both hosts',
  });
  const untimely = [...state.untimely, { from: notBefore + LIMITS.skewMs, until: notAfter }];
  return { ...state, chosen: { kind: 'refused', fault }, untimely };
}

function announce({ states, select }: FollowOptions, before: IdentityState, tell: Notes): void {
  const after = states.get();
  if (after?.kind !== 'current') return;
  const previous = before.kind === 'current' ? before.identity : undefined;
  const { generation, svid } = after.identity;
  if (generation === previous?.generation) return;
  const until = new Date(svid.notAfter).toISOString();
  tell.info(`generation ${generation}: ${svid.id}, serial ${svid.serial}, valid until ${until}`);
  if (previous !== undefined && isAnother(previous, svid.id) && select.spiffeId === undefined) {
    tell.warn(
      `we are now ${svid.id} and no longer ${previous.svid.id}: identity.select.spiffeId ` +
        'holds on to one',
    );
  }
}

function isAnother(previous: Identity, id: string): boolean {
  return previous.svid.id !== id;
}

/** Followers are told of what is new to them, not of each message. */
function same(a: IdentityState, b: IdentityState): boolean {
  if (a.kind !== b.kind || a.problem !== b.problem) return false;
  return a.kind !== 'current' || b.kind !== 'current' || a.identity === b.identity;
}
