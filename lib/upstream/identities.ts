/**
 * The identity that an agent goes out with: the SVID that its document names, out of those that the
 * Workload API gives, or the sidecar's own where agents have none. Rules:
 * - where it is not issued there is none; another agent's, or the sidecar's, never stands in for
 *   it;
 * - where agents have identities of their own, what nobody has proved to be an agent's has none;
 * - all come of one snapshot: an agent's differs from the sidecar's by its SVID alone.
 */
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Agent, AgentIdentity } from '../policy/model/agent.ts';
import type { Identity, IdentityState, X509Svid } from '../spiffe/identity.ts';

export interface Identities {
  /**
   * The identity of an agent now; undefined: there is none. The same object as long as it is the
   * same.
   */
  readonly of: (agent: Agent | undefined) => Identity | undefined;
  /** The same, valid now. @throws Fault `no-identity`, `identity-expired` */
  current(agent: Agent | undefined): Identity;
  readonly states: Cell<IdentityState>;
}

export interface IdentitiesOptions {
  readonly states: Cell<IdentityState>;
  /** The sidecar's own; throws as above. */
  readonly current: () => Identity;
  readonly agents: readonly Agent[];
  readonly clock: Clock;
}

export function identities({ states, current, agents, clock }: IdentitiesOptions): Identities {
  const apart = agents.some(({ identity }) => identity !== undefined);
  let whole: Identity | undefined;
  let own = new Map<Agent, Identity | undefined>();

  const of = (agent: Agent | undefined): Identity | undefined => {
    const state = states.get();
    const identity = state?.kind === 'current' ? state.identity : undefined;
    if (!apart || identity === undefined) return identity;
    if (agent?.identity === undefined) return undefined;
    if (identity !== whole) [whole, own] = [identity, new Map()];
    let found = own.get(agent);
    if (found === undefined && !own.has(agent))
      own.set(agent, (found = as(identity, agent.identity)));
    return found;
  };

  return {
    states,
    of,
    current(agent) {
      const identity = of(agent);
      if (!apart || states.get()?.kind !== 'current') return current();
      if (identity === undefined) throw missing(agent);
      const { id, notAfter } = identity.svid;
      if (clock.now() < notAfter) return identity;
      const at = new Date(notAfter).toISOString();
      throw new Fault(
        'identity-expired',
        `the X.509-SVID ${id} of agent ${agent?.name ?? ''} expired at ${at}`,
        {
          hint: 'is the Workload API there? see /readyz',
        },
      );
    },
  };
}

/** The SVID that an agent goes out with; undefined where it is not issued. */
export function svidFor(
  { svids }: Identity,
  { hint, spiffeId }: AgentIdentity,
): X509Svid | undefined {
  return svids.find(
    (svid) =>
      (spiffeId === undefined || svid.id === spiffeId) &&
      (hint === undefined || svid.hint === hint),
  );
}

function as(identity: Identity, wanted: AgentIdentity): Identity | undefined {
  const svid = svidFor(identity, wanted);
  return svid === undefined ? undefined : Object.freeze({ ...identity, svid });
}

function missing(agent: Agent | undefined): Fault {
  if (agent === undefined)
    return new Fault(
      'no-identity',
      'nobody has proved to be an agent, and each agent has an identity of its own',
      {
        hint: 'show the credentials of a task, or use the forward socket of an agent',
      },
    );
  const { hint, spiffeId } = agent.identity ?? {};
  const wanted = spiffeId ?? `hint ${JSON.stringify(hint)}`;
  return new Fault('no-identity', `no X.509-SVID was issued for agent ${agent.name} (${wanted})`, {
    hint: 'compare identity of the agent with the registration entries of this workload',
  });
}
