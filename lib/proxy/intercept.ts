/**
 * Inside a CONNECT tunnel to an intercepted destination: the agent's TLS ends here, and each request comes in anew by the entry `intercept`. Rules:
 * - before the handshake goes on, the ClientHello must name the host of the CONNECT in the clear; the certificate shown is for that host and no other;
 * - each request, the second and the hundredth too, must be for the host and port of the CONNECT: anything else is 421;
 * - nothing is dialled for the tunnel itself; a request that is allowed dials as any other, and an upstream that cannot be verified is a 502 inside;
 * - where the handshake fails the tunnel is closed and recorded: there is no way around it.
 * The tunnel is an exchange of its own, with its two records; each request inside has its own two, which name the tunnel's.
 */
import { Fault } from '../base/fault.ts';
import { link, onAbort } from '../base/signal.ts';
import type { HandedOver } from '../http1/exchange.ts';
import { formatAuthority, type Authority } from '../policy/authority.ts';
import type { Interception } from '../tls/interception.ts';
import { terminateTls } from '../tls/terminate.ts';
import { cut } from './copy.ts';
import { describeIntercepted } from './describe.ts';
import type { Exchange } from './exchange.ts';
import { clientHello, HELLO_TIMEOUT } from './hello.ts';
import { serveHttp, type ServeParts } from './serve.ts';

/** What is spoken inside, in order of preference (RFC 7301). */
const ALPN: readonly string[] = Object.freeze(['h2', 'http/1.1']);

export interface Tunnel {
  readonly exchange: Exchange;
  /** Host and port of the CONNECT, as decided. */
  readonly authority: Authority;
  /** Aborts when idle connections should end. */
  readonly closing: AbortSignal;
  /** Answers the CONNECT and gives its socket. */
  readonly accept: () => HandedOver;
  /** From here on the exchange need not be told that the agent's socket closed. */
  readonly settled: () => void;
}

export interface Interceptor {
  /** Serves the tunnel until it is over. Throws a Fault, before `accept` where the host cannot be stood in for. */
  serve(tunnel: Tunnel): Promise<void>;
}

export interface InterceptorOptions extends ServeParts {
  /** Undefined when this sidecar was started without `intercept`. */
  readonly interception: Interception | undefined;
}

export function interceptor(options: InterceptorOptions): Interceptor {
  const { interception, standing, limits } = options;
  const { clock } = standing;
  return {
    async serve({ exchange, authority, closing, accept, settled }) {
      const { host } = authority;
      if (interception?.covers(host) !== true) throw notCovered(authority);
      const context = await interception.contextFor(host);
      exchange.throwIfAborted();
      const agent = accept();
      exchange.enter('handshake', HELLO_TIMEOUT, clock.monotonic());
      const early = await clientHello(agent, host, exchange.signal);
      agent.socket.unshift(early);
      // Whoever leaves in the middle of the handshake most likely does not trust us: that is for the handshake to say.
      settled();
      const socket = await terminateTls(agent.socket, { host, context, alpn: ALPN, signal: exchange.signal });
      exchange.enter('idle', Infinity, clock.monotonic());
      // What runs inside is cut for itself, and says why; then the connection goes.
      const inside = link(closing, exchange.signal);
      let cancel = (): void => {};
      const off = onAbort(exchange.signal, () => (cancel = clock.after(limits.farewellMs, () => cut(socket))));
      await serveHttp(
        socket,
        {
          entry: 'intercept',
          describe: (head, reading) => {
            exchange.throwIfAborted();
            return describeIntercepted(head, authority, reading);
          },
          closing: inside.signal,
          tunnel: exchange.id,
          agent: exchange.agent,
          task: exchange.task,
          http2: socket.alpnProtocol === 'h2' ? 'agreed' : undefined,
        },
        options,
      );
      off();
      cancel();
      inside[Symbol.dispose]();
      exchange.sent = socket.bytesRead;
      exchange.received = socket.bytesWritten;
      exchange.throwIfAborted();
    },
  };
}

function notCovered({ host, port }: Authority): Fault {
  const reason = `the sidecar was started without ${host} in intercept.domains: it cannot stand in for ${formatAuthority(host, port)}`;
  return new Fault('wrong-entry', reason, {
    hint: 'start the sidecar again: intercept.domains takes effect at the next start',
  });
}
