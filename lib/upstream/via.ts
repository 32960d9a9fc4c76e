/**
 * Through somebody else's HTTP proxy: CONNECT to the target that was judged, and the bytes of a
 * tunnel after it. Rules:
 * - the proxy is told the target and its own credentials, nothing of the agent's;
 * - its address is judged as one that the operator wrote; it resolves the target, so that only its
 *   name, or the literal, is judged here;
 * - anything but a 2xx that ends with its head is refused: bytes that come with it are nobody's
 *   answer to anything that was asked (RFC 9110 section 9.3.6), unless the upstream is one that may
 *   speak first.
 */
import { protocolOf, type Destination } from '../policy/protocols/index.ts';
import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { basicFrom } from '../credentials/basic.ts';
import type { ClientResponse } from '../http/client.ts';
import { httpLimits } from '../http/limits.ts';
import { clientConnection } from '../http1/client.ts';
import { formatAuthority } from '../net/authority.ts';
import type { TlsPolicy, Via } from '../policy/model/destination.ts';
import { connectTls } from '../tls/connect.ts';
import type { TlsContexts } from '../tls/context.ts';
import type { Route } from './route.ts';

export interface TunnelOptions {
  readonly contexts: TlsContexts;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

const LIMITS = httpLimits();
const NONE: readonly never[] = [];

/**
 * The tunnel to the route's target over a connection to the proxy, which is destroyed when there is
 * none.
 */
export async function tunnelThrough(
  raw: Socket,
  route: Route,
  via: Via,
  options: TunnelOptions,
): Promise<Socket> {
  const target = formatAuthority(route.host, route.port, undefined);
  let socket = raw;
  try {
    if (via.secure) socket = await secured(raw, via, options);
    const host = ['host', target];
    const fields = via.basic === undefined ? host : (await basicFrom(via.basic)).apply(host);
    const { signal, clock } = options;
    const response = await clientConnection(socket, LIMITS, clock).request(
      { method: 'CONNECT', target, fields, framing: { kind: 'none' } },
      undefined,
      { signal, onInform: () => {} },
    );
    const early = tunnelOf(response, route.destination);
    if (early.length > 0) socket.unshift(early);
    return socket;
  } catch (failure) {
    socket.destroy();
    raw.destroy();
    const { code, message, hint } = Fault.from(failure, 'via-refused');
    const more = hint === undefined ? {} : { hint };
    throw new Fault(code, `${target} through the proxy ${via.text}: ${message}`, {
      cause: failure,
      ...more,
    });
  }
}

async function secured(
  raw: Socket,
  { host, roots }: Via,
  { contexts, clock, signal }: TunnelOptions,
): Promise<Socket> {
  const tls: TlsPolicy = {
    mode: 'web',
    peers: NONE,
    serverName: undefined,
    roots,
    insecure: false,
    intercept: false,
  };
  const now = (): number => clock.now();
  return (await connectTls(raw, { tls, host, identity: undefined, contexts, signal, now })).socket;
}

/** Bytes that have come through the tunnel already. */
function tunnelOf({ head, upgraded }: ClientResponse, destination: Destination): Buffer {
  if (upgraded === undefined) {
    const hint = HINTS[head.status] ?? 'ask whoever runs the proxy';
    throw new Fault('via-refused', `it answered ${head.status}`, { hint });
  }
  if (upgraded.early.length === 0 || mayBegin(destination)) return upgraded.early;
  throw new Fault('via-refused', 'bytes came with its answer that nobody asked for', {
    hint: 'a proxy that speaks in the name of a target is not to be trusted',
  });
}

/**
 * Where nothing proves who speaks and the upstream may be the first to: a greeting of a raw
 * protocol, the SETTINGS of HTTP/2.
 */
function mayBegin(destination: Destination): boolean {
  const { tls, http2 } = destination;
  return tls.mode === 'plaintext' && (protocolOf(destination).upstreamGreets || http2 === true);
}

const HINTS: Readonly<Record<number, string>> = Object.freeze({
  403: 'it does not let this target through: ask whoever runs the proxy',
  407: 'it wants other credentials: look at via.basic',
});
