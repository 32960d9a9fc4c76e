/**
 * The development certificate authority: one self-signed EC P-256 root of one trust domain, issuing
 * X.509-SVIDs that satisfy every rule of the X509-SVID profile, the optional ones included. It is
 * for development and tests: keys live in this process, nobody is attested.
 */
import type { SpiffeId } from '../spiffe/id.ts';
import type { TrustDomain } from '../spiffe/trust-domain.ts';
import {
  certificatesPem,
  type CertificateSpec,
  KEY_USAGE,
  type Keys,
  newKeys,
  pkcs8,
  privateKeyPem,
  PURPOSE,
  signCertificate,
  type Signer,
} from '../interception/issue.ts';

/** Clocks of two hosts differ: what is issued was already valid a moment ago. */
const BACKDATED_MS = 10_000;

export interface Authority extends Signer {
  readonly trustDomain: TrustDomain;
  /** DER of the self-signed root. */
  readonly certificate: Uint8Array;
  readonly notAfter: number;
}

/**
 * What is issued, as it is carried: DER certificates, leaf first, never the root; PKCS#8 DER; and
 * the same as PEM.
 */
export interface Issued {
  readonly certificates: readonly Uint8Array[];
  readonly privateKey: Uint8Array;
  readonly certificatesPem: string;
  readonly privateKeyPem: string;
  /** Milliseconds since the epoch, whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
}

/** An X.509-SVID. */
export interface IssuedSvid extends Issued {
  readonly id: SpiffeId;
}

export interface Validity {
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Milliseconds from now. */
  readonly ttl: number;
}

/**
 * A new root of the trust domain (X509-SVID sections 3.2, 4.1, 4.3: CA, keyCertSign, an ID without
 * a path).
 */
export async function createAuthority(
  trustDomain: TrustDomain,
  { now, ttl }: Validity,
): Promise<Authority> {
  const keys = await newKeys();
  const subject = `O=Chaperone development, CN=${trustDomain}`;
  const notAfter = wholeSecond(now + ttl);
  const certificate = await signCertificate({
    subject,
    publicKey: keys.publicKey,
    signer: { subject, keys },
    notBefore: wholeSecond(now - BACKDATED_MS),
    notAfter,
    names: { values: [{ type: 'url', value: `spiffe://${trustDomain}` }], critical: false },
    basicConstraints: { ca: true },
    keyUsage: { bits: KEY_USAGE.keyCertSign | KEY_USAGE.cRLSign, critical: true },
  });
  return Object.freeze({ trustDomain, subject, keys, certificate, notAfter });
}

/**
 * What the profile asks of a leaf (X509-SVID sections 2 to 5), with an explicit CA:FALSE; callers
 * may overwrite any part of it.
 */
export function leafSpec(
  id: string,
  keys: Keys,
  signer: Signer,
  { now, ttl }: Validity,
): CertificateSpec {
  return {
    subject: 'O=Chaperone development',
    publicKey: keys.publicKey,
    signer,
    notBefore: wholeSecond(now - BACKDATED_MS),
    notAfter: wholeSecond(now + ttl),
    names: { values: [{ type: 'url', value: id }], critical: false },
    basicConstraints: { ca: false },
    keyUsage: { bits: KEY_USAGE.digitalSignature, critical: true },
    extendedKeyUsage: [PURPOSE.serverAuth, PURPOSE.clientAuth],
  };
}

/** Issues one X.509-SVID with a fresh key. It never outlives the authority. */
export async function issueX509Svid(
  authority: Authority,
  id: SpiffeId,
  { now, ttl }: Validity,
): Promise<IssuedSvid> {
  const keys = await newKeys();
  const spec = leafSpec(id, keys, authority, { now, ttl: Math.min(ttl, authority.notAfter - now) });
  return Object.freeze({ id, ...(await pack(spec, [await signCertificate(spec)], keys)) });
}

/** The carried forms of what was issued. */
export async function pack(
  { notBefore, notAfter }: Pick<CertificateSpec, 'notBefore' | 'notAfter'>,
  certificates: readonly Uint8Array[],
  keys: Keys,
): Promise<Issued> {
  const privateKey = await pkcs8(keys);
  return Object.freeze({
    certificates,
    privateKey,
    certificatesPem: certificatesPem(certificates),
    privateKeyPem: privateKeyPem(privateKey),
    notBefore,
    notAfter,
  });
}

function wholeSecond(ms: number): number {
  return Math.floor(ms / 1000) * 1000;
}
