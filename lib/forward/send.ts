/**
 * A request on a verified connection to its upstream; again on another one where one that was kept
 * open turned out to be dead before it was used.
 */
import { Fault } from '../base/fault.ts';
import { refusedUs } from '../exchange/aborted.ts';
import type { Permit } from '../exchange/authorize.ts';
import type { CountedBody } from '../exchange/counted-body.ts';
import type { DescribedHead } from '../exchange/describe.ts';
import type { ClientResponse } from '../http/client.ts';
import type { Lease } from '../http/lease.ts';
import type { OutgoingRequest } from '../http/message.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { UpstreamConnection } from '../upstream/dial.ts';
import type { ConnectionUse } from '../upstream/pools.ts';
import type { Route } from '../upstream/route.ts';
import type { Relay } from './relay.ts';
import { Attempts, isIdempotent, repeatable } from './replay.ts';

export interface Sending {
  readonly head: OutgoingRequest;
  /** As it comes, or read whole because it was judged. */
  readonly body: CountedBody | Buffer | undefined;
  /**
   * `idle`: the head of the answer may come late. A stream of calls may be silent for long before;
   * its deadline bounds it, and `idle`.
   */
  readonly awaits: 'headers' | 'idle';
}

export interface Sent {
  readonly lease: Lease<UpstreamConnection>;
  readonly response: ClientResponse;
}

export async function send(
  described: DescribedHead,
  permit: Permit,
  relay: Relay,
  { head, body: whole, awaits }: Sending,
): Promise<Sent> {
  const { exchange, request, context } = relay;
  const { destination } = permit;
  const { timeouts } = destination;
  const route = context.upstreams.route(destination, permit.facts);
  const body = repeatable(whole, destination);
  let attempts: Attempts | undefined;
  for (;;) {
    const once = attempts !== undefined || !isIdempotent(head.method, body);
    const use = { task: exchange.task?.id, once };
    const idle = context.upstreams.take(route, permit.identity, use);
    const lease = idle ?? (await acquire(route, permit, relay, use));
    exchange.upstream = lease.info;
    try {
      exchange.throwIfAborted();
      context.reauthorize(exchange);
      requireSame(permit.facts, exchange.authorization?.facts);
      if (described.continues && !request.answered) request.inform(100, []);
      exchange.enter(awaits, timeouts[awaits], context.now());
      relay.connection = lease.connection;
      return { lease, response: await lease.connection.request(head, body, relay) };
    } catch (failure) {
      relay.connection = undefined;
      lease.discard(Fault.from(failure, 'internal'));
      // An upstream that keeps a deadline itself may cut the request before the clock is read here.
      const over = exchange.reason ?? exchange.overdue(context.now());
      attempts ??= new Attempts(head.method, body);
      const again =
        over === undefined && !request.connection.gone && attempts.again(failure, lease.fresh);
      if (!again) throw over ?? refusedUs(failure, route.matched);
    }
  }
}

function acquire(
  route: Route,
  { identity, destination }: Permit,
  { exchange, context }: Relay,
  use: ConnectionUse,
): Promise<Lease<UpstreamConnection>> {
  exchange.enter('connect', destination.timeouts.connect, context.now());
  const { signal, agent } = exchange;
  return context.upstreams.acquire(route, identity, { ...use, signal, agent });
}

/**
 * @throws Fault where a policy that came since would have other fields sent than those that are
 *         about to be
 */
function requireSame({ http: sent }: Facts, judged: Facts | undefined): void {
  const now = judged?.http;
  if (sent === now || sent === undefined || now === undefined) return;
  const { fields } = now;
  if (sent.fields.length === fields.length && sent.fields.every((text, i) => text === fields[i]))
    return;
  const reason = 'the policy changed, before the request was sent, which of its fields are';
  throw new Fault('no-longer-allowed', reason, { hint: 'send it again' });
}
