/**
 * The demo's upstreams: real mTLS servers on loopback. Their own SVID comes from a Workload API and
 * rotates while they run; their callers are verified as the sidecar verifies its peers. They keep a
 * list of who called and what was asked, so that the demo can check its claims from the other side.
 */
import { once } from 'node:events';
import { type Server, type Socket, createServer } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { Clock } from '../base/clock.ts';
import { disposer } from '../base/dispose.ts';
import { Fault } from '../base/fault.ts';
import { ignore, link } from '../base/signal.ts';
import { httpLimits } from '../http/limits.ts';
import type { Body } from '../http/message.ts';
import type { ServeOptions } from '../http1/serve-options.ts';
import { serveConnection } from '../http1/server.ts';
import type { Select } from '../identity/select.ts';
import { type IdentitySource, startIdentity } from '../identity/source.ts';
import { type PeerPattern, parsePeerPattern } from '../spiffe/pattern.ts';
import { acceptTls } from '../tls/accept.ts';
import type { VerifiedConnection } from '../tls/connect.ts';
import { tlsContexts } from '../tls/context.ts';
import type { Peer } from '../tls/peer.ts';
import { type ApiAnswer, demoApi } from './demo-api.ts';
import { demoMcp } from './demo-mcp.ts';

export interface DemoUpstreamOptions {
  /** The Workload API that its identity comes from, `unix:///…`. */
  readonly endpoint: string;
  /** Which of the identities it is. */
  readonly select: Select;
  /** Peer patterns of who may call. */
  readonly callers: readonly string[];
  /**
   * `api`: the demo's HTTP API. `mcp`: the demo's MCP server. `echo`: every byte back, for raw TCP.
   */
  readonly service: 'api' | 'mcp' | 'echo';
  readonly clock: Clock;
  /** On 127.0.0.1; default one that is free. */
  readonly port?: number;
  /** How long to wait for the first SVID, ms; default 10 s. */
  readonly initialSync?: number;
  readonly onNote?: (text: string) => void;
  /** Told of each request that was answered; never by `echo`. */
  readonly onRequest?: (seen: SeenRequest) => void;
}

/** A caller whose handshake was accepted. */
interface SeenCaller {
  readonly peer: Peer;
  /** Serial of the SVID that we showed it. */
  readonly ourSerial: string;
  /** Application bytes received from it. */
  readonly received: number;
}

interface SeenRequest {
  readonly method: string;
  readonly target: string;
  readonly peer: Peer;
  readonly status: number;
  /** Method and tool of a message of MCP. */
  readonly asked: string | undefined;
}

export interface DemoUpstream extends AsyncDisposable {
  /** `127.0.0.1:port` */
  readonly address: string;
  readonly identity: IdentitySource;
  /** TCP connections made to it, whatever became of them. */
  connections(): number;
  callers(): readonly SeenCaller[];
  /** Requests answered; always empty for `echo`. */
  requests(): readonly SeenRequest[];
  /** Why handshakes were refused. */
  refused(): readonly string[];
}

const HANDSHAKE_MS = 10_000;
const INITIAL_SYNC_MS = 10_000;
const MAX_BODY = 65_536;

interface Upstream {
  readonly options: DemoUpstreamOptions;
  readonly identity: IdentitySource;
  readonly callers: readonly PeerPattern[];
  readonly closing: AbortController;
  readonly seen: {
    connections: number;
    callers: SeenCaller[];
    requests: SeenRequest[];
    refused: string[];
  };
}

type Service = (connection: VerifiedConnection) => Promise<void>;

/**
 * Waits for its first SVID, then listens. Throws the Fault of the identity when none comes,
 * 'bad-pattern' for a bad caller.
 */
export async function startDemoUpstream(options: DemoUpstreamOptions): Promise<DemoUpstream> {
  const { endpoint, select, clock, onNote = () => {} } = options;
  const callers = options.callers.map(parsePeerPattern);
  const cleanup = disposer();
  const closing = new AbortController();
  const identity = cleanup.use(
    startIdentity({ endpoint, select, clock, onNote: ({ text }) => onNote(text) }),
  );
  try {
    await firstIdentity(identity, options);
    const upstream: Upstream = {
      options,
      identity,
      callers,
      closing,
      seen: { connections: 0, callers: [], requests: [], refused: [] },
    };
    const listener = cleanup.use(await listen(acceptor(upstream), options.port));
    cleanup.defer(() => closing.abort(new Fault('shutting-down', 'the upstream is shutting down')));
    const { seen } = upstream;
    return {
      address: listener.address,
      identity,
      connections: () => seen.connections,
      callers: () => seen.callers,
      requests: () => seen.requests,
      refused: () => seen.refused,
      [Symbol.asyncDispose]: () => cleanup[Symbol.asyncDispose](),
    };
  } catch (failure) {
    await cleanup[Symbol.asyncDispose]();
    throw failure;
  }
}

async function firstIdentity(
  identity: IdentitySource,
  { clock, initialSync = INITIAL_SYNC_MS }: DemoUpstreamOptions,
) {
  const timeout = new AbortController();
  const cancel = clock.after(
    initialSync,
    () => timeout.abort(new Fault('timeout', 'no SVID came in time')),
    true,
  );
  try {
    await identity.firstUpdate(timeout.signal);
  } finally {
    cancel();
  }
}

function acceptor(upstream: Upstream): (raw: Socket) => Promise<void> {
  const { options, identity, closing, seen, callers } = upstream;
  const { clock } = options;
  const contexts = tlsContexts();
  const serve = options.service === 'echo' ? echoService(upstream) : apiService(upstream);
  return async (raw) => {
    seen.connections += 1;
    using handshake = link(closing.signal);
    const tooLate = (): void =>
      handshake.abort(new Fault('client-tls', 'the handshake took too long'));
    const cancel = clock.after(HANDSHAKE_MS, tooLate);
    try {
      const now = identity.current();
      const { signal } = handshake;
      const accepted = await acceptTls(raw, {
        identity: now,
        callers,
        contexts,
        signal,
        now: () => clock.now(),
      });
      cancel();
      seen.callers.push(seenCaller(accepted, now.svid.serial));
      await serve(accepted);
    } catch (failure) {
      seen.refused.push(Fault.from(failure, 'client-tls').describe());
      raw.destroy();
    } finally {
      cancel();
    }
  };
}

/** Lets go of the connection once it is closed: the list outlives it. */
function seenCaller({ socket, peer }: VerifiedConnection, ourSerial: string): SeenCaller {
  let open: typeof socket | undefined = socket;
  let received = 0;
  socket.once('close', function (this: typeof socket) {
    received = this.bytesRead;
    open = undefined;
  });
  return {
    peer,
    ourSerial,
    get received() {
      return open?.bytesRead ?? received;
    },
  };
}

function echoService({ options: { onNote = () => {} } }: Upstream): Service {
  return async ({ socket, peer }) => {
    try {
      await pipeline(socket, socket);
    } catch (failure) {
      socket.destroy();
      onNote(
        `${peer.spiffeId ?? 'a caller'} went away: ${Fault.from(failure, 'client-gone').message}`,
      );
    }
  };
}

function apiService({ options, closing, seen }: Upstream): Service {
  const api = options.service === 'mcp' ? demoMcp() : demoApi();
  return ({ socket, peer }) => {
    const serving: ServeOptions = {
      limits: httpLimits(),
      clock: options.clock,
      draining: closing.signal,
      async handle(exchange) {
        const { method, target } = exchange.head;
        if (exchange.head.expectContinue) exchange.inform(100, []);
        const body = await wholeBody(exchange.body);
        const answer = api({ method, target, body, peer });
        const request = { method, target, peer, status: answer.status, asked: answer.asked };
        seen.requests.push(request);
        options.onRequest?.(request);
        const bytes = Buffer.from(answer.body);
        await exchange.respond(responseHead(answer, bytes), bytes);
      },
      refuse(fault) {
        const answer = { status: fault.http, type: 'text/plain', body: `${fault.describe()}\n` };
        const body = Buffer.from(answer.body);
        return { head: responseHead(answer, body), body };
      },
    };
    return serveConnection(socket, serving);
  };
}

function responseHead({ status, type }: ApiAnswer, body: Buffer) {
  return { status, fields: ['content-type', type], length: body.length };
}

async function wholeBody(body: Body): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let total = 0;
  for (;;) {
    const part = body.poll();
    if (part === 'end') return Buffer.concat(chunks);
    if (part === 'later') {
      await body.ready();
      continue;
    }
    total += part.length;
    if (total > MAX_BODY)
      throw new Fault('body-too-large', `a body here holds at most ${MAX_BODY} bytes`);
    chunks.push(part);
  }
}

async function listen(
  accept: (raw: Socket) => Promise<void>,
  port = 0,
): Promise<AsyncDisposable & { readonly address: string }> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true, noDelay: true }, (raw) => {
    sockets.add(raw);
    raw.once('close', () => sockets.delete(raw));
    ignore(accept(raw), 'accept notes what it refuses');
  });
  server.listen({ host: '127.0.0.1', port });
  await once(server, 'listening').catch((cause: unknown) => {
    throw Fault.from(cause, 'listen', `127.0.0.1:${port}`);
  });
  const address = server.address();
  if (address === null || typeof address === 'string')
    throw new TypeError('a TCP listener has a port');
  return {
    address: `${address.address}:${address.port}`,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close');
      server.close();
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
