/**
 * gRPC over HTTP/2 (the protocol page of the gRPC project, PROTOCOL-HTTP2), as far as it is more
 * than HTTP:
 * - a call is POST with content type `application/grpc`, over HTTP/2; its `grpc-timeout` is a
 *   deadline of the exchange;
 * - what ends a call here is told in its own words (grpc-status.ts);
 * - trailers of the upstream are the agent's: they hold the status.
 */
import { Fault } from '../base/fault.ts';
import type { Permit } from '../exchange/authorize.ts';
import { CountedBody, boundedAnswer } from '../exchange/counted-body.ts';
import { type Exchange, idleOf } from '../exchange/exchange.ts';
import { DECISION_FIELD } from '../exchange/fault-response.ts';
import type { ClientResponse } from '../http/client.ts';
import { type Body, type Fields, fieldsOf } from '../http/message.ts';
import type { ServerExchange } from '../http/server-exchange.ts';
import type { DescribedGrpc } from './described.ts';
import { noteStatus, speaksGrpc, statusFields } from './grpc-status.ts';
import { credentialed, release, unaskedSwitch, upload } from './http.ts';
import { framingOf, requestFields } from './outgoing.ts';
import type { Relay } from './relay.ts';
import { send } from './send.ts';

export async function forward(
  described: DescribedGrpc,
  permit: Permit,
  relay: Relay,
): Promise<void> {
  const { exchange, request } = relay;
  if (described.timeout !== undefined) exchange.setClientDeadline(described.timeout);
  const body = described.content ?? upload(permit, relay);
  const { method, target } = described;
  const judged = await credentialed(permit, relay);
  const fields = requestFields(described, judged, permit, relay);
  fields.push('te', 'trailers');
  const head = { method, target, fields, framing: framingOf(body, request.head) };
  const sent = await send(described, permit, relay, { head, body, awaits: 'idle' });
  try {
    const response = boundedAnswer(sent.response, permit.destination.limits.response);
    if (response.upgraded !== undefined) throw unaskedSwitch(response);
    await answerCall(relay, response);
  } finally {
    release(sent, described, relay);
  }
}

async function answerCall(relay: Relay, { head, body: received }: ClientResponse): Promise<void> {
  const { exchange, request, context } = relay;
  const fields = relay.answer(head);
  fields.push(DECISION_FIELD, exchange.id);
  exchange.enter('idle', idleOf(exchange), context.now());
  noteStatus(exchange, head.fields);
  const counted = new CountedBody(received, (bytes) => (exchange.received += bytes));
  const body = new CallBody(counted, exchange, context.now);
  await request.respond({ status: head.status, fields, length: undefined, trailers: true }, body);
  if (body.fault !== undefined) throw body.fault;
}

/**
 * Milliseconds that a call to a gRPC destination gives itself, if it does. Throws a Fault for what
 * is no call or has a deadline that is none.
 */
export function callTimeout(request: ServerExchange): number | undefined {
  if (!speaksGrpc(request)) {
    const hint = 'send content-type: application/grpc';
    throw new Fault(
      'unsupported-media',
      'a call to a gRPC destination has the content type application/grpc',
      {
        hint,
        at: 'content-type',
      },
    );
  }
  const [said, more] = fieldsOf(request.head.fields, 'grpc-timeout');
  if (said === undefined) return undefined;
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(said) ?? [];
  if (digits === undefined || more !== undefined)
    throw new Fault('malformed', 'grpc-timeout is no timeout', { at: 'grpc-timeout' });
  return Math.ceil(Number(digits) * (UNITS[unit] ?? 0));
}

/** In milliseconds. */
const UNITS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1000,
  m: 1,
  u: 0.001,
  n: 0.000_001,
};

/**
 * The answer to a call as it comes from the upstream. Where it breaks off it is ended with the
 * status of the Fault instead, which a client can tell from every other end; `fault` then says what
 * happened.
 */
class CallBody implements Body {
  readonly length = undefined;
  fault: Fault | undefined;
  readonly #body: Body;
  readonly #exchange: Exchange;
  readonly #now: () => number;

  constructor(body: Body, exchange: Exchange, now: () => number) {
    this.#now = now;
    this.#body = body;
    this.#exchange = exchange;
  }

  poll(): Buffer | 'end' | 'later' {
    if (this.fault !== undefined) return 'end';
    try {
      return this.#body.poll();
    } catch (failure) {
      return this.#brokenOff(failure);
    }
  }

  async ready(): Promise<void> {
    try {
      await this.#body.ready();
    } catch (failure) {
      this.#brokenOff(failure);
    }
  }

  trailers(): Fields {
    if (this.fault !== undefined) return statusFields(this.fault, this.#exchange);
    const fields = this.#body.trailers();
    noteStatus(this.#exchange, fields);
    return fields.filter((_, i) => fields[i - (i % 2)]?.startsWith('chaperone-') !== true);
  }

  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }

  #brokenOff(failure: unknown): 'end' {
    const exchange = this.#exchange;
    this.fault =
      exchange.reason ?? exchange.overdue(this.#now()) ?? Fault.from(failure, 'internal');
    if (this.fault.code === 'client-gone') throw this.fault;
    return 'end';
  }
}
