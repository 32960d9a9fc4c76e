/**
 * What the states of the identity mean for readiness and evidence. Expiry is judged by the wall
 * clock on a short tick, since timers stand still while a machine sleeps.
 */
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { ignore } from '../../lib/base/signal.ts';
import { type IdentitySource, startIdentity } from '../../lib/identity/source.ts';
import type { Agent, AgentIdentity } from '../../lib/policy/model/agent.ts';
import type { Identity, IdentityState } from '../../lib/spiffe/identity.ts';
import { svidFor } from '../../lib/upstream/identities.ts';
import type { Parts } from './parts.ts';

const TICK = 1000;

/** Starts asking at `endpoint`. */
export function openIdentity(endpoint: string, { config, clock, log }: Parts): IdentitySource {
  return startIdentity({
    endpoint,
    select: config.sidecar.identity.select,
    clock,
    onNote: ({ level, stream, text }) => log.log(level, 'identity', text, { stream }),
  });
}

export interface Follower {
  readonly identity: IdentitySource;
  /** Decides again what is live. */
  readonly reauthorize: () => void;
  readonly signal: AbortSignal;
}

export function followIdentity({ identity, reauthorize, signal }: Follower, parts: Parts): void {
  const { clock, config, readiness, recordEvent, log } = parts;
  followFinal(identity, parts);
  const pending = readiness.pending('identity', 'waiting for the first SVID');
  const begun = clock.monotonic();
  let [generation, expired, warned] = [0, false, false];
  const agents = followAgents(parts, reauthorize);
  const look = (state: IdentityState): void => {
    if (state.kind === 'waiting') {
      pending.undone(`waiting for the first SVID${because(state.problem)}`);
      if (!warned && clock.monotonic() - begun > config.sidecar.identity.initialSync) {
        warned = true;
        log.log('warn', 'identity', `no SVID yet${because(state.problem)}`, {
          hint: 'is there a registration entry?',
        });
      }
      return;
    }
    if (state.kind === 'withdrawn') {
      if (generation !== 0) recordEvent('identity-withdrawn', { problem: state.problem });
      generation = 0;
      pending.undone(`withdrawn: ${state.problem}`);
      return;
    }
    const { svid, generation: newest } = state.identity;
    const over = clock.now() >= svid.notAfter;
    const news = over && !expired;
    expired = over;
    if (news) {
      recordEvent('identity-expired', { spiffeId: svid.id, serial: svid.serial });
      reauthorize();
    }
    if (over)
      pending.undone(
        `the SVID expired at ${new Date(svid.notAfter).toISOString()}${because(state.problem)}`,
      );
    else pending.done();
    agents.lapse(state.identity);
    if (newest === generation) return;
    generation = newest;
    agents.look(state.identity);
    recordEvent('identity-updated', {
      generation,
      spiffeId: svid.id,
      serial: svid.serial,
      notAfter: new Date(svid.notAfter).toISOString(),
    });
  };
  const again = (): void => {
    if (signal.aborted) return;
    const state = identity.states.get();
    if (state !== undefined && (state.kind !== 'withdrawn' || generation !== 0)) look(state);
    systemClock.after(TICK, again);
  };
  identity.states.follow(look, signal);
  again();
}

interface AgentIdentities {
  /** Says whose SVID is not issued. */
  look(identity: Identity): void;
  /** Decides again what is live when one of them has expired. */
  lapse(identity: Identity): void;
}

function followAgents({ clock, config, log }: Parts, reauthorize: () => void): AgentIdentities {
  const own = config.sidecar.agents.flatMap(({ name, identity }) =>
    identity === undefined ? [] : [{ name, identity }],
  );
  return {
    lapse: lapses(own, clock, reauthorize),
    look(identity) {
      for (const { name, identity: wanted } of own) {
        if (svidFor(identity, wanted) !== undefined) continue;
        const hint = 'compare identity of the agent with the registration entries of this workload';
        log.log('warn', 'identity', `no SVID is issued for agent ${name}: it is refused`, { hint });
      }
    },
  };
}

/** An agent whose SVID may expire before the sidecar's own. */
type Own = Pick<Agent, 'name'> & { readonly identity: AgentIdentity };

/**
 * To be called with each identity and on each tick: decides again when the SVID of an agent has
 * expired since.
 */
export function lapses(
  own: readonly Own[],
  clock: Pick<Clock, 'now'>,
  reauthorize: () => void,
): (identity: Identity) => void {
  let expired: ReadonlySet<string> = new Set();
  return (identity) => {
    const now = clock.now();
    const over = own.filter(
      ({ identity: wanted }) => now >= (svidFor(identity, wanted)?.notAfter ?? Infinity),
    );
    const before = expired;
    expired = new Set(over.map(({ name }) => name));
    if (over.some(({ name }) => !before.has(name))) reauthorize();
  };
}

/** Not ready for good: nobody asks for the next SVID. */
function followFinal(identity: IdentitySource, { readiness, log, config }: Parts): void {
  ignore(
    identity.final.then(({ message }) => {
      readiness.pending('workload-api', `not asked again: ${message}`);
      const next =
        config.sidecar.identity.onFinal === 'exit'
          ? 'the sidecar ends'
          : 'the SVID is used until it expires';
      log.log('error', 'identity', `the Workload API is not asked again: ${next}`, {
        hint: 'see identity.onFinal; start again once it takes what is asked',
      });
    }),
    'it never rejects',
  );
}

function because(problem: string | undefined): string {
  return problem === undefined ? '' : ` (${problem})`;
}
