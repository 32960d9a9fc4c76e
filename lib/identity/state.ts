/**
 * The state of our X.509 identity as a pure function: what came of the stream and the state before
 * give the state after. Rules: a message that may be used replaces all; one whose SVID may not be
 * used replaces the bundles alone; being away changes nothing but the problem that is told; being
 * denied takes everything away at once; nothing here falls back to anything.
 */
import { Fault } from '../base/fault.ts';
import { trustDomainOf } from '../spiffe/id.ts';
import type { Identity, IdentityState } from '../spiffe/identity.ts';
import type { X509State } from './parse.ts';

export type IdentityEvent =
  | { readonly kind: 'update'; readonly received: X509State }
  | { readonly kind: 'trouble'; readonly fault: Fault }
  | { readonly kind: 'denied'; readonly fault: Fault };

export interface StateContext {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** The highest generation there has been, 0 before the first. */
  readonly generation: number;
}

/** Everything of an identity that anybody depends on, as one string. */
function digest({ svid, svids, bundles }: Omit<Identity, 'generation'>): string {
  const anchors = [...bundles.values()].map((bundle) => [
    bundle.trustDomain,
    ...bundle.anchors.map(({ fingerprint256 }) => fingerprint256).toSorted(),
  ]);
  const issued = svids.map(({ id, hint, chain }) => [
    id,
    hint,
    ...chain.map(({ fingerprint256 }) => fingerprint256),
  ]);
  return JSON.stringify([
    svids.indexOf(svid),
    issued,
    anchors.toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1)),
  ]);
}

function updated(state: IdentityState, received: X509State, context: StateContext): IdentityState {
  const { chosen, svids, bundles } = received;
  switch (chosen.kind) {
    case 'missing':
      return withdrawn(state, chosen.fault, { now: context.now, denied: false });
    case 'refused':
      return refused(state, chosen.fault, bundles, context);
    case 'svid':
      return supplied(state, { svid: chosen.svid, svids, bundles }, context);
  }
}

type Supplied = Omit<Identity, 'generation'>;

function supplied(
  state: IdentityState,
  parts: Supplied,
  { generation }: StateContext,
): IdentityState {
  if (state.kind === 'current' && digest(state.identity) === digest(parts))
    return { ...state, problem: undefined };
  const identity = Object.freeze({ generation: generation + 1, ...parts });
  return { kind: 'current', identity, problem: undefined };
}

/**
 * The SVIDs before stay, and the bundle of their trust domain where the message has none that can
 * be used.
 */
function refused(
  state: IdentityState,
  fault: Fault,
  bundles: Identity['bundles'],
  context: StateContext,
): IdentityState {
  const problem = fault.describe();
  if (state.kind !== 'current') return { ...state, problem };
  const { svid, svids, bundles: before } = state.identity;
  const own = before.get(trustDomainOf(svid.id));
  const all = new Map([
    ...(own === undefined ? [] : ([[own.trustDomain, own]] as const)),
    ...bundles,
  ]);
  return { ...supplied(state, { svid, svids, bundles: all }, context), problem } as IdentityState;
}

interface Withdrawal {
  readonly now: number;
  readonly denied: boolean;
}

function withdrawn(state: IdentityState, fault: Fault, { now, denied }: Withdrawal): IdentityState {
  const problem = fault.describe();
  if (state.kind === 'withdrawn') return { ...state, denied: state.denied && denied, problem };
  return { kind: 'withdrawn', since: now, denied, problem };
}

/** The state after an event. Before anything was ever issued, being denied is a reason to wait. */
export function next(
  state: IdentityState,
  event: IdentityEvent,
  context: StateContext,
): IdentityState {
  switch (event.kind) {
    case 'update':
      return Object.freeze(updated(state, event.received, context));
    case 'trouble':
      return Object.freeze({ ...state, problem: event.fault.describe() });
    case 'denied':
      if (state.kind === 'waiting')
        return Object.freeze({ ...state, problem: event.fault.describe() });
      return Object.freeze(withdrawn(state, event.fault, { now: context.now, denied: true }));
  }
}

/**
 * The identity of a state when it may be used at `now` (milliseconds since the epoch, wall clock: a
 * suspended machine wakes up to an expired SVID).
 * @throws Fault `no-identity`, `identity-expired`
 */
export function usableIdentity(state: IdentityState, now: number): Identity {
  switch (state.kind) {
    case 'waiting':
      throw new Fault(
        'no-identity',
        `no X.509-SVID yet: ${state.problem ?? 'the Workload API has not answered'}`,
        {
          hint: 'requests are served as soon as one is issued',
        },
      );
    case 'withdrawn':
      throw new Fault('no-identity', `the X.509-SVID was withdrawn: ${state.problem}`, {
        hint: 'requests are served again as soon as one is issued',
      });
    case 'current': {
      const { id, notAfter } = state.identity.svid;
      if (now < notAfter) return state.identity;
      const why = state.problem ?? 'no newer one was issued';
      throw new Fault(
        'identity-expired',
        `the X.509-SVID of ${id} expired at ${new Date(notAfter).toISOString()}: ${why}`,
        {
          hint: 'requests are served again as soon as a newer one is issued',
        },
      );
    }
  }
}
