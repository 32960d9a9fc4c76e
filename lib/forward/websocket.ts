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
import { plain } from '../exchange/evidence.ts';
import { type WebSocketOffer, acceptOf } from '../exchange/websocket-offer.ts';
import { type ResponseHead, fieldOf, fieldsOf } from '../http/message.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { ServerFrames } from './websocket-frames.ts';

/** A key of our own for the upstream, with what it must answer. */
export function webSocketKey(): { readonly key: string; readonly accept: string } {
  const key = randomBytes(16).toString('base64');
  return { key, accept: acceptOf(key) };
}

/**
 * Throws a Fault unless the upstream's 101 is the answer to our handshake (RFC 6455 section 4.1).
 */
export function checkSwitch(head: ResponseHead, accept: string, offer: WebSocketOffer): void {
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
export function closeFor({ code, message }: Fault, frames: ServerFrames): Buffer | undefined {
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

export function noWebSocket({ name }: Destination): Fault {
  const hint = 'no WebSocket is opened over HTTP/2: see upstream.http';
  return new Fault('upgrade-not-supported', `destination ${name} speaks HTTP/2 to its upstream`, {
    hint,
  });
}
