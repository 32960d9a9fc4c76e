/**
 * The story of every exchange, whichever way it came in: a request, a CONNECT, a raw connection. In
 * this order, and nowhere else:
 *   it is live before it is decided; it is described, judged and recorded before a byte leaves;
 *   then it is carried; whatever goes wrong becomes one
 *   Fault that the agent is told or sees as a cut; and it ends with exactly one `ended` record.
 */
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Turns } from '../base/turns.ts';
import { decide } from '../policy/decision/decide.ts';
import { transportOnly } from '../policy/model/access-matrix.ts';
import { matrixRow } from '../policy/protocols/index.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { EntryPoint, Facts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { callView } from '../policy/review/call-view.ts';
import type { Identity } from '../spiffe/identity.ts';
import type { Proof, Tasks } from '../tasks/registry.ts';
import type { Task } from '../tasks/task.ts';
import type { Identities } from '../upstream/identities.ts';
import { needsIdentity } from '../upstream/route.ts';
import type { Evidence } from './evidence.ts';
import { Exchange, type Judgement, type Transport } from './exchange.ts';
import { denial } from './fault-response.ts';
import type { Live } from './live-set.ts';
import type { Caller } from './shares.ts';

/** One way in: how it is read, carried and answered. */
export interface Arrival {
  readonly entry: EntryPoint;
  readonly transport: Transport;
  /** Who is at the other end. */
  readonly caller: Caller;
  /** The task that its socket belongs to. */
  readonly bound: Task | undefined;
  /** Proxy-Authorization, as it came. */
  credentials(): string | undefined;
  /** What that of the request before it on its connection proved. */
  readonly proof: Proof | undefined;
  /** From here on the exchange is aborted when the agent goes away. */
  begun(exchange: Exchange): void;
  /**
   * Reads what came, strictly; throws a Fault for what is malformed or ambiguous. `policy` says how
   * it is to be read. A promise only where a body must be read before anything can be decided.
   */
  describe(time: number, policy: Policy): Facts | Promise<Facts>;
  /**
   * What has to be asked of the upstream before what was described can be judged; undefined where
   * nothing has.
   */
  learn?(exchange: Exchange, facts: Facts, standing: Standing): Promise<Facts> | undefined;
  /**
   * Reads content of up to so many bytes, because it is part of what is decided; gives the facts
   * with it. undefined where there is none that could be read.
   */
  readContent?(exchange: Exchange, facts: Facts, unread: Unread): Promise<Facts>;
  /** Everything after the permission: reaches the upstream and relays, until both are done. */
  carry(exchange: Exchange, passage: Passage): Promise<void>;
  /** Tells the agent, or cuts it off where it was told something else already. Never throws. */
  fail(exchange: Exchange, fault: Fault): Promise<void>;
}

export interface Unread {
  readonly destination: Destination;
  /** Bytes. */
  readonly most: number;
}

/** What a permission comes to. */
export interface Passage {
  readonly destination: Destination;
  readonly facts: Facts;
  /** The identity to use; undefined where the destination's mode needs none. */
  readonly identity: Identity | undefined;
}

/** Where we stand: the sources an exchange reads once. */
export interface Standing {
  readonly policy: Cell<Policy>;
  readonly identity: Identities;
  readonly clock: Clock;
  readonly live: Live;
  readonly evidence: Evidence;
  /** What is decided in one turn of the event loop is bounded. */
  readonly turns: Turns;
  /** undefined: no task can be open. */
  readonly tasks: Pick<Tasks, 'authenticate' | 'claim' | 'stepUps'> | undefined;
}

export async function handle(arrival: Arrival, standing: Standing): Promise<void> {
  const { live, evidence, clock, turns } = standing;
  const { caller } = arrival;
  const exchange = new Exchange(arrival.entry, arrival.transport, clock.monotonic());
  let fault: Fault | undefined;
  // Before anything is read from policy or identity, so that a change after this line finds the
  // exchange.
  live.enter(exchange);
  exchange.agent = caller.agent;
  arrival.begun(exchange);
  try {
    const named = taskOf(arrival, standing);
    if (!(named instanceof Fault)) join(exchange, named);
    caller.enter(exchange);
    if (named instanceof Fault) await introduced(arrival, standing, named);
    const described = arrival.describe(clock.now(), policyNow(standing));
    const facts = described instanceof Promise ? await described : described;
    const learning = arrival.learn?.(exchange, facts, standing);
    const known = learning === undefined ? facts : await learning;
    if (turns.full) await turns.room();
    const began = performance.now();
    let judgement = judge(exchange, known, standing);
    turns.count(performance.now() - began);
    const { unread: most, destination } = judgement.decision;
    if (most !== undefined && destination !== undefined && arrival.readContent !== undefined)
      judgement = judge(
        exchange,
        await arrival.readContent(exchange, known, { destination, most }),
        standing,
      );
    if (judgement.decision.code === 'step-up') keepRefused(exchange, judgement, standing);
    exchange.judgement = judgement;
    await evidence.decided(exchange, judgement);
    exchange.throwIfAborted();
    await arrival.carry(exchange, admit(exchange, judgement, standing));
  } catch (failure) {
    // Whoever aborted it knows why; what that broke on the way does not.
    fault = exchange.reason ?? Fault.from(failure, 'internal');
    if (exchange.judgement === undefined) evidence.refused(exchange, fault);
    await arrival.fail(exchange, fault);
  } finally {
    live.leave(exchange);
    exchange.task?.leave(exchange);
    evidence.ended(exchange, fault);
    caller.leave(exchange);
  }
}

const FIELD = 'proxy-authorization';

/** A reference to a task that is there and is not that of a live task is never "no task". */
function taskOf(arrival: Arrival, { tasks }: Standing): Task | Fault | undefined {
  const { bound, caller } = arrival;
  const { agent } = caller;
  const credentials = arrival.credentials();
  if (credentials === undefined && bound === undefined) return undefined;
  try {
    const named =
      credentials === undefined ? bound : tasks?.authenticate(credentials, FIELD, arrival.proof);
    // The secret of another agent's task is worth nothing here.
    const own = agent === undefined || agent === named?.agent;
    if (own && named?.open === true && (bound === undefined || bound === named)) return named;
  } catch (failure) {
    return Fault.from(failure, 'internal');
  }
  const hint = 'use the proxyUrl of a live task, or take user and password out of the proxy URL';
  return new Fault('task-unknown', 'Proxy-Authorization names no live task', { hint, at: FIELD });
}

function join(exchange: Exchange, task: Task | undefined): void {
  if (task !== undefined) exchange.agent = task.agent;
  exchange.task = task;
  task?.enter(exchange);
}

/**
 * Refuses, once it is known how to: a client of MCP hands on an error that answers its request, and
 * looks no further at any other.
 */
async function introduced(arrival: Arrival, standing: Standing, fault: Fault): Promise<never> {
  try {
    await arrival.describe(standing.clock.now(), policyNow(standing));
  } catch {
    // Whatever else is wrong with it, it belongs to nobody.
  }
  throw fault;
}

/**
 * One policy and one identity, each read once, behind everything that had to be waited for; what
 * the decision takes of its task is taken in the same turn.
 */
function judge(exchange: Exchange, described: Facts, standing: Standing): Judgement {
  const { task, agent } = exchange;
  exchange.throwIfAborted();
  const judgement = judged(exchange, described, standing);
  const { decision } = judgement;
  const { destination, action, elevation, unused } = decision;
  if (decision.effect === 'allow' && destination !== undefined && action !== undefined)
    standing.tasks?.claim(exchange, { task, agent, destination, action, elevation, unused });
  return judgement;
}

/**
 * The decision at this moment, on what is read as its policy has it read; nothing is taken by it.
 */
export function judged(
  { task, agent, reader }: Exchange,
  read: Facts,
  standing: Standing,
): Judgement {
  const policy = policyNow(standing);
  const described = reader?.reread(read, policy) ?? read;
  const identity = standing.identity.of(agent);
  const facts =
    task === undefined ? described : { ...described, task: task.facts(policy.dataClasses) };
  return { policy, facts, decision: decide(policy, facts, identity?.svid.id), identity };
}

/** So that a question can name it. */
function keepRefused(
  { id, task }: Exchange,
  { decision, facts }: Judgement,
  { tasks }: Standing,
): void {
  const { destination, action, rule, parameters: digest } = decision;
  if (task === undefined || destination === undefined || action === undefined) return;
  tasks?.stepUps.refused(task, {
    id,
    action,
    destination: destination.name,
    rule,
    digest,
    view: callView(facts),
  });
}

function policyNow({ policy }: Standing): Policy {
  const now = policy.get();
  if (now !== undefined) return now;
  throw new Fault('shutting-down', 'no policy is loaded yet', {
    hint: 'see /readyz for what is awaited',
  });
}

/** The limits of the rule: its tools each for themselves, all other calls of it together. */
function occupyRule(
  exchange: Exchange,
  { decision, facts }: Pick<Judgement, 'decision' | 'facts'>,
  { live, clock }: Pick<Standing, 'live' | 'clock'>,
): void {
  const { destination, rule = '', limits } = decision;
  const what = facts.mcp?.tool === undefined ? `rule ${rule}` : `tool ${facts.mcp.tool}`;
  const name = `${what} of destination ${destination?.name ?? ''}`;
  if (limits?.rate !== undefined) exchange.share.rates.take(name, limits.rate, clock.monotonic());
  if (limits?.concurrent !== undefined) live.occupySecond(exchange, name, limits.concurrent);
}

function admit(
  exchange: Exchange,
  { decision, facts, identity }: Judgement,
  { identity: source, live, clock }: Standing,
): Passage {
  const { destination } = decision;
  if (decision.effect === 'deny' || destination === undefined) throw denial(decision);
  // The requests inside such a tunnel take their own places, times and identities.
  if (exchange.entry === 'connect' && transportOnly(matrixRow(facts, destination)))
    return { destination, facts, identity: undefined };
  const { rate } = destination.limits;
  if (rate !== undefined)
    exchange.share.rates.take(`destination ${destination.name}`, rate, clock.monotonic());
  live.occupy(exchange, destination);
  if (decision.limits !== undefined) occupyRule(exchange, { decision, facts }, { live, clock });
  exchange.lasts(destination.timeouts.total);
  if (!needsIdentity(destination)) return { destination, facts, identity: undefined };
  // The source has the words for why there is none, or none that is still valid.
  const usable =
    identity !== undefined && clock.now() < identity.svid.notAfter
      ? identity
      : source.current(exchange.agent);
  return { destination, facts, identity: usable };
}
