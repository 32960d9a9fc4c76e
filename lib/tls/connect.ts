/**
 * The client's side of TLS: a socket comes back only when the other end is proved to be who policy
 * expects. Order, none of it skipped on any connection:
 * 1. our own identity is there and unexpired, and there are anchors; else nothing is sent;
 * 2. OpenSSL validates the path against the anchors of the trust domains that `peers` name, and of
 *    nothing else;
 * 3. the profile rules of X.509-SVIDs are checked by us on the certificates as sent
 *    (lib/spiffe/verify.ts);
 * 4. the SPIFFE ID matches a pattern of `peers`; where those span several trust domains, the path
 *    is validated again with the anchors of the peer's own alone.
 * No session is ever offered or resumed, because the engine skips its checks on a resumed one. No
 * application byte is sent or read before the verdict.
 */
import type { Socket } from 'node:net';
import { isIP } from 'node:net';
import { connect, type ConnectionOptions, type SecureContext, type TLSSocket } from 'node:tls';
import { Fault } from '../base/fault.ts';
import { onAbort, reasonOf } from '../base/signal.ts';
import { rawPeerOnly } from '../identity/raw-peer.ts';
import type { TlsPolicy } from '../policy/model/destination.ts';
import type { Identity } from '../spiffe/identity.ts';
import type { TlsContexts } from './context.ts';
import { pathFault, tlsFault } from './faults.ts';
import { verdictText } from './path.ts';
import { checkName, isStandIn } from './server-name.ts';
import { claimOf, peerOf, sentChain, upstream, type Peer, type Side } from './peer.ts';
import { usable, verifyPeer } from './verify-peer.ts';

export interface ConnectTlsOptions {
  /** Mode mtls, web-mtls or web; the other modes speak no TLS of ours. */
  readonly tls: TlsPolicy;
  /** The matched host: default of the server name, and what messages call the upstream. */
  readonly host: string;
  /** The snapshot of this exchange; undefined only where mode is `web`. */
  readonly identity: Identity | undefined;
  readonly contexts: TlsContexts;
  /** Aborts with the Fault to report: client gone, connect timeout, shutdown. */
  readonly signal: AbortSignal;
  /** Wall clock, milliseconds since the epoch. */
  readonly now: () => number;
  /** Protocols offered by ALPN (RFC 7301); none when left out. */
  readonly alpn?: readonly string[];
}

export interface VerifiedConnection {
  readonly socket: TLSSocket;
  readonly peer: Peer;
}

/**
 * Speaks TLS over a connected socket, which it owns from here: on failure it is destroyed. Throws a
 * Fault `upstream-tls`, `upstream-identity`, `no-trust-bundle`, `no-identity`, `identity-expired`,
 * or the signal's reason.
 */
export async function connectTls(
  raw: Socket,
  options: ConnectTlsOptions,
): Promise<VerifiedConnection> {
  try {
    const context = contextFor(options);
    const socket = await handshake(raw, context, options);
    try {
      return { socket, peer: await verdict(socket, options) };
    } catch (failure) {
      socket.destroy();
      throw failure;
    }
  } catch (failure) {
    raw.destroy();
    throw failure;
  }
}

function contextFor({ tls, identity, contexts, now }: ConnectTlsOptions): SecureContext {
  switch (tls.mode) {
    case 'mtls':
      return contexts.spiffe(
        usable(identity, now()),
        tls.peers.map((peer) => peer.trustDomain),
      );
    case 'web-mtls':
      return contexts.web(usable(identity, now()), tls.roots);
    case 'web':
      return contexts.web(undefined, tls.roots);
    case 'passthrough':
    case 'plaintext':
      throw new TypeError(`connectTls has no business with mode ${tls.mode}`);
  }
}

function handshake(
  raw: Socket,
  context: SecureContext,
  options: ConnectTlsOptions,
): Promise<TLSSocket> {
  const side = upstream(options.host);
  return new Promise((resolve, reject) => {
    if (options.signal.aborted) throw reasonOf(options.signal);
    const socket = rawPeerOnly(connect(connectionOptions(raw, context, options)));
    keepQuiet(raw);
    keepQuiet(socket);
    let seen = claimOf(undefined);
    const settle = (): void => {
      off();
      socket.off('error', fail);
      socket.off('close', closed);
    };
    const fail = (failure: unknown): void => {
      settle();
      socket.destroy();
      reject(failureOf(failure, side, seen));
    };
    const closed = (): void => fail(new Error('socket hang up'));
    const off = onAbort(options.signal, fail);
    // Comes before the engine's own check of the path, which destroys the socket when it fails: the
    // last chance to see what was presented.
    socket.prependOnceListener('secure', () => (seen = claimOf(socket.getPeerX509Certificate())));
    socket.once('error', fail);
    socket.once('close', closed);
    socket.once('secureConnect', () => {
      settle();
      resolve(socket);
    });
  });
}

function connectionOptions(
  raw: Socket,
  secureContext: SecureContext,
  options: ConnectTlsOptions,
): ConnectionOptions {
  const name = options.tls.serverName ?? options.host;
  const spiffe = options.tls.mode === 'mtls';
  return {
    socket: raw,
    secureContext,
    rejectUnauthorized: true,
    // An IP address is no server name (RFC 6066 section 3); `host` is what the engine then verifies
    // in the web modes.
    ...(isIP(name) === 0 ? { servername: name } : { host: name }),
    // In SPIFFE modes the name is the SPIFFE ID, which verdict() checks; DNS names prove nothing
    // there.
    checkServerIdentity: spiffe ? () => undefined : (_, { raw: der }) => checkName(name, der),
    ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
  };
}

async function verdict(socket: TLSSocket, options: ConnectTlsOptions): Promise<Peer> {
  const { tls, host, identity, contexts, now, signal } = options;
  const side = upstream(host);
  if (socket.isSessionReused())
    throw new Fault('upstream-tls', `${side.who} resumed a session: nothing proves who it is`);
  const chain = sentChain(socket, side);
  if (tls.mode !== 'mtls' && chain[0] !== undefined && isStandIn(chain[0])) {
    throw new Fault(
      'upstream-identity',
      `${side.who} shows a certificate of an interception CA, which stands in for others ` +
        'and proves nothing',
      {
        hint:
          'start the sidecar without the variables that `chaperone trust` prints, and see ' +
          'who answers at the address',
      },
    );
  }
  const id =
    tls.mode === 'mtls'
      ? await verifyPeer(chain, {
          side,
          patterns: tls.peers,
          identity: usable(identity, now()),
          contexts,
          now: now(),
        })
      : undefined;
  if (signal.aborted) throw reasonOf(signal);
  if (socket.destroyed) throw tlsFault(socket.errored ?? new Error('socket hang up'), side.who);
  return peerOf(socket, chain, id);
}

function failureOf(failure: unknown, side: Side, seen: string): Fault {
  if (failure instanceof Fault) return failure;
  const code = failure instanceof Error && 'code' in failure ? failure.code : undefined;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return new Fault(
      'upstream-identity',
      `${side.who} is not the server asked for: its certificate names ${seen}`,
      {
        hint: 'set tls.serverName to the name in the certificate, or correct the address',
        cause: failure,
      },
    );
  }
  // OpenSSL's verdicts come as upper-case words; the engine's own codes begin with ERR_, those of
  // the system with E.
  if (failure instanceof Error && typeof code === 'string' && /^(?!E)[A-Z_]+$/.test(code)) {
    return pathFault(side, verdictText(failure), seen);
  }
  return tlsFault(failure, side.who);
}

/**
 * Errors after the reported one have nobody to tell; whoever uses the socket next adds a listener
 * of its own.
 */
function keepQuiet(socket: Socket): void {
  socket.on('error', () => {});
}
