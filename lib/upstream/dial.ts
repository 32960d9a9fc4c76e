/**
 * From an allowed route to a connection: resolve once, judge every address of the answer, dial what
 * was judged, make sure that this is what answered, and let lib/tls prove the peer. Rules:
 * - one refused address refuses the name, and nothing is dialled;
 * - nothing is resolved twice: the next address is tried only out of the same judged answer;
 * - our own listeners are never dialled.
 */
import { connect, isIP, isIPv6, type Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import { formatAuthority } from '../net/authority.ts';
import { judgeAddress } from '../net/addresses.ts';
import type { Via } from '../policy/model/destination.ts';
import type { Identity } from '../spiffe/identity.ts';
import { connectTls, type VerifiedConnection } from '../tls/connect.ts';
import type { TlsContexts } from '../tls/context.ts';
import type { Peer } from '../tls/peer.ts';
import type { Resolver } from './resolver.ts';
import { showsIdentity, type Route } from './route.ts';
import { tunnelThrough } from './via.ts';

/** A connection to an upstream, its peer proved as far as the mode proves it. */
export interface Reached {
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
  ) => Promise<Reached>;
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
  /** Whether one of our own listeners has this address and port. */
  readonly own: (address: string, port: number) => boolean;
}

const H2: readonly string[] = Object.freeze(['h2']);

function noHttp2(socket: Socket, { matched }: Route): Fault {
  socket.destroy();
  return new Fault(
    'upstream-tls',
    `the upstream ${matched} does not speak HTTP/2: it did not choose h2 by ALPN`,
    {
      hint: 'look at the server, or take upstream.http out of the destination',
    },
  );
}

const NO_ADDRESSES: ReadonlySet<string> = new Set();

export function dialler({ resolver, contexts, clock, own }: DiallerOptions): Dialler {
  const judge = (route: Route, address: string): Fault | undefined => {
    const { via } = route.destination;
    return via === undefined ? judgeTarget(route, address, own) : judgeProxy(via, address, own);
  };
  return {
    judge,
    async resolve(route, signal, agent) {
      const { host, literal, absolute } = firstStop(route);
      // Nobody but the proxy will look up the target; what needs no look-up is judged all the same.
      const fault =
        route.destination.via !== undefined && route.literal
          ? judgeTarget(route, route.host, own)
          : undefined;
      if (fault !== undefined) throw fault;
      const addresses = literal
        ? [host]
        : await resolver.resolve(host, { absolute, signal, of: route.destination.name, agent });
      for (const address of addresses) {
        const fault = judge(route, address);
        if (fault !== undefined) throw fault;
      }
      if (addresses.length > 0) return addresses;
      throw new Fault('upstream-unresolved', `${host} has no address`, { hint: 'look at DNS' });
    },
    async connect(route, addresses, { identity, signal }) {
      const { tls, via, timeouts } = route.destination;
      const { port } = via ?? route;
      const first = await connectAny({
        addresses,
        port,
        patience: timeouts.connect,
        clock,
        signal,
      });
      const ip = addressOf(first);
      const way = { address: formatAuthority(ip, port, undefined), ip, via: via?.text };
      const raw =
        via === undefined
          ? first
          : await tunnelThrough(first, route, via, { contexts, clock, signal });
      if (tls.mode === 'plaintext' || tls.mode === 'passthrough') {
        return {
          socket: raw,
          ...way,
          peer: undefined,
          tls: undefined,
          identity: undefined,
          serial: undefined,
        };
      }
      const { socket, peer } = await connectTls(raw, {
        tls,
        host: route.matched,
        identity,
        contexts,
        signal,
        now: () => clock.now(),
        ...(route.destination.http2 === true ? { alpn: H2 } : undefined),
      });
      if (route.destination.http2 === true && socket.alpnProtocol !== 'h2')
        throw noHttp2(socket, route);
      const shown = showsIdentity(route.destination) ? identity : undefined;
      return { socket, ...way, peer, tls: socket, identity: shown, serial: shown?.svid.serial };
    },
  };
}

type Own = DiallerOptions['own'];

function judgeProxy({ host, port, text }: Via, address: string, own: Own): Fault | undefined {
  if (own(address, port)) return new Fault('loop', `the proxy ${text} of via is our own listener`);
  // The operator wrote it, and it is the operator's network that it stands in.
  const problem = judgeAddress(address, {
    loopback: isIP(host) !== 0,
    private: true,
    cidrs: [],
    own: NO_ADDRESSES,
  });
  if (problem === undefined) return undefined;
  return new Fault(
    'address-refused',
    `the proxy ${text} is ${address}, which may not be dialled: ${problem}`,
    {
      hint: 'look at via of the destination',
    },
  );
}

function judgeTarget(route: Route, address: string, own: Own): Fault | undefined {
  if (own(address, route.port)) {
    const hint = 'the destination leads back to a listener of this sidecar';
    return new Fault(
      'loop',
      `${route.host} is ${formatAuthority(address, route.port, undefined)}, which is our ` +
        'own listener',
      { hint },
    );
  }
  const why =
    judgeAddress(address, { ...route.addresses, own: NO_ADDRESSES }) ??
    judgePlaintext(route, address);
  if (why === undefined) return undefined;
  const hint =
    'public addresses are allowed; others need upstream.address with mode mtls, or ' +
    'upstream.cidrs, in the destination';
  const subject = route.literal ? address : `${route.host} resolves to ${address}, which`;
  return new Fault('address-refused', `${subject} may not be dialled: ${why}`, { hint });
}

/** What is looked up and dialled: the upstream, or the proxy on the way to it. */
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

function judgePlaintext({ destination }: Route, address: string): string | undefined {
  const { mode, insecure } = destination.tls;
  if (mode !== 'plaintext' || insecure || address === '::1' || address.startsWith('127.'))
    return undefined;
  return 'tls.mode plaintext reaches loopback addresses alone unless insecure: true is written';
}

interface Attempt {
  readonly addresses: readonly string[];
  readonly port: number;
  /** Milliseconds for all of them together. */
  readonly patience: number;
  readonly clock: Clock;
  readonly signal: AbortSignal;
}

/**
 * Tries the judged addresses in turn; all but the last share the time, so that one silent address
 * does not use it up.
 */
async function connectAny({ addresses, port, patience, clock, signal }: Attempt): Promise<Socket> {
  let last = new Fault('upstream-refused', 'there is no address to dial');
  for (const [index, address] of addresses.entries()) {
    const limit = index === addresses.length - 1 ? undefined : patience / addresses.length;
    try {
      return await connectOne(address, port, { clock, signal, limit });
    } catch (failure) {
      last = Fault.from(failure, 'upstream-refused');
      if (signal.aborted) throw last;
    }
  }
  throw last;
}

interface Patience {
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly limit: number | undefined;
}

function connectOne(
  address: string,
  port: number,
  { clock, signal, limit }: Patience,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const where = formatAuthority(address, port, undefined);
    // The address is a literal: nothing is resolved here. Half-open, because one direction of a
    // tunnel may end before the other.
    const socket = connect({
      host: address,
      port,
      family: isIPv6(address) ? 6 : 4,
      noDelay: true,
      keepAlive: true,
      allowHalfOpen: true,
    });
    const finish = (fault: Fault | undefined): void => {
      off();
      cancel?.();
      socket.off('connect', connected);
      socket.off('error', failed);
      if (fault === undefined) return resolve(socket);
      // Errors that come after the verdict have nobody to tell.
      socket.on('error', () => {});
      socket.destroy();
      reject(fault);
    };
    const connected = (): void =>
      finish(
        addressOf(socket) === address || sameAddress(socket, address)
          ? undefined
          : elsewhere(socket, where),
      );
    const failed = (error: Error): void => finish(refused(error, where));
    const off = onAbort(signal, finish);
    const cancel =
      limit === undefined ? undefined : clock.after(limit, () => finish(silent(where, limit)));
    socket.once('connect', connected);
    socket.once('error', failed);
  });
}

/** The remote address; IPv4 in IPv6 form is the same place (a dual-stack socket). */
function addressOf(socket: Socket): string {
  return (socket.remoteAddress ?? '').replace(/^::ffff:(?=\d+\.)/, '');
}

/** IPv6 has several spellings of one address; the engine's own check compares the bytes. */
function sameAddress(socket: Socket, address: string): boolean {
  return (
    isIPv6(address) &&
    URL.parse(`http://[${addressOf(socket)}]`)?.host === URL.parse(`http://[${address}]`)?.host
  );
}

function elsewhere(socket: Socket, where: string): Fault {
  return new Fault('address-refused', `dialled ${where} but reached ${addressOf(socket)}`);
}

function silent(where: string, limit: number): Fault {
  return new Fault('upstream-timeout', `${where} did not answer within ${Math.round(limit)} ms`);
}

/** The upstream has no part in these: descriptors, local ports or memory have run out here. */
const OUR_LIMITS: ReadonlySet<string> = new Set([
  'EMFILE',
  'ENFILE',
  'EADDRNOTAVAIL',
  'ENOBUFS',
  'ENOMEM',
]);

function refused(error: Error, where: string): Fault {
  const code = 'code' in error ? String(error.code) : error.message;
  if (code === 'ETIMEDOUT')
    return new Fault('upstream-timeout', `${where} did not answer`, { cause: error });
  if (OUR_LIMITS.has(code)) {
    const raise =
      'raise the limit of open files (ulimit -n), or lower spec.listeners.maxConnections';
    return new Fault('too-many', `this sidecar can open no connection more (${code})`, {
      hint: raise,
      cause: error,
    });
  }
  const hint = 'look whether the upstream runs, and at upstream.address of the destination';
  return new Fault('upstream-refused', `${where} cannot be reached (${code})`, {
    hint,
    cause: error,
  });
}
