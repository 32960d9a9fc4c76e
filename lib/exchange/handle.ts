/**
 * The story of every exchange, whichever way it came in: a request, a CONNECT, a raw connection. In
 * this order, and nowhere else:
 * - it enters the live set before anything is decided;
 * - describe, authorize, claim, record, forward: no byte leaves before the record is written;
 * - whatever fails becomes one Fault, which is the answer or a connection cut;
 * - it ends with exactly one `ended` record.
 */
import { Fault } from '../base/fault.ts';
import type { Task } from '../tasks/task.ts';
import { authorize, claim, permit } from './authorize.ts';
import { type ExchangeContext, currentPolicy } from './context.ts';
import type { Authorization, Exchange } from './exchange.ts';
import type { Described } from './described.ts';
import type { InboundExchange } from './inbound.ts';
import { releaseSlots } from './slots.ts';

export async function handle<D extends Described>(
  inbound: InboundExchange<D>,
  context: ExchangeContext,
): Promise<void> {
  const { exchange } = inbound;
  const { live, evidence, clock, turns } = context;
  let described: D | undefined;
  let fault: Fault | undefined;
  // Before policy or identity is read, so that any later change finds the exchange.
  live.enter(exchange);
  try {
    const unknownTask = identify(inbound, context);
    if (unknownTask !== undefined) {
      described = await describeUnknown(inbound, context);
      throw unknownTask;
    }
    const reading = inbound.describe(clock.now(), currentPolicy(context));
    described = reading instanceof Promise ? await reading : reading;
    if (described.fault !== undefined) throw described.fault;
    const learning = inbound.learn?.(described, context);
    if (learning !== undefined) described = await learning;
    if (turns.full) await turns.room();
    let authorization = authorizeCounted(exchange, described, context);
    const content = contentToRead(inbound, described, authorization);
    if (content !== undefined) {
      described = await content;
      authorization = authorize(exchange, described, context);
    }
    claim(exchange, authorization, context);
    exchange.authorization = authorization;
    await evidence.decided(exchange, authorization);
    exchange.throwIfAborted();
    await inbound.forward(described, permit(exchange, authorization, context));
  } catch (failure) {
    // The reason of an abort comes first: what the abort broke is no reason.
    fault = exchange.reason ?? Fault.from(failure, 'internal');
    if (exchange.authorization === undefined) evidence.refused(exchange, fault);
    await inbound.reject(fault, described);
  } finally {
    end(inbound, context, fault);
  }
}

const FIELD = 'proxy-authorization';

/**
 * Finds the task and joins it, and counts the exchange for its agent; returns the Fault of a
 * reference to a task that is not that of a live one, which is never "no task".
 * @throws Fault `too-many`
 */
function identify<D extends Described>(
  inbound: InboundExchange<D>,
  context: ExchangeContext,
): Fault | undefined {
  const { exchange, connection } = inbound;
  exchange.agent = connection.caller.agent;
  const task = taskOf(inbound, context);
  if (!(task instanceof Fault)) join(exchange, task);
  connection.caller.enter(exchange);
  return task instanceof Fault ? task : undefined;
}

function taskOf<D extends Described>(
  inbound: InboundExchange<D>,
  { tasks }: ExchangeContext,
): Task | Fault | undefined {
  const { caller, task: bound, proof } = inbound.connection;
  const { agent } = caller;
  const credentials = inbound.credentials();
  if (credentials === undefined && bound === undefined) return undefined;
  try {
    const named =
      credentials === undefined ? bound : tasks?.authenticate(credentials, FIELD, proof);
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
 * Reads the request before refusing it: MCP clients need a JSON-RPC error with the request's id.
 * Another fault of it is no reason: it belongs to nobody.
 */
async function describeUnknown<D extends Described>(
  inbound: InboundExchange<D>,
  context: ExchangeContext,
): Promise<D | undefined> {
  try {
    return await inbound.describe(context.clock.now(), currentPolicy(context));
  } catch {
    return undefined;
  }
}

/** One policy and one identity, read behind everything that had to be waited for. */
function authorizeCounted(
  exchange: Exchange,
  described: Described,
  context: ExchangeContext,
): Authorization {
  const began = performance.now();
  const authorization = authorize(exchange, described, context);
  context.turns.count(performance.now() - began);
  return authorization;
}

function contentToRead<D extends Described>(
  inbound: InboundExchange<D>,
  described: D,
  { decision: { unread: limit, destination } }: Authorization,
): Promise<D> | undefined {
  if (limit === undefined || destination === undefined) return undefined;
  return inbound.readContent?.(described, { destination, limit });
}

function end<D extends Described>(
  { exchange, connection }: InboundExchange<D>,
  { live, evidence }: ExchangeContext,
  fault: Fault | undefined,
): void {
  live.leave(exchange);
  releaseSlots(exchange);
  exchange.task?.exit(exchange);
  evidence.ended(exchange, fault);
  connection.caller.leave(exchange);
}
