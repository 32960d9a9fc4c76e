/**
 * From an allowed route to a connection: resolve once, judge every address of the answer, dial what
 * was judged, make sure that this is what answered, and let lib/tls prove the peer. Rules:
 * - one refused address refuses the name, and nothing is dialled;
 * - nothing is resolved twice: the next address is tried only out of the same judged answer;
 * - our own listeners are never dialled.
 */
import { type Socket, isIP } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { formatAuthority } from '../net/authority.ts';
import type { Identity } from '../spiffe/identity.ts';
import { type VerifiedConnection, connectTls } from '../tls/connect.ts';
import type { TlsContexts } from '../tls/context.ts';
import type { Peer } from '../tls/peer.ts';
import { addressOf, connectAny } from './connect-any.ts';
import { type Own, judgeProxy, judgeTarget } from './judge-address.ts';
import type { Resolver } from './resolver.ts';
import type { Route } from './route.ts';
import { showsIdentity } from './shown-identity.ts';
import { tunnelThrough } from './via.ts';

/** A connection to an upstream, its peer proved as far as the mode proves it. */
export interface UpstreamConnection {
  readonly socket: Socket;
  /** The judged and dialled address with its port. */
  readonly address: string;
  /** The address alone. */
  readonly ip: string;
  /** Undefined in modes in which we speak no TLS. */
  readonly peer: Peer | undefined;
  /** Present when `peer` is: what the peer presented can be judged again later. */
  readonly tls: VerifiedConnection['socket'] | undefined;
  /** Our identity as the upstream saw it. */
  readonly identity: Identity | undefined;
  /** Serial number of the SVID that the upstream saw. */
  readonly serial: string | undefined;
  /** The proxy that `address` is of, when it is not the upstream's own. */
  readonly via: string | undefined;
}

export interface Dialler {
  /** The judged addresses of the route; nothing has been dialled yet. */
  readonly resolve: (
    route: Route,
    signal: AbortSignal,
    agent?: string,
  ) => Promise<readonly string[]>;
  /**
   * Connects to one of the judged addresses and secures the connection in the destination's mode.
   */
  readonly connect: (
    route: Route,
    addresses: readonly string[],
    by: DialOptions,
  ) => Promise<UpstreamConnection>;
  /** The Fault for an address that this route may not use. */
  readonly judge: (route: Route, address: string) => Fault | undefined;
}

interface DialOptions {
  readonly identity: Identity | undefined;
  readonly signal: AbortSignal;
}

export interface DiallerOptions {
  readonly resolver: Resolver;
  readonly contexts: TlsContexts;
  readonly clock: Clock;
  /** True if one of our own listeners has this address and port. */
  readonly own: Own;
}

const H2: readonly string[] = Object.freeze(['h2']);

function noHttp2(socket: Socket, matched: string): Fault {
  socket.destroy();
  return new Fault(
    'upstream-tls',
    `the upstream ${matched} does not speak HTTP/2: it did not choose h2 by ALPN`,
    {
      hint: 'look at the server, or take upstream.http out of the destination',
    },
  );
}

export function dialler(options: DiallerOptions): Dialler {
  const judge = (route: Route, address: string): Fault | undefined => {
    const { via } = route.destination;
    return via === undefined
      ? judgeTarget(route, address, options.own)
      : judgeProxy(via, address, options.own);
  };
  return {
    judge,
    async resolve(route, signal, agent) {
      const { host, literal, absolute } = firstStop(route);
      // Nobody but the proxy will look up the target; what needs no look-up is judged all the same.
      const fault =
        route.destination.via !== undefined && route.literal
          ? judgeTarget(route, route.host, options.own)
          : undefined;
      if (fault !== undefined) throw fault;
      const of = route.destination.name;
      const addresses = literal
        ? [host]
        : await options.resolver.resolve(host, { absolute, signal, of, agent });
      for (const address of addresses) {
        const fault = judge(route, address);
        if (fault !== undefined) throw fault;
      }
      if (addresses.length > 0) return addresses;
      throw new Fault('upstream-unresolved', `${host} has no address`, { hint: 'look at DNS' });
    },
    async connect(route, addresses, by) {
      const { tls, via, timeouts } = route.destination;
      const { contexts, clock } = options;
      const { signal } = by;
      const { port } = via ?? route;
      const first = await connectAny({
        addresses,
        port,
        patience: timeouts.connect,
        clock,
        signal,
      });
      const ip = addressOf(first);
      const dialled = { address: formatAuthority(ip, port, undefined), ip, via: via?.text };
      const raw =
        via === undefined
          ? first
          : await tunnelThrough(first, route, via, { contexts, clock, signal });
      const clear = tls.mode === 'plaintext' || tls.mode === 'passthrough';
      const proved = clear ? { socket: raw, ...UNPROVED } : await secure(raw, route, by, options);
      return { ...proved, ...dialled };
    },
  };
}

/** Modes in which we speak no TLS prove no peer. */
const UNPROVED = Object.freeze({
  peer: undefined,
  tls: undefined,
  identity: undefined,
  serial: undefined,
});

/** TLS in the destination's mode, its peer verified. */
async function secure(
  raw: Socket,
  { destination, matched }: Route,
  { identity, signal }: DialOptions,
  { contexts, clock }: DiallerOptions,
): Promise<Omit<UpstreamConnection, 'address' | 'ip' | 'via'>> {
  const { socket, peer } = await connectTls(raw, {
    tls: destination.tls,
    host: matched,
    identity,
    contexts,
    signal,
    now: () => clock.now(),
    ...(destination.http2 === true ? { alpn: H2 } : undefined),
  });
  if (destination.http2 === true && socket.alpnProtocol !== 'h2') throw noHttp2(socket, matched);
  const shown = showsIdentity(destination) ? identity : undefined;
  return { socket, peer, tls: socket, identity: shown, serial: shown?.svid.serial };
}

/** The host that is looked up and dialled: the upstream, or the proxy on the way to it. */
function firstStop(route: Route): {
  readonly host: string;
  readonly literal: boolean;
  readonly absolute: boolean;
} {
  const { via } = route.destination;
  if (via === undefined)
    return { host: route.host, literal: route.literal, absolute: !route.written };
  return { host: via.host, literal: isIP(via.host) !== 0, absolute: false };
}
