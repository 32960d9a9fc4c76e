/**
 * A refusal told inside the tunnel. Most clients hide the answer to a refused CONNECT, and SDKs
 * take it for a broken network; inside their own TLS they show every word. Rules:
 * - only what policy denied, for hosts of `intercept.domains`; 407, malformed requests and limits
 *   are answered at the CONNECT;
 * - nothing is resolved or dialled; the first request is answered with the refusal, whatever it
 *   asks;
 * - it costs a handshake, so that there is a rate; past it the CONNECT itself is answered.
 */
import type { Duplex } from 'node:stream';
import type { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import { type Answer, faultAnswer } from '../exchange/fault-response.ts';
import { ALPN, HELLO_TIMEOUT, beginning, clientHello } from '../forward/client-hello.ts';
import { grpcRefusal, speaksGrpc } from '../forward/grpc-status.ts';
import type { RefusedTunnel } from '../forward/interceptor.ts';
import type { HandedOver, ServerExchange } from '../http/server-exchange.ts';
import { serveConnection } from '../http1/server.ts';
import { abortSocket } from '../http1/sockets.ts';
import { serveHttp2 } from '../http2/server.ts';
import type { Interception } from '../interception/authority.ts';
import { terminateTls } from '../interception/terminate.ts';
import type { ServeParts } from './serve.ts';

/** Handshakes for refusals: so many a second, and so many at once after a rest. */
const RATE = Object.freeze({ count: 10, per: 1000, burst: 50, text: '10/s' });

export interface InsideParts extends ServeParts {
  /** Undefined when this sidecar was started without `intercept`. */
  readonly interception: Interception | undefined;
}

/**
 * True if this refusal may be told inside: decided by policy, of a host that our CA covers, within
 * the rate.
 */
export function mayTellInside(
  { exchange, fault, host }: Omit<RefusedTunnel, 'accept'>,
  parts: InsideParts,
): boolean {
  const { interception, context } = parts;
  if (exchange.authorization?.decision.effect !== 'deny' || fault.http !== 403) return false;
  if (interception?.refusals !== 'inside' || !interception.covers(host)) return false;
  try {
    exchange.share.rates.take('refusals told inside tunnels', RATE, context.clock.monotonic());
    return true;
  } catch {
    return false;
  }
}

/** Settles when the agent was told or is gone; never rejects. */
export async function refuseInside(tunnel: RefusedTunnel, parts: InsideParts): Promise<void> {
  const { exchange } = tunnel;
  const { clock } = parts.context;
  const agent = tunnel.accept();
  const off = onAbort(exchange.signal, () => abortSocket(agent.socket));
  try {
    exchange.setTotalTimeout(clock.monotonic() - exchange.started + 2 * HELLO_TIMEOUT);
    exchange.enter('hello', HELLO_TIMEOUT, clock.monotonic());
    const { kind, early } = await beginning(agent, exchange.signal);
    const inside = { socket: agent.socket, early };
    if (kind === 'tls') await answerTls(tunnel, inside, parts);
    else {
      agent.socket.unshift(early);
      const answered = answer(
        tunnel,
        agent.socket,
        { http2: kind === 'http2', scheme: 'http' },
        parts,
      );
      agent.socket.resume();
      await answered;
    }
  } catch {
    // Who takes no handshake or says nothing hears nothing: the record has why it was refused.
    abortSocket(agent.socket);
  } finally {
    off();
  }
}

async function answerTls(
  tunnel: RefusedTunnel,
  inside: HandedOver,
  parts: InsideParts,
): Promise<void> {
  const { host, exchange } = tunnel;
  const { interception } = parts;
  if (interception === undefined) throw new TypeError('nothing can be told inside without a CA');
  const { signal } = exchange;
  inside.socket.unshift(await clientHello(inside, { host, ech: 'pass', signal }));
  const context = await interception.refusalContextFor(host);
  const socket = await terminateTls(inside.socket, { host, context, alpn: ALPN, signal });
  await answer(tunnel, socket, { http2: socket.alpnProtocol === 'h2', scheme: 'https' }, parts);
}

interface Spoken {
  readonly http2: boolean;
  readonly scheme: 'http' | 'https';
}

/** Answers the first request with the refusal and closes. */
async function answer(
  { exchange, fault }: RefusedTunnel,
  socket: Duplex,
  { http2, scheme }: Spoken,
  { limits, context }: InsideParts,
): Promise<void> {
  const closing = new AbortController();
  const handle = async (request: ServerExchange): Promise<void> => {
    const rule = exchange.authorization?.decision.rule;
    const refusal = faultAnswer(fault, { id: exchange.id, rule, fields: request.head.fields });
    exchange.toldInside = true;
    exchange.status = refusal.head.status;
    try {
      if (speaksGrpc(request)) await request.respond(grpcRefusal(fault, exchange).head);
      else await request.respond({ ...refusal.head, close: true }, refusal.body);
    } finally {
      closing.abort();
    }
  };
  const refuse = (unread: Fault): Answer => faultAnswer(unread, { id: exchange.id });
  const serve = { limits, clock: context.clock, draining: closing.signal, handle, refuse };
  if (http2) await serveHttp2(socket, { ...serve, scheme });
  else await serveConnection(socket, serve);
}
