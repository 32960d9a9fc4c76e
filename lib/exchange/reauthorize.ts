/**
 * Decides again what is live, when policy or identity has changed: what would no longer be allowed
 * is aborted, with a `redecided` record, within the same turn (one certificate chain's validation
 * later where only the anchors of the peer's trust domain changed). An exchange that is allowed as
 * before is left alone. A large live set is gone through in turns of the event loop, what has
 * plainly lost its permission first.
 */
import { Fault } from '../base/fault.ts';
import { rounds } from '../base/round.ts';
import { ignore } from '../base/signal.ts';
import { decide } from '../policy/decision/decide.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { Decision } from '../policy/decision/decision.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { trustDomainOf } from '../spiffe/id.ts';
import type { Identity, IdentityState } from '../spiffe/identity.ts';
import type { TlsContexts } from '../tls/context.ts';
import { pathProblem } from '../tls/path.ts';
import { sentChain, upstream as sideOf } from '../tls/peer.ts';
import type { Upstreams } from '../upstream/pools.ts';
import { needsIdentity } from '../upstream/shown-identity.ts';
import type { Exchange, Authorization } from './exchange.ts';
import type { ExchangeContext } from './context.ts';
import { type Interlude, type IdentityMoment, identityLost, interludes } from './interlude.ts';

export interface Reauthorization {
  /** Every live exchange, against what is current now. */
  readonly all: () => void;
  /**
   * An exchange that has just been connected: throws a Fault when what changed since its
   * authorization forbids it.
   */
  readonly connected: (exchange: Exchange) => void;
}

export interface ReauthorizationOptions {
  readonly context: ExchangeContext;
  readonly upstreams: Upstreams;
  readonly contexts: TlsContexts;
}

interface Now extends IdentityMoment {
  readonly policy: Policy;
  readonly identityOf: (agent: Agent | undefined) => Identity | undefined;
}

export function reauthorization({
  context,
  upstreams,
  contexts,
}: ReauthorizationOptions): Reauthorization {
  const { live, turns } = context;
  const review = reviewer({ context, upstreams, contexts });
  let newest: Now | undefined;
  const round = rounds<Exchange>(turns, (exchange) => {
    // What is not judged yet will be judged by what is current now; what was denied is over.
    if (newest === undefined || exchange.authorization?.decision.effect !== 'allow') return;
    if (exchange.index !== undefined) review(exchange, exchange.authorization, newest);
  });
  const all = (): void => {
    const at = nowOf(context, between.of);
    if (at === undefined) return;
    // What the round before has not reached yet has not been held against an identity that came
    // back.
    const back = round.underWay && newest?.interlude === 'back' && at.interlude === 'none';
    newest = back ? { ...at, interlude: 'back' } : at;
    const members = live.all();
    round.begin(
      members.filter((exchange) => hasLost(exchange, at)),
      members,
    );
  };
  const between = interludes(context.clock, all);

  return {
    all,
    connected(exchange) {
      // Nothing was sent for it yet: it is a new exchange.
      const at = nowOf(context, () => 'none');
      const { authorization, reason } = exchange;
      if (reason !== undefined) throw reason;
      if (authorization === undefined || at === undefined) return;
      if (
        authorization.policy === at.policy &&
        authorization.identity === at.identityOf(exchange.agent)
      )
        return;
      review(exchange, authorization, at);
      exchange.throwIfAborted();
    },
  };
}

type Review = (exchange: Exchange, authorization: Authorization, at: Now) => void;

/** Decides one exchange again. */
function reviewer({ context: { evidence }, upstreams, contexts }: ReauthorizationOptions): Review {
  const refuse = (exchange: Exchange, at: Now, fault: Fault): void => {
    if (exchange.reason !== undefined) return;
    evidence.redecided(exchange, {
      effect: 'deny',
      code: fault.code,
      reason: fault.message,
      ...generations(at),
    });
    exchange.abort(fault);
  };

  return (exchange, authorization, at) => {
    const facts = factsNow(exchange, authorization, at.policy);
    if (facts instanceof Fault) {
      refuse(exchange, at, facts);
      return;
    }
    const identity =
      at.interlude === 'borne' ? authorization.identity : at.identityOf(exchange.agent);
    const decision = decide(at.policy, facts, identity?.svid.id);
    const fault = objection(exchange, decision, at, upstreams);
    if (fault !== undefined) {
      refuse(exchange, at, fault);
      return;
    }
    // Whom it reaches is not known yet: once it is, `connected` holds it against all of this again.
    if (exchange.upstream === undefined) return;
    if (
      decision.rule !== authorization.decision.rule ||
      decision.code !== authorization.decision.code
    ) {
      evidence.redecided(exchange, {
        effect: 'allow',
        code: decision.code,
        reason: decision.reason,
        ...generations(at),
      });
    }
    const { described, identity: shown } = authorization;
    exchange.authorization = { described, policy: at.policy, facts, decision, identity: shown };
    ignore(
      verifyAgain(exchange, at, contexts).then(
        (found) => found !== undefined && refuse(exchange, at, found),
      ),
      'a chain that cannot be read is a Fault that verifyAgain returns',
    );
  };
}

function nowOf(
  { policy: policies, identity: { states, of: identityOf }, clock }: ExchangeContext,
  interludeOf: (state: IdentityState | undefined) => Interlude,
): Now | undefined {
  const policy = policies.get();
  const state = states.get();
  if (policy === undefined) return undefined;
  return { policy, state, identityOf, interlude: interludeOf(state), now: clock.now() };
}

/** True if it has plainly lost its permission. */
function hasLost(
  { agent, authorization, task }: Exchange,
  { policy, state, identityOf }: Now,
): boolean {
  const before = authorization?.decision.destination;
  if (before === undefined) return false;
  const destination = policy.byName.get(before.name);
  if (destination === undefined || task?.open === false) return true;
  if (!needsIdentity(destination)) return false;
  return (
    state?.kind === 'withdrawn' || (state?.kind === 'current' && identityOf(agent) === undefined)
  );
}

/**
 * As the policy has them read now, with the task, whose grant and history may have changed since; a
 * Fault for what it would have refused to read.
 */
function factsNow(exchange: Exchange, { described }: Authorization, policy: Policy): Facts | Fault {
  const { task, reader } = exchange;
  try {
    const facts = reader?.reread(described, policy) ?? described.facts;
    if (task === undefined) return facts;
    return { ...facts, task: task.facts(policy.dataClasses, exchange) };
  } catch (failure) {
    const { message } = Fault.from(failure, 'internal');
    return new Fault('no-longer-allowed', message, {
      hint: 'the policy changed while this was under way',
    });
  }
}

function generations({ policy, state }: Now): {
  readonly policy: number;
  readonly identity: number;
} {
  return {
    policy: policy.generation,
    identity: state?.kind === 'current' ? state.identity.generation : 0,
  };
}

/**
 * Why the exchange may not go on, in the order in which it was allowed: policy, address, identity,
 * peer.
 */
function objection(
  exchange: Exchange,
  decision: Decision,
  at: Now,
  upstreams: Upstreams,
): Fault | undefined {
  const identity = at.identityOf(exchange.agent);
  const { authorization, upstream } = exchange;
  const { destination } = decision;
  if (decision.effect === 'deny' || destination === undefined || authorization === undefined) {
    return new Fault('no-longer-allowed', decision.reason, {
      hint: 'the policy changed while this was under way',
    });
  }
  if (needsIdentity(destination)) {
    // What reaches nobody yet is as good as new.
    const from = upstream === undefined ? ({ ...at, interlude: 'none' } as const) : at;
    const lost = identityLost(authorization.identity, identity, from);
    if (lost !== undefined) return lost;
  }
  if (upstream === undefined) return undefined;
  const before = authorization.decision.destination?.tls.mode;
  if (destination.tls.mode !== before) {
    return new Fault(
      'no-longer-allowed',
      `destination ${destination.name} now has tls.mode ${destination.tls.mode}`,
    );
  }
  const via = authorization.decision.destination?.via;
  if (destination.via?.text !== via?.text) {
    const now = destination.via?.text ?? 'no proxy';
    return new Fault(
      'no-longer-allowed',
      `destination ${destination.name} is now reached through ${now}`,
    );
  }
  const route = upstreams.route(destination, authorization.facts);
  const refused = upstreams.judge(route, upstream.ip);
  if (refused !== undefined) return new Fault('no-longer-allowed', refused.message);
  const peer = upstream.peer?.spiffeId;
  if (destination.tls.mode !== 'mtls' || peer === undefined) return undefined;
  if (!destination.tls.peers.some((pattern) => pattern.matches(peer))) {
    return new Fault(
      'no-longer-allowed',
      `${peer} is no longer a peer of destination ${destination.name}`,
    );
  }
  const anchors = identity?.bundles.get(trustDomainOf(peer))?.anchors ?? [];
  if (identity === undefined || anchors.length > 0) return undefined;
  return new Fault('no-trust-bundle', `the trust bundle of ${trustDomainOf(peer)} is gone`);
}

/**
 * Validates what the peer presented against the anchors of its trust domain as they are now, where
 * one that it may lead to is gone.
 */
async function verifyAgain(
  exchange: Exchange,
  at: Now,
  contexts: TlsContexts,
): Promise<Fault | undefined> {
  const { upstream } = exchange;
  const identity = at.identityOf(exchange.agent);
  const peer = upstream?.peer?.spiffeId;
  if (
    upstream?.tls === undefined ||
    upstream.identity === undefined ||
    peer === undefined ||
    identity === undefined
  )
    return undefined;
  const domain = trustDomainOf(peer);
  const left = new Set(
    identity.bundles.get(domain)?.anchors.map(({ fingerprint256 }) => fingerprint256),
  );
  const before = upstream.identity.bundles.get(domain)?.anchors ?? [];
  if (before.every(({ fingerprint256 }) => left.has(fingerprint256))) return undefined;
  try {
    const problem = await pathProblem(
      sentChain(upstream.tls, sideOf(domain)),
      contexts.anchors(identity, domain),
    );
    if (problem === undefined) return undefined;
    return new Fault(
      'no-trust-bundle',
      `the anchor that vouched for ${peer} is no longer in the bundle of ${domain} (${problem})`,
    );
  } catch (failure) {
    return Fault.from(failure, 'no-trust-bundle', `${peer} cannot be verified again`);
  }
}
