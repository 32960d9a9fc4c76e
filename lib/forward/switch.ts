/** A request whose answer switched to WebSocket: frames both ways, until one side ends. */
import { Fault } from '../base/fault.ts';
import { agentCut, upstreamCut } from '../exchange/aborted.ts';
import type { Described } from '../exchange/describe.ts';
import { type Exchange, idleOf } from '../exchange/exchange.ts';
import { DECISION_FIELD } from '../exchange/fault-response.ts';
import type { FieldRules } from '../exchange/headers.ts';
import type { ClientResponse } from '../http/client.ts';
import type { ServerExchange } from '../http/server-exchange.ts';
import { abortSocket } from '../http1/sockets.ts';
import { type Farewell, copyBothWays } from './copy.ts';
import { ServerFrames } from './websocket-frames.ts';
import { checkSwitch, closeFor } from './websocket.ts';

interface Switch {
  readonly described: Described;
  /** Sec-WebSocket-Accept that belongs to our key. */
  readonly accept: string;
  readonly x: ServerExchange;
  readonly parts: {
    readonly fields: FieldRules;
    readonly now: () => number;
    readonly farewell: Farewell;
  };
}

/** @throws Fault `upstream-malformed` */
export async function switchProtocols(
  exchange: Exchange,
  { head, upgraded }: ClientResponse,
  { described, accept, x, parts }: Switch,
): Promise<void> {
  const { webSocket } = described;
  if (upgraded === undefined || webSocket === undefined)
    throw new Fault('upstream-malformed', 'the upstream switched protocols unasked');
  try {
    checkSwitch(head, accept, webSocket);
  } catch (failure) {
    abortSocket(upgraded.socket);
    throw failure;
  }
  exchange.status = 101;
  const fields = parts.fields.response(head.fields);
  fields.push('sec-websocket-accept', webSocket.accept, DECISION_FIELD, exchange.id);
  const agent = x.upgrade({ status: 101, fields, length: undefined, upgrade: 'websocket' });
  exchange.enter('idle', idleOf(exchange), parts.now());
  const frames = new ServerFrames();
  await copyBothWays(
    { ...agent, count: (bytes) => (exchange.sent += bytes), cut: agentCut },
    {
      ...upgraded,
      count: (bytes) => (exchange.received += bytes),
      cut: upstreamCut,
      pass: (chunk) => frames.take(chunk),
    },
    {
      signal: exchange.signal,
      farewell: { ...parts.farewell, words: (reason) => closeFor(reason, frames) },
    },
  );
}
