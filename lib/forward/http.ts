/**
 * One request to an HTTP destination and its answer. What goes out is written anew from what was
 * judged; the answer comes first and the upload runs beside it, so that an early refusal reaches
 * the agent. Both bodies pass as they come, with back-pressure, and nothing is held to fill a
 * buffer.
 */
import { Fault } from '../base/fault.ts';
import type { Permit } from '../exchange/authorize.ts';
import { CountedBody, bodyTooLarge, boundedAnswer } from '../exchange/counted-body.ts';
import type { DescribedHead, DescribedHttp } from '../exchange/describe.ts';
import { idleOf } from '../exchange/exchange.ts';
import { DECISION_FIELD } from '../exchange/fault-response.ts';
import type { ClientResponse } from '../http/client.ts';
import type { Body, Fields, OutgoingResponse } from '../http/message.ts';
import { abortSocket } from '../http1/sockets.ts';
import { hasContentOnGet } from '../policy/protocols/http-rules.ts';
import { EventStream, isEventStream } from './event-stream.ts';
import { withCredential } from './outbound.ts';
import { framingOf, lengthFor, requestFields } from './outgoing.ts';
import type { Relay } from './relay.ts';
import { type Sent, send } from './send.ts';

export async function forward(
  described: DescribedHttp,
  permit: Permit,
  relay: Relay,
): Promise<void> {
  const body = described.content ?? upload(permit, relay);
  const credential = permit.destination.credential !== undefined;
  const fields = credential ? await credentialed(permit, relay) : judgedFields(permit);
  const { method, target } = described;
  const head = {
    method,
    target,
    fields: requestFields(described, fields, permit, relay),
    framing: framingOf(body, relay.request.head),
  };
  const sent = await send(described, permit, relay, { head, body, awaits: 'headers' });
  try {
    const response = boundedAnswer(sent.response, permit.destination.limits.response);
    if (response.upgraded !== undefined) throw unaskedSwitch(response);
    await respond(relay, response, body instanceof CountedBody && !body.ended);
  } finally {
    release(sent, described, relay);
  }
}

/** The judged fields, with the credential of the destination in place of what the agent sent. */
export function credentialed(permit: Permit, { exchange, context }: Relay): Promise<Fields> {
  return withCredential(judgedFields(permit), exchange, permit, context);
}

function judgedFields({ facts }: Permit): Fields {
  return facts.http?.fields ?? NONE;
}

const NONE: Fields = Object.freeze([]);

/** The request's body, bounded; undefined where there is none. @throws Fault `body-too-large` */
export function upload({ destination }: Permit, relay: Relay): CountedBody | undefined {
  const { exchange, request } = relay;
  const { framing } = request.head;
  const limit = destination.limits.body ?? Infinity;
  if (framing.kind === 'none' || (framing.kind === 'length' && framing.length === 0))
    return undefined;
  if (framing.kind === 'length' && framing.length > limit) throw bodyTooLarge(limit);
  const body = new CountedBody(request.body, (bytes) => (exchange.sent += bytes), limit);
  exchange.sends(body, destination.timeouts.idle);
  request.connection.bodyPause = Infinity;
  return body;
}

/** `close`: the answer came before the end of the request, whose rest is not wanted. */
export function respond(
  relay: Relay,
  { head, body }: ClientResponse,
  close: boolean,
): Promise<void> {
  const { exchange, request, context } = relay;
  const fields = relay.answer(head);
  fields.push(DECISION_FIELD, exchange.id);
  exchange.enter('idle', idleOf(exchange), context.now());
  const counted = new CountedBody(body, (bytes) => (exchange.received += bytes));
  const length = lengthFor(request.head.method, head);
  const answer = { status: head.status, fields, length, close };
  if (length !== undefined || !isEventStream(head.fields)) return request.respond(answer, counted);
  return respondEvents(relay, answer, counted);
}

export async function respondEvents(
  relay: Relay,
  answer: OutgoingResponse,
  body: Body,
): Promise<void> {
  const { exchange, request, context } = relay;
  const comments = exchange.authorization?.decision.destination?.timeouts.keepAlive;
  relay.events = new EventStream(body, { exchange, comments, clock: context.farewell.clock });
  await request.respond(answer, relay.events);
  if (exchange.inOrder) exchange.throwIfAborted();
}

/** Gives the connection back; servers differ on whether the content of a GET ends its request. */
export function release({ lease }: Sent, { facts }: DescribedHead, relay: Relay): void {
  relay.connection = undefined;
  if (hasContentOnGet(facts.http))
    lease.discard(new Fault('aborted', 'a GET with content was sent on it'));
  else lease.release();
}

/** The Fault of an upstream that switched to another protocol by itself; its connection is cut. */
export function unaskedSwitch({ upgraded }: ClientResponse): Fault {
  if (upgraded !== undefined) abortSocket(upgraded.socket);
  return new Fault('upstream-malformed', 'the upstream switched protocols unasked');
}
