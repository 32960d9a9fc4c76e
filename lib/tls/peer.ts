/** The other end of a TLS connection, as its handshake proved it. */
import type { X509Certificate } from 'node:crypto';
import type { TLSSocket } from 'node:tls';
import { Fault, type Code } from '../base/fault.ts';
import type { SpiffeId } from '../spiffe/id.ts';

export interface Peer {
  /** Verified SPIFFE ID; undefined in the web modes, where a DNS name was verified instead. */
  readonly spiffeId: SpiffeId | undefined;
  /** Upper-case hexadecimal serial number of the leaf. */
  readonly serial: string;
  /**
   * When the first of the certificates that may be on its path expires, milliseconds since the
   * epoch: nothing may be kept open past it.
   */
  readonly notAfter: number;
  /** `TLSv1.3` or `TLSv1.2`. */
  readonly protocol: string;
  /** Key agreement group, such as `X25519MLKEM768`; only the client's side can tell. */
  readonly group: string | undefined;
}

/** How messages call the other end, and which codes its failures have. */
export interface Side {
  /** Begins a sentence: `the upstream crm.internal`. */
  readonly who: string;
  /** The handshake or the path failed. */
  readonly untrusted: Code;
  /** It proved to be somebody, but nobody who is expected. */
  readonly unexpected: Code;
}

export const upstream = (host: string): Side => ({
  who: `the upstream ${host}`,
  untrusted: 'upstream-tls',
  unexpected: 'upstream-identity',
});

export const caller = (address: string): Side => ({
  who: `the caller from ${address}`,
  untrusted: 'client-tls',
  unexpected: 'client-tls',
});

/** The most certificates a peer may send; more is nobody's chain and only costs time. */
const MAX_CHAIN = 10;

/** Certificates as sent, leaf first. Throws a Fault when there is none or far too many. */
export function sentChain(socket: TLSSocket, side: Side): readonly X509Certificate[] {
  const chain: X509Certificate[] = [];
  for (
    let next = socket.getPeerX509Certificate();
    next !== undefined;
    next = next.issuerCertificate
  ) {
    if (chain.length === MAX_CHAIN)
      throw new Fault(side.untrusted, `${side.who} sent more than ${MAX_CHAIN} certificates`);
    chain.push(next);
  }
  if (chain.length > 0) return chain;
  throw new Fault(side.untrusted, `${side.who} presented no certificate`, {
    hint: 'mutual TLS needs an SVID on both sides',
  });
}

/** What the finished handshake says about the peer. */
export function peerOf(
  socket: TLSSocket,
  chain: readonly X509Certificate[],
  spiffeId: SpiffeId | undefined,
): Peer {
  const now = Date.now();
  // The path was found valid just now: what had expired by then is not on it, only sent along.
  const ends = chain
    .map(({ validToDate }) => validToDate.getTime())
    .filter((end, at) => at === 0 || end > now);
  const info = socket.getEphemeralKeyInfo();
  return Object.freeze({
    spiffeId,
    serial: chain[0]?.serialNumber.toUpperCase() ?? '',
    notAfter: Math.min(...ends),
    protocol: socket.getProtocol() ?? 'unknown',
    group: info !== null && 'name' in info && typeof info.name === 'string' ? info.name : undefined,
  });
}

/**
 * What a certificate claims to be, for messages alone: its subject alternative names, cut. Nothing
 * is decided from this text.
 */
export function claimOf(leaf: X509Certificate | undefined): string {
  if (leaf === undefined) return 'no certificate';
  const names = leaf.subjectAltName;
  if (names === undefined) return 'a certificate without a subject alternative name';
  return names.length > 200 ? `${names.slice(0, 200)}…` : names;
}
