/**
 * Inside a CONNECT tunnel to a destination whose requests are judged. The first bytes say what is
 * there: TLS of an intercepted destination ends here, and each request comes in anew by the entry
 * `intercept`; HTTP in the clear comes in by `cleartext`, but not where the port means TLS. Rules:
 * - before the handshake goes on, the ClientHello must name the host of the CONNECT in the clear;
 *   the certificate shown is for that host and no other;
 * - each request, the second and the hundredth too, must be for the host and port of the CONNECT:
 *   anything else is 421;
 * - nothing is dialled for the tunnel itself; a request that is allowed dials as any other, and an
 *   upstream that cannot be verified is a 502 inside;
 * - where the handshake fails the tunnel is closed and recorded: there is no way around it;
 * - TLS to a destination that is not intercepted gets an alert and goes no further.
 * The tunnel is an exchange of its own, with its two records; each request inside has its own two,
 * which name the tunnel's.
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { link, onAbort } from '../base/signal.ts';
import { type Reading, describeCleartext, describeIntercepted } from '../exchange/describe.ts';
import { ALPN, HELLO_TIMEOUT, beginning, clientHello } from '../forward/client-hello.ts';
import type { Interceptor, Tunnel } from '../forward/interceptor.ts';
import type { RequestHead } from '../http/message.ts';
import type { HandedOver } from '../http/server-exchange.ts';
import { abortSocket } from '../http1/sockets.ts';
import type { TlsContext } from '../interception/authority.ts';
import { terminateTls } from '../interception/terminate.ts';
import { type Authority, formatAuthority } from '../net/authority.ts';
import { HTTPS_PORT } from '../policy/model/access-matrix.ts';
import { type InsideParts, mayTellInside, refuseInside } from './refuse-inside.ts';
import { type HttpEntry, serveHttp } from './serve.ts';

export function interceptor(options: InsideParts): Interceptor {
  const { clock } = options.context;
  return {
    async serve(tunnel) {
      const { exchange, authority, destination } = tunnel;
      const context = destination.tls.intercept ? await contextFor(authority, options) : undefined;
      exchange.throwIfAborted();
      const agent = tunnel.accept();
      exchange.enter('hello', HELLO_TIMEOUT, clock.monotonic());
      const { kind, early } = await beginning(agent, exchange.signal);
      const inside = { socket: agent.socket, early };
      if (kind !== 'tls' && authority.port !== HTTPS_PORT)
        await serveCleartext(tunnel, kind, inside, options);
      else if (context === undefined) throw await refuseTls(tunnel, agent.socket, clock);
      else await serveIntercepted(tunnel, context, inside, options);
      exchange.throwIfAborted();
    },
    async refuse(tunnel) {
      if (!mayTellInside(tunnel, options)) return false;
      await refuseInside(tunnel, options);
      return true;
    },
  };
}

function contextFor(authority: Authority, { interception }: InsideParts): Promise<TlsContext> {
  if (interception?.covers(authority.host) !== true) throw notCovered(authority);
  return interception.contextFor(authority.host);
}

async function serveIntercepted(
  tunnel: Tunnel,
  context: TlsContext,
  inside: HandedOver,
  options: InsideParts,
): Promise<void> {
  const { exchange, authority, settled } = tunnel;
  const { host } = authority;
  exchange.enter('handshake', HELLO_TIMEOUT, options.context.clock.monotonic());
  inside.socket.unshift(await clientHello(inside, { host, ech: 'pass', signal: exchange.signal }));
  // Whoever leaves in the middle of the handshake most likely does not trust us: that is for the
  // handshake to say.
  settled();
  const socket = await terminateTls(inside.socket, {
    host,
    context,
    alpn: ALPN,
    signal: exchange.signal,
  });
  const entry = {
    entry: 'intercept' as const,
    describe: (head: RequestHead, reading: Reading) =>
      describeIntercepted(head, authority, reading),
    http2: socket.alpnProtocol === 'h2' ? ('agreed' as const) : undefined,
  };
  await serveRequests(tunnel, socket, entry, options);
  exchange.sent = socket.bytesRead;
  exchange.received = socket.bytesWritten;
}

async function serveCleartext(
  tunnel: Tunnel,
  kind: 'http1' | 'http2',
  { socket, early }: HandedOver,
  options: InsideParts,
): Promise<void> {
  const { exchange, authority, settled } = tunnel;
  settled();
  const before = countsOf(socket);
  socket.unshift(early);
  const entry = {
    entry: 'cleartext' as const,
    describe: (head: RequestHead, reading: Reading) => describeCleartext(head, authority, reading),
    http2: kind === 'http2' ? ('known' as const) : undefined,
  };
  const served = serveRequests(tunnel, socket, entry, options);
  socket.resume();
  await served;
  const after = countsOf(socket);
  exchange.sent = early.length + after.bytesRead - before.bytesRead;
  exchange.received = after.bytesWritten - before.bytesWritten;
}

async function serveRequests(
  { exchange, caller, closing }: Tunnel,
  socket: Duplex,
  entry: Pick<HttpEntry, 'entry' | 'describe' | 'http2'>,
  options: InsideParts,
): Promise<void> {
  const { context, limits } = options;
  const { clock } = context;
  exchange.enter('idle', Infinity, clock.monotonic());
  // What runs inside is cut for itself, and says why; then the connection goes.
  const inside = link(closing, exchange.signal);
  let cancel = (): void => {};
  const off = onAbort(
    exchange.signal,
    () => (cancel = clock.after(limits.farewellMs, () => abortSocket(socket))),
  );
  const of = { closing: inside.signal, tunnel: exchange.id, caller, task: exchange.task };
  const describe: HttpEntry['describe'] = (head, reading) => {
    exchange.throwIfAborted();
    return entry.describe(head, reading);
  };
  await serveHttp(socket, { ...entry, ...of, describe }, options);
  off();
  cancel();
  inside[Symbol.dispose]();
}

function countsOf(socket: Duplex): { readonly bytesRead: number; readonly bytesWritten: number } {
  if (!(socket instanceof Socket)) return { bytesRead: 0, bytesWritten: 0 };
  const { bytesRead, bytesWritten } = socket;
  return { bytesRead, bytesWritten };
}

/** A fatal alert `access_denied` (RFC 8446 section 6.2) in a record of its own. */
const ACCESS_DENIED = Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, 0x02, 49]);

/** Milliseconds that the agent may take to close behind the alert. */
const ALERT_LINGER = 1000;

async function refuseTls(
  { authority, settled }: Tunnel,
  socket: Duplex,
  clock: Clock,
): Promise<Fault> {
  settled();
  await new Promise<void>((resolve) => {
    const cancel = clock.after(ALERT_LINGER, resolve);
    socket.on('error', () => {}).once('close', () => (cancel(), resolve()));
    socket.end(ACCESS_DENIED);
    // What is left unread when a socket closes makes its end a reset, which overtakes the alert.
    socket.resume();
  });
  const reason =
    `there is TLS in the tunnel to ${formatAuthority(authority.host, authority.port)}, which ` +
    'its destination does not intercept';
  return new Fault('wrong-entry', reason, {
    hint: 'use an http:// URL (TLS starts at the sidecar), or set tls.intercept: true',
  });
}

function notCovered({ host, port }: Authority): Fault {
  const reason =
    `the sidecar was started without ${host} in intercept.domains: it cannot stand in for ` +
    `${formatAuthority(host, port)}`;
  return new Fault('wrong-entry', reason, {
    hint: 'start the sidecar again: intercept.domains takes effect at the next start',
  });
}
