/**
 * An identity source on a real Workload API, with everything it ever said written down: what the
 * scenarios against SPIRE wait for and judge.
 */
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import type { IdentityNote } from '../../lib/identity/notes.ts';
import { startIdentity, type IdentitySource } from '../../lib/identity/source.ts';
import type { Select } from '../../lib/identity/select.ts';
import type { Identity, IdentityState } from '../../lib/spiffe/identity.ts';
import { until } from '../support/until.ts';
import type { Spire } from './spire.ts';

export interface Followed extends AsyncDisposable {
  readonly source: IdentitySource;
  /** Every state after the first, in order. */
  readonly states: readonly IdentityState[];
  readonly notes: readonly IdentityNote[];
  /** Every identity there was, in order; generations must rise along it. */
  readonly identities: readonly Identity[];
  state(): IdentityState;
  /** The first identity, or the next one that satisfies; within 30 s unless said otherwise. */
  identity(
    what: string,
    fits?: (identity: Identity) => boolean,
    within?: number,
  ): Promise<Identity>;
  /** Until the state satisfies; within 30 s unless said otherwise. */
  reaches(
    what: string,
    fits: (state: IdentityState) => boolean,
    within?: number,
  ): Promise<IdentityState>;
  /** Why no identity may be used now; undefined when one may be. */
  refusal(): Fault | undefined;
}

const PATIENCE_MS = 30_000;

/** As the sidecar does it: the real clock and the real back-off. */
export function follow(spire: Pick<Spire, 'workloadApi'>, select: Select = {}): Followed {
  const notes: IdentityNote[] = [];
  const states: IdentityState[] = [];
  const over = new AbortController();
  const source = startIdentity({
    endpoint: spire.workloadApi,
    select,
    clock: systemClock,
    onNote: (note) => notes.push(note),
  });
  source.states.follow((state) => states.push(state), over.signal);
  const state = (): IdentityState => {
    const now = source.states.get();
    if (now === undefined) throw new TypeError('a source has a state from the start');
    return now;
  };
  const refusal = (): Fault | undefined => {
    try {
      source.current();
      return undefined;
    } catch (failure) {
      if (failure instanceof Fault) return failure;
      throw failure;
    }
  };
  const told = async <T>(what: string, probe: () => T, within: number): Promise<NonNullable<T>> => {
    try {
      return await until(what, probe, within);
    } catch (failure) {
      const { kind, problem } = state();
      throw new Error(`${String(failure)}; the state is ${kind}: ${problem ?? 'no problem'}`, {
        cause: failure,
      });
    }
  };
  return {
    source,
    states,
    notes,
    get identities() {
      return identitiesOf(states);
    },
    state,
    identity: (what, fits = () => true, within = PATIENCE_MS) => {
      const find = (): Identity | undefined => {
        const now = state();
        return now.kind === 'current' && fits(now.identity) ? now.identity : undefined;
      };
      return told(what, find, within);
    },
    reaches: (what, fits, within = PATIENCE_MS) =>
      told(what, () => (fits(state()) ? state() : undefined), within),
    refusal,
    async [Symbol.asyncDispose]() {
      over.abort();
      await source[Symbol.asyncDispose]();
    },
  };
}

function identitiesOf(states: readonly IdentityState[]): readonly Identity[] {
  const all = states.flatMap((state) => (state.kind === 'current' ? [state.identity] : []));
  return all.filter((identity, at) => identity !== all[at - 1]);
}
