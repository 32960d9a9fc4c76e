/**
 * HTTP on one connection of an agent's, whatever brought it here: each request becomes an exchange,
 * and what cannot be parsed is refused with its own two records. Over HTTP/2 each stream is an
 * agent's connection of its own.
 */
import type { Duplex } from 'node:stream';
import type { Fault } from '../base/fault.ts';
import { ignore, onAbort } from '../base/signal.ts';
import type { AgentConnection } from '../exchange/agent-connection.ts';
import type { Described, Reading } from '../exchange/describe.ts';
import { Exchange } from '../exchange/exchange.ts';
import { type Answer, faultAnswer } from '../exchange/fault-response.ts';
import { type Arrival, type Standing, handle } from '../exchange/handle.ts';
import type { Caller } from '../exchange/shares.ts';
import { type RelayParts, RequestArrival } from '../forward/http.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { RequestHead } from '../http/message.ts';
import type { Connection, HandedOver, ServerExchange } from '../http/server-exchange.ts';
import { serveConnection } from '../http1/server.ts';
import { serveHttp2 } from '../http2/server.ts';
import type { EntryPoint } from '../policy/model/facts.ts';
import type { Task } from '../tasks/task.ts';

export interface ServeParts {
  readonly standing: Standing;
  readonly relay: RelayParts;
  readonly limits: HttpLimits;
}

/** The way in. */
export interface Door {
  readonly entry: EntryPoint;
  readonly describe: (head: RequestHead, reading: Reading) => Described;
  /** Aborts when an idle connection should end and each answer is the last. */
  readonly closing: AbortSignal;
  /** Aborts when each answer is the last of its connection, though idle ones may stay. */
  readonly lastCall?: AbortSignal;
  /** The exchange of the CONNECT through which this connection came. */
  readonly tunnel?: string;
  /** Who is at the other end. */
  readonly caller: Caller;
  /** The task that the socket, or that CONNECT, belongs to. */
  readonly task?: Task | undefined;
  /** What a CONNECT becomes; without it CONNECT is a method like any other. */
  readonly connect?: (x: ServerExchange, from: AgentConnection) => Arrival;
  /**
   * `agreed` by ALPN, `known` from bytes that were looked at, or where the agent begins with its
   * `preface`; never without it.
   */
  readonly http2?: 'agreed' | 'known' | 'preface' | undefined;
}

/**
 * Serves the connection; never rejects. Settles when it is closed, or handed over to something that
 * was told of it.
 */
export function serveHttp(
  socket: Duplex,
  door: Door,
  { standing, relay, limits }: ServeParts,
): Promise<void> {
  const { clock, evidence } = standing;
  const { entry, closing: draining, lastCall, connect, tunnel, describe, caller, task } = door;
  const proof = { credentials: undefined, task: undefined };
  const agent: AgentConnection = { exchange: undefined, describe, tunnel, caller, task, proof };
  let watched = false;
  const arrive = (x: ServerExchange): Promise<void> => {
    if (!watched) {
      watched = true;
      // One listener a connection instead of one a request.
      onAbort(x.connection.signal, (reason) => agent.exchange?.abort(reason));
    }
    const tunnelled = connect !== undefined && x.head.method === 'CONNECT';
    return handle(
      tunnelled ? connect(x, agent) : new RequestArrival(x, agent, entry, relay),
      standing,
    );
  };
  const refuse = (fault: Fault, connection: Connection): Answer => {
    const exchange = new Exchange(entry, connection, clock.monotonic());
    exchange.tunnel = tunnel;
    exchange.agent = caller.agent;
    exchange.share = caller.share;
    const answer = faultAnswer(fault, exchange);
    exchange.status = answer.head.status;
    evidence.refused(exchange, fault);
    evidence.ended(exchange, fault);
    return answer;
  };
  const serve = { limits, clock, draining, lastCall, handle: arrive, refuse };
  if (door.http2 === undefined) return serveConnection(socket, serve);

  const stream = (x: ServerExchange): Promise<void> => {
    const from: AgentConnection = { exchange: undefined, describe, tunnel, caller, task, proof };
    onAbort(x.connection.signal, (reason) => from.exchange?.abort(reason));
    return handle(new RequestArrival(x, from, entry, relay), standing);
  };
  const streams = { limits, clock, draining, handle: stream, refuse };
  if (door.http2 === 'agreed') return serveHttp2(socket, { ...streams, scheme: 'https' });
  if (door.http2 === 'known') return serveHttp2(socket, { ...streams, scheme: 'http' });
  const preface = ({ socket: taken, early }: HandedOver): void =>
    ignore(serveHttp2(taken, { ...streams, scheme: 'http' }, early), 'it never rejects');
  return serveConnection(socket, { ...serve, preface });
}
