/**
 * A change of our identity, and exchanges that are open. PermissionDenied may be over in a moment
 * (a SPIRE agent that starts again, an authority that is tainted): new requests are refused at
 * once, what is open goes on for two seconds, and longer when the same SPIFFE ID is back by then.
 * An SVID that is no longer issued, or that expired, ends what is open at once.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Identity, IdentityState } from '../spiffe/identity.ts';

/** Milliseconds that what is open goes on without an identity. */
export const DENIED_GRACE_MS = 2_000;

/** `borne`: within the two seconds; `back`: there is an identity again, perhaps another one. */
export type Interlude = 'none' | 'borne' | 'back';

export interface Interludes {
  /** To be asked with each new state; calls `again` when the two seconds are over. */
  readonly of: (state: IdentityState | undefined) => Interlude;
}

export function interludes(clock: Clock, again: () => void): Interludes {
  let denied: 'no' | 'borne' | 'for good' = 'no';
  let cancel = (): void => {};
  return {
    of(state) {
      if (state?.kind === 'withdrawn' && state.denied) {
        if (denied === 'no') {
          denied = 'borne';
          // A timer may be a moment early: what it says counts, and not the clock.
          cancel = clock.after(DENIED_GRACE_MS, () => {
            denied = 'for good';
            again();
          });
        }
        return denied === 'borne' ? 'borne' : 'none';
      }
      const before = denied;
      cancel();
      denied = 'no';
      return before !== 'no' && state?.kind === 'current' ? 'back' : 'none';
    },
  };
}

export interface IdentityMoment {
  readonly state: IdentityState | undefined;
  readonly interlude: Interlude;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/**
 * Why what is open on `before` may not go on; undefined where the identity is no reason.
 * @param identity what its agent has now
 */
export function identityLost(
  before: Identity | undefined,
  identity: Identity | undefined,
  { state, interlude, now }: IdentityMoment,
): Fault | undefined {
  if (state?.kind === 'withdrawn' && interlude !== 'borne') {
    return new Fault('no-identity', `our identity was withdrawn: ${state.problem}`, {
      hint: 'see /readyz for what is awaited',
    });
  }
  if (state?.kind !== 'current') return undefined;
  if (identity === undefined) {
    return new Fault('no-identity', 'the identity of this agent was withdrawn', {
      hint: 'compare identity of the agent with the registration entries of this workload',
    });
  }
  const { id, notAfter } = identity.svid;
  if (now >= notAfter) {
    return new Fault(
      'identity-expired',
      `our SVID expired at ${new Date(notAfter).toISOString()}`,
      {
        hint: 'the Workload API issued no newer one: look at the SPIRE agent, and at the clock',
      },
    );
  }
  if (interlude !== 'back' || before === undefined || before.svid.id === id) return undefined;
  return new Fault(
    'no-identity',
    `our identity was withdrawn, and we are now ${id} and no longer ${before.svid.id}`,
    {
      hint: 'ask again as the identity that there is now',
    },
  );
}
