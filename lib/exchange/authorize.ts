/**
 * The permission of one exchange: the decision on its facts under one policy and one identity, each
 * read once; what the decision takes of its task; and the permit, without which nothing can be
 * forwarded and which only a decision to allow makes.
 */
import { decide } from '../policy/decision/decide.ts';
import { transportOnly } from '../policy/model/access-matrix.ts';
import type { Facts } from '../policy/model/facts.ts';
import { type Destination, matrixRow } from '../policy/protocols/index.ts';
import { callView } from '../policy/review/call-view.ts';
import type { Identity } from '../spiffe/identity.ts';
import { needsIdentity } from '../upstream/shown-identity.ts';
import { type ExchangeContext, currentPolicy } from './context.ts';
import type { Described } from './described.ts';
import type { Authorization, Exchange } from './exchange.ts';
import { denial } from './fault-response.ts';
import { acquireRuleSlot, acquireSlot } from './slots.ts';

class AllowedExchange {
  readonly destination: Destination;
  readonly facts: Facts;
  /** The identity to use; undefined where the destination needs none. */
  readonly identity: Identity | undefined;
  /** Makes the type nominal: no other value is a permit. */
  declare protected readonly allowed: true;

  constructor(destination: Destination, facts: Facts, identity?: Identity) {
    this.destination = destination;
    this.facts = facts;
    this.identity = identity;
  }
}

/** The right to forward one exchange. */
export type Permit = AllowedExchange;

/**
 * The decision at this moment, on what is read as its policy has it read; takes nothing.
 * @throws Fault the reason of an exchange that was aborted; for what the policy lets nobody send
 */
export function authorize(
  exchange: Exchange,
  described: Described,
  context: Pick<ExchangeContext, 'policy' | 'identity'>,
): Authorization {
  exchange.throwIfAborted();
  const { task, agent, reader } = exchange;
  const policy = currentPolicy(context);
  const identity = context.identity.of(agent);
  const read = reader?.reread(described, policy) ?? described.facts;
  const facts = task === undefined ? read : { ...read, task: task.facts(policy.dataClasses) };
  const decision = decide(policy, facts, identity?.svid.id);
  return { described, policy, facts, decision, identity };
}

/**
 * Takes what the decision takes of its task (calls, an approval, history), in the turn of the
 * decision; keeps what was refused for an approval, so that a question can name it.
 */
export function claim(
  exchange: Exchange,
  { decision, facts }: Authorization,
  { tasks }: Pick<ExchangeContext, 'tasks'>,
): void {
  const { id, task, agent } = exchange;
  const { destination, action, rule, effect, approval, unused, parameters: digest } = decision;
  if (destination === undefined || action === undefined) return;
  if (effect === 'allow')
    tasks?.claim(exchange, { task, agent, destination, action, approval, unused });
  else if (decision.code === 'step-up' && task !== undefined) {
    const { name } = destination;
    const view = callView(facts);
    tasks?.stepUps.refused(task, { id, action, destination: name, rule, digest, view });
  }
}

/**
 * The permit of what was allowed, once its rates and slots are acquired and its timeout runs.
 * @throws Fault the denial; `too-many`; `no-identity`, `identity-expired`
 */
export function permit(
  exchange: Exchange,
  { decision, facts, identity }: Authorization,
  context: Pick<ExchangeContext, 'identity' | 'clock'>,
): Permit {
  const { destination } = decision;
  if (decision.effect === 'deny' || destination === undefined) throw denial(decision);
  // The requests inside such a tunnel acquire their own slots, timeouts and identities.
  if (exchange.entry === 'connect' && transportOnly(matrixRow(facts, destination)))
    return new AllowedExchange(destination, facts);
  const { rate } = destination.limits;
  const now = context.clock.monotonic();
  if (rate !== undefined) exchange.share.rates.take(`destination ${destination.name}`, rate, now);
  acquireSlot(exchange, destination);
  if (decision.limits !== undefined) acquireRuleLimits(exchange, { decision, facts }, now);
  exchange.setTotalTimeout(destination.timeouts.total);
  if (!needsIdentity(destination)) return new AllowedExchange(destination, facts);
  return new AllowedExchange(destination, facts, usable(exchange, identity, context));
}

/** The source has the words for why there is no identity, or none that is still valid. */
function usable(
  { agent }: Exchange,
  identity: Identity | undefined,
  { identity: source, clock }: Pick<ExchangeContext, 'identity' | 'clock'>,
): Identity {
  return identity !== undefined && clock.now() < identity.svid.notAfter
    ? identity
    : source.current(agent);
}

/** Limits of the rule: each of its tools has its own, all other calls share one. */
function acquireRuleLimits(
  exchange: Exchange,
  { decision, facts }: Pick<Authorization, 'decision' | 'facts'>,
  now: number,
): void {
  const { destination, rule = '', limits } = decision;
  const subject = facts.mcp?.tool === undefined ? `rule ${rule}` : `tool ${facts.mcp.tool}`;
  const name = `${subject} of destination ${destination?.name ?? ''}`;
  if (limits?.rate !== undefined) exchange.share.rates.take(name, limits.rate, now);
  if (limits?.concurrent !== undefined) acquireRuleSlot(exchange, name, limits.concurrent);
}
