/** An offer of WebSocket (RFC 6455 section 4.1), read from the head of a request. */
import { createHash } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import { type Fields, type RequestHead, fieldOf, fieldsOf } from '../http/message.ts';

export interface WebSocketOffer {
  /** Sec-WebSocket-Accept for the agent. */
  readonly accept: string;
  /** Subprotocols offered, as sent. */
  readonly protocols: readonly string[];
}

/**
 * The handshake a request makes; undefined where it offers no WebSocket. Throws a Fault for one
 * that is malformed.
 */
export function webSocketOffer({
  method,
  minor,
  fields,
  framing,
}: RequestHead): WebSocketOffer | undefined {
  const offers = fieldsOf(fields, 'upgrade');
  if (offers.length === 0) return undefined;
  const nominated = fieldsOf(fields, 'connection').some((value) =>
    /(^|,)\s*upgrade\s*(,|$)/i.test(value),
  );
  // Not for this hop (RFC 9110 section 7.8): it goes no further, and the request is an ordinary
  // one.
  if (!nominated || minor === 0) return undefined;
  if (!offers.flatMap(list).some((protocol) => protocol.toLowerCase() === 'websocket'))
    return undefined;
  if (method !== 'GET') throw malformed('its method is not GET');
  if (framing.kind === 'chunked' || (framing.kind === 'length' && framing.length > 0))
    throw malformed('it has a body');
  if (fieldOf(fields, 'sec-websocket-version') !== '13') throw malformed('its version is not 13');
  const keys = fieldsOf(fields, 'sec-websocket-key');
  const key = keys[0] ?? '';
  if (keys.length !== 1 || !/^[A-Za-z0-9+/]{22}==$/.test(key))
    throw malformed('its key is not 16 bytes in base64');
  return {
    accept: acceptOf(key),
    protocols: fieldsOf(fields, 'sec-websocket-protocol').flatMap(list),
  };
}

function list(value: Fields[number]): readonly string[] {
  return value
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

function malformed(problem: string): Fault {
  return new Fault('malformed', `the WebSocket handshake is malformed: ${problem}`, {
    hint: 'see RFC 6455 section 4.1',
    at: 'upgrade',
  });
}

export function acceptOf(key: string): string {
  return createHash('sha1')
    .update(key + GUID)
    .digest('base64');
}

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';
