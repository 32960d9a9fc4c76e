/**
 * The state of our X.509 identity as a pure function: what came of the stream and the state before give the state after. Rules: a message that may be used replaces all; being
 * away changes nothing but the problem that is told; being denied takes everything away at once; nothing here falls back to anything.
 */
import { Fault } from '../base/fault.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Identity, IdentityState, X509Svid } from '../spiffe/identity.ts';
import type { X509State } from './parse.ts';

/** Which of several SVIDs we act as: all that is given must fit; nothing given means the first (Workload API section 8). */
export interface Select {
  readonly spiffeId?: SpiffeId | undefined;
  readonly hint?: string | undefined;
}

export type IdentityEvent =
  | { readonly kind: 'update'; readonly received: X509State }
  | { readonly kind: 'trouble'; readonly fault: Fault }
  | { readonly kind: 'denied'; readonly fault: Fault };

export interface StateContext {
  readonly select: Select;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** The highest generation there has been, 0 before the first. */
  readonly generation: number;
}

function selected(svids: readonly X509Svid[], { spiffeId, hint }: Select): X509Svid | undefined {
  return svids.find(
    (svid) => (spiffeId === undefined || svid.id === spiffeId) && (hint === undefined || svid.hint === hint),
  );
}

function missing(svids: readonly X509Svid[], { spiffeId, hint }: Select): Fault {
  const wanted = [spiffeId ?? [], hint === undefined ? [] : `hint ${JSON.stringify(hint)}`].flat().join(' with ');
  const issued = svids.map((svid) => (svid.hint === '' ? svid.id : `${svid.id} (hint ${JSON.stringify(svid.hint)})`));
  return new Fault('no-identity', `no X.509-SVID was issued for ${wanted}; issued were ${issued.join(', ')}`, {
    hint: 'compare identity.select with the registration entries of this workload',
  });
}

/** Everything of an identity that anybody depends on, as one string. */
function digest({ svid, svids, bundles }: Omit<Identity, 'generation'>): string {
  const anchors = [...bundles.values()].map((bundle) => [
    bundle.trustDomain,
    ...bundle.anchors.map(({ fingerprint256 }) => fingerprint256).toSorted(),
  ]);
  const issued = svids.map(({ id, hint, chain }) => [id, hint, ...chain.map(({ fingerprint256 }) => fingerprint256)]);
  return JSON.stringify([svids.indexOf(svid), issued, anchors.toSorted(([a = ''], [b = '']) => (a < b ? -1 : 1))]);
}

function updated(state: IdentityState, { svids, bundles }: X509State, context: StateContext): IdentityState {
  const svid = selected(svids, context.select);
  if (svid === undefined) return denied(state, missing(svids, context.select), context.now);
  const parts = { svid, svids, bundles };
  if (state.kind === 'current' && digest(state.identity) === digest(parts)) {
    return { ...state, problem: undefined };
  }
  const identity = Object.freeze({ generation: context.generation + 1, ...parts });
  return { kind: 'current', identity, problem: undefined };
}

function denied(state: IdentityState, fault: Fault, now: number): IdentityState {
  return { kind: 'withdrawn', since: state.kind === 'withdrawn' ? state.since : now, problem: fault.describe() };
}

/** The state after an event. Before anything was ever issued, being denied is a reason to wait. */
export function next(state: IdentityState, event: IdentityEvent, context: StateContext): IdentityState {
  switch (event.kind) {
    case 'update':
      return Object.freeze(updated(state, event.received, context));
    case 'trouble':
      return Object.freeze({ ...state, problem: event.fault.describe() });
    case 'denied':
      if (state.kind === 'waiting') return Object.freeze({ ...state, problem: event.fault.describe() });
      return Object.freeze(denied(state, event.fault, context.now));
  }
}

/**
 * The identity of a state when it may be used at `now` (milliseconds since the epoch, wall clock: a suspended machine wakes up to an expired SVID).
 * @throws Fault `no-identity`, `identity-expired`
 */
export function usableIdentity(state: IdentityState, now: number): Identity {
  switch (state.kind) {
    case 'waiting':
      throw new Fault('no-identity', `no X.509-SVID yet: ${state.problem ?? 'the Workload API has not answered'}`, {
        hint: 'requests are served as soon as one is issued',
      });
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
