/**
 * The opening handshake of a WebSocket (RFC 6455 section 4), checked on both sides; what follows a
 * checked 101 is relayed as raw bytes. Rules:
 * - websocket wherever it is offered is served or denied; every other protocol is an offer,
 *   declined by going on in HTTP/1.1 (RFC 9110 section 7.8);
 * - the two handshakes are two: the upstream gets a key of our own, the agent an accept value
 *   computed here, so neither side's text is taken on trust;
 * - extensions are not offered on, because frames are not looked into.
 */
import { randomBytes } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import { agentCut, upstreamCut } from '../exchange/aborted.ts';
import type { Permit } from '../exchange/authorize.ts';
import { boundedAnswer } from '../exchange/counted-body.ts';
import type { DescribedWebSocket } from '../exchange/describe.ts';
import { plain } from '../exchange/evidence.ts';
import { idleOf } from '../exchange/exchange.ts';
import { DECISION_FIELD } from '../exchange/fault-response.ts';
import { type WebSocketOffer, acceptOf } from '../exchange/websocket-offer.ts';
import { type ResponseHead, fieldOf, fieldsOf } from '../http/message.ts';
import type { HandedOver } from '../http/server-exchange.ts';
import { abortSocket } from '../http1/sockets.ts';
import type { Destination } from '../policy/protocols/index.ts';
import { copyBothWays } from './copy.ts';
import { credentialed, release, respond } from './http.ts';
import { framingOf, requestFields } from './outgoing.ts';
import type { Relay } from './relay.ts';
import { send } from './send.ts';
import { ServerFrames } from './websocket-frames.ts';

export async function forward(
  described: DescribedWebSocket,
  permit: Permit,
  relay: Relay,
): Promise<void> {
  const { destination } = permit;
  if (destination.http2 === true) throw noWebSocket(destination);
  const { method, target } = described;
  const judged = await credentialed(permit, relay);
  const { key, accept } = webSocketKey();
  const fields = requestFields(described, judged, permit, relay);
  fields.push('sec-websocket-key', key);
  const framing = framingOf(undefined, relay.request.head);
  const head = { method, target, fields, framing, upgrade: 'websocket' };
  const sent = await send(described, permit, relay, { head, body: undefined, awaits: 'headers' });
  try {
    const response = boundedAnswer(sent.response, destination.limits.response);
    if (response.upgraded === undefined) await respond(relay, response, false);
    else
      await switchProtocols(described, relay, response.head, {
        upgraded: response.upgraded,
        accept,
      });
  } finally {
    release(sent, described, relay);
  }
}

interface Switched {
  readonly upgraded: HandedOver;
  /** Sec-WebSocket-Accept for our key. */
  readonly accept: string;
}

async function switchProtocols(
  { offer }: DescribedWebSocket,
  { exchange, request, context }: Relay,
  head: ResponseHead,
  { upgraded, accept }: Switched,
): Promise<void> {
  try {
    checkSwitch(head, accept, offer);
  } catch (failure) {
    abortSocket(upgraded.socket);
    throw failure;
  }
  exchange.status = 101;
  const fields = context.fields.response(head.fields);
  fields.push('sec-websocket-accept', offer.accept, DECISION_FIELD, exchange.id);
  const agent = request.upgrade({ status: 101, fields, length: undefined, upgrade: 'websocket' });
  exchange.enter('idle', idleOf(exchange), context.now());
  const frames = new ServerFrames();
  const words = (reason: Fault): Buffer | undefined => closeFor(reason, frames);
  await copyBothWays(
    { ...agent, count: (bytes) => (exchange.sent += bytes), cut: agentCut },
    {
      ...upgraded,
      count: (bytes) => (exchange.received += bytes),
      cut: upstreamCut,
      pass: (chunk) => frames.take(chunk),
    },
    { signal: exchange.signal, farewell: { ...context.farewell, words } },
  );
}

/** A key of our own for the upstream, with what it must answer. */
function webSocketKey(): { readonly key: string; readonly accept: string } {
  const key = randomBytes(16).toString('base64');
  return { key, accept: acceptOf(key) };
}

/**
 * Throws a Fault unless the upstream's 101 is the answer to our handshake (RFC 6455 section 4.1).
 */
function checkSwitch(head: ResponseHead, accept: string, offer: WebSocketOffer): void {
  const { fields } = head;
  if (fieldOf(fields, 'upgrade')?.toLowerCase() !== 'websocket')
    throw wrongSwitch('it does not switch to websocket');
  if (fieldOf(fields, 'sec-websocket-accept') !== accept)
    throw wrongSwitch('its accept value does not fit the key');
  if (fieldOf(fields, 'sec-websocket-extensions') !== undefined)
    throw wrongSwitch('it uses an extension that was not offered');
  const chosen = fieldsOf(fields, 'sec-websocket-protocol');
  if (chosen.length > 1 || chosen.some((name) => !offer.protocols.includes(name)))
    throw wrongSwitch('it chose a subprotocol that was not offered');
}

/** RFC 6455 section 7.4.1. */
const GOING_AWAY = 1001;
const POLICY_VIOLATION = 1008;

/**
 * The Close that tells an agent why we end its WebSocket; undefined where the upstream, or the
 * agent, has cut it.
 */
function closeFor({ code, message }: Fault, frames: ServerFrames): Buffer | undefined {
  if (code.startsWith('upstream-') || code === 'client-gone' || code === 'internal')
    return undefined;
  const ends = code === 'shutting-down' || code === 'timeout';
  return frames.close(ends ? GOING_AWAY : POLICY_VIOLATION, plain(message));
}

function wrongSwitch(problem: string): Fault {
  return new Fault(
    'upstream-malformed',
    `the upstream answered the WebSocket handshake wrongly: ${problem}`,
  );
}

function noWebSocket({ name }: Destination): Fault {
  const hint = 'no WebSocket is opened over HTTP/2: see upstream.http';
  return new Fault('upgrade-not-supported', `destination ${name} speaks HTTP/2 to its upstream`, {
    hint,
  });
}
