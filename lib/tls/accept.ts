/**
 * The server's side of mutual TLS, with the same order of checks as lib/tls/connect.ts. A bare
 * TLSSocket instead of tls.Server, because the latter silently ignores `allowPartialTrustChain` and
 * hands out tickets; the verdict of OpenSSL on the caller's path is therefore asked for here, and a
 * caller whose path is not valid never becomes a connection.
 */
import type { Socket } from 'node:net';
import { TLSSocket, type SecureContext } from 'node:tls';
import { Fault } from '../base/fault.ts';
import { reasonOf } from '../base/signal.ts';
import type { Identity } from '../spiffe/identity.ts';
import type { PeerPattern } from '../spiffe/pattern.ts';
import type { VerifiedConnection } from './connect.ts';
import type { TlsContexts } from './context.ts';
import { pathFault } from './faults.ts';
import { handshaken } from './handshake.ts';
import { verdictOf } from './path.ts';
import { caller, claimOf, peerOf, sentChain, type Side } from './peer.ts';
import { usable, verifyPeer } from './verify-peer.ts';

export interface AcceptTlsOptions {
  readonly identity: Identity | undefined;
  /** Who may call. */
  readonly callers: readonly PeerPattern[];
  readonly contexts: TlsContexts;
  /** Aborts with the Fault to report: handshake timeout, shutdown. */
  readonly signal: AbortSignal;
  /** Wall clock, milliseconds since the epoch. */
  readonly now: () => number;
  /** Protocols spoken, in order of preference (RFC 7301). */
  readonly alpn?: readonly string[];
}

/**
 * Accepts mutual TLS over a socket, which it owns from here: on failure it is destroyed. Throws a
 * Fault `client-tls`, `no-trust-bundle`, `no-identity`, `identity-expired`, or the signal's reason.
 * No application byte is read or written before the caller is known.
 */
export async function acceptTls(
  raw: Socket,
  options: AcceptTlsOptions,
): Promise<VerifiedConnection> {
  const side = caller(raw.remoteAddress ?? 'an unknown address');
  try {
    const identity = usable(options.identity, options.now());
    const domains = options.callers.map(({ trustDomain }) => trustDomain);
    const socket = await handshake(raw, options.contexts.spiffe(identity, domains), {
      side,
      options,
    });
    const chain = sentChain(socket, side);
    const problem = verdictOf(socket);
    if (problem !== undefined) throw pathFault(side, problem, claimOf(chain[0]));
    const { contexts, callers: patterns, now } = options;
    const id = await verifyPeer(chain, { side, patterns, identity, contexts, now: now() });
    if (options.signal.aborted) throw reasonOf(options.signal);
    if (socket.destroyed) throw acceptFault(socket.errored ?? 'the connection closed', side);
    return { socket, peer: peerOf(socket, chain, id) };
  } catch (failure) {
    raw.destroy();
    throw failure;
  }
}

interface Accepting {
  readonly side: Side;
  readonly options: AcceptTlsOptions;
}

function handshake(
  raw: Socket,
  secureContext: SecureContext,
  { side, options }: Accepting,
): Promise<TLSSocket> {
  return handshaken(raw, {
    start: () =>
      new TLSSocket(raw, {
        isServer: true,
        secureContext,
        requestCert: true,
        rejectUnauthorized: true,
        ...(options.alpn === undefined ? {} : { ALPNProtocols: [...options.alpn] }),
      }),
    signal: options.signal,
    fault: (failure) => acceptFault(failure, side),
  });
}

function acceptFault(failure: unknown, side: Side): Fault {
  if (failure instanceof Fault) return failure;
  const text = failure instanceof Error ? failure.message : String(failure);
  return new Fault('client-tls', `${side.who} completed no mutual TLS handshake: ${text}`, {
    hint: 'callers must present an SVID and trust ours',
    cause: failure,
  });
}
