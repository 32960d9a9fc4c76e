/**
 * HTTP on one connection of an agent's, whatever brought it here: each request becomes an exchange,
 * and what cannot be parsed is refused with its own two records. Over HTTP/2 each stream is an
 * agent's connection of its own.
 */
import type { Duplex } from 'node:stream';
import type { Fault } from '../base/fault.ts';
import { ignore, onAbort } from '../base/signal.ts';
import type { AgentConnection } from '../exchange/agent-connection.ts';
import type { ExchangeContext } from '../exchange/context.ts';
import type { DescribedRequestHead, Reading } from '../exchange/describe.ts';
import { Exchange } from '../exchange/exchange.ts';
import { type Answer, faultAnswer } from '../exchange/fault-response.ts';
import { handle } from '../exchange/handle.ts';
import type { Caller } from '../exchange/shares.ts';
import type { ForwardContext } from '../forward/context.ts';
import { RequestInbound } from '../forward/request.ts';
import type { ConnectInbound } from '../forward/tunnel.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { RequestHead } from '../http/message.ts';
import type { Connection, HandedOver, ServerExchange } from '../http/server-exchange.ts';
import { serveConnection } from '../http1/server.ts';
import { serveHttp2 } from '../http2/server.ts';
import type { EntryPoint } from '../policy/model/facts.ts';
import type { Task } from '../tasks/task.ts';

export interface ServeParts {
  readonly context: ExchangeContext;
  readonly forward: ForwardContext;
  readonly limits: HttpLimits;
}

/** HTTP as it comes in by one listener or tunnel. */
export interface HttpEntry {
  readonly entry: EntryPoint;
  readonly describe: (head: RequestHead, reading: Reading) => DescribedRequestHead;
  /** Aborts when an idle connection should end and each answer is the last. */
  readonly closing: AbortSignal;
  /** Aborts when each answer is the last of its connection, though idle ones may stay. */
  readonly lastCall?: AbortSignal;
  /** The exchange of the CONNECT through which this connection came. */
  readonly tunnel?: string;
  /** The other end. */
  readonly caller: Caller;
  /** The task that the socket, or that CONNECT, belongs to. */
  readonly task?: Task | undefined;
  /** Serves a CONNECT; without it CONNECT is a method like any other. */
  readonly connect?: (request: ServerExchange, connection: AgentConnection) => ConnectInbound;
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
export function serveHttp(socket: Duplex, http: HttpEntry, parts: ServeParts): Promise<void> {
  const { limits, context } = parts;
  const { closing: draining, lastCall } = http;
  const { clock } = context;
  const refuse = refuser(http, context);
  const serve = { limits, clock, draining, lastCall, handle: exclusive(http, parts), refuse };
  if (http.http2 === undefined) return serveConnection(socket, serve);

  const streams = { limits, clock, draining, handle: shared(http, parts), refuse };
  if (http.http2 === 'agreed') return serveHttp2(socket, { ...streams, scheme: 'https' });
  if (http.http2 === 'known') return serveHttp2(socket, { ...streams, scheme: 'http' });
  const preface = ({ socket: taken, early }: HandedOver): void =>
    ignore(serveHttp2(taken, { ...streams, scheme: 'http' }, early), 'it never rejects');
  return serveConnection(socket, { ...serve, preface });
}

type Handle = (request: ServerExchange) => Promise<void>;

/** HTTP/1.1: the connection is one for all of its requests. */
function exclusive(http: HttpEntry, { context, forward }: ServeParts): Handle {
  const { entry, connect } = http;
  const connection = agentConnection(http, { credentials: undefined, task: undefined });
  let watched = false;
  return (request) => {
    if (!watched) {
      watched = true;
      // One listener a connection instead of one a request.
      onAbort(request.connection.signal, (reason) => connection.exchange?.abort(reason));
    }
    if (connect !== undefined && request.head.method === 'CONNECT')
      return handle(connect(request, connection), context);
    return handle(new RequestInbound(request, connection, entry, forward), context);
  };
}

/** HTTP/2: each stream is a connection of its own; all of them share what was proved. */
function shared(http: HttpEntry, { context, forward }: ServeParts): Handle {
  const proof = { credentials: undefined, task: undefined };
  return (request) => {
    const connection = agentConnection(http, proof);
    onAbort(request.connection.signal, (reason) => connection.exchange?.abort(reason));
    return handle(new RequestInbound(request, connection, http.entry, forward), context);
  };
}

function agentConnection(
  { describe, tunnel, caller, task }: HttpEntry,
  proof: AgentConnection['proof'],
): AgentConnection {
  return { exchange: undefined, describe, tunnel, caller, task, proof };
}

/** Answers and records what cannot be parsed. */
function refuser(
  { entry, tunnel, caller }: HttpEntry,
  { clock, evidence }: ExchangeContext,
): (fault: Fault, connection: Connection) => Answer {
  return (fault, connection) => {
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
}
