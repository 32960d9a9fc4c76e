/**
 * Certificates are made here and nowhere else, on @peculiar/x509 over WebCrypto. This file knows no
 * rules: it signs what it is told to, so that an authority can issue what is right and the tests
 * everything that is wrong. It is slow to load: what may not be needed imports it when it is.
 */
import 'reflect-metadata';
import { randomBytes, webcrypto, type webcrypto as WebCrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  Extension,
  type JsonGeneralName,
  KeyUsagesExtension,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { sequence, tlv } from '../tls/der.ts';

export type Keys = WebCrypto.CryptoKeyPair;

/** One name of a subject alternative name extension. */
export type AlternativeName = JsonGeneralName;

/** Bits of the key usage extension (RFC 5280 section 4.2.1.3). */
export const KEY_USAGE = Object.freeze({
  digitalSignature: 1,
  nonRepudiation: 2,
  keyEncipherment: 4,
  dataEncipherment: 8,
  keyAgreement: 16,
  keyCertSign: 32,
  cRLSign: 64,
});

/** Purposes of the extended key usage extension (RFC 5280 section 4.2.1.12). */
export const PURPOSE = Object.freeze({
  serverAuth: '1.3.6.1.5.5.7.3.1',
  clientAuth: '1.3.6.1.5.5.7.3.2',
  codeSigning: '1.3.6.1.5.5.7.3.3',
});

/** What signs: the name and the key of an authority. */
export interface Signer {
  readonly subject: string;
  readonly keys: Keys;
}

/** One certificate to be signed; an absent extension is left out of it. */
export interface CertificateSpec {
  readonly subject: string;
  readonly publicKey: WebCrypto.CryptoKey;
  readonly signer: Signer;
  /** Milliseconds since the epoch; certificates hold whole seconds. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly names?: { readonly values: readonly AlternativeName[]; readonly critical: boolean };
  readonly basicConstraints?: { readonly ca: boolean; readonly pathLength?: number };
  readonly keyUsage?: { readonly bits: number; readonly critical: boolean };
  readonly extendedKeyUsage?: readonly string[];
  /** What certificates below may and may not be for. */
  readonly nameConstraints?: NameConstraints;
}

/** Subtrees of names (RFC 5280 section 4.2.1.10); the extension is critical. */
interface NameConstraints {
  /** Host names of URIs that are permitted. */
  readonly uriHosts?: readonly string[];
  /** DNS names that are permitted, each with all below it. */
  readonly dns?: readonly string[];
  /** Every IP address is excluded: permitted DNS names alone say nothing about addresses. */
  readonly noAddresses?: boolean;
}

const KEY_ALGORITHM = Object.freeze({ name: 'ECDSA', namedCurve: 'P-256' });
const SIGNING_ALGORITHM = Object.freeze({ name: 'ECDSA', hash: 'SHA-256' });

/** A fresh EC P-256 key pair, the kind that SPIRE issues by default. */
export function newKeys(): Promise<Keys> {
  return webcrypto.subtle.generateKey(KEY_ALGORITHM, true, ['sign', 'verify']);
}

/** The private key as unencrypted PKCS#8 DER (RFC 5208). */
export async function pkcs8(keys: Keys): Promise<Uint8Array> {
  return new Uint8Array(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey));
}

/** Signs one certificate; answers its DER. */
export async function signCertificate(spec: CertificateSpec): Promise<Uint8Array> {
  const certificate = await X509CertificateGenerator.create(
    {
      serialNumber: serialNumber(),
      subject: spec.subject,
      issuer: spec.signer.subject,
      notBefore: new Date(spec.notBefore),
      notAfter: new Date(spec.notAfter),
      signingAlgorithm: SIGNING_ALGORITHM,
      publicKey: spec.publicKey,
      signingKey: spec.signer.keys.privateKey,
      extensions: [...statedExtensions(spec), ...(await keyIdentifiers(spec))],
    },
    webcrypto,
  );
  return new Uint8Array(certificate.rawData);
}

/** PEM text of one or more DER certificates, each ended by a newline (RFC 7468). */
export function certificatesPem(ders: readonly Uint8Array[]): string {
  return ders.map((der) => pem('CERTIFICATE', der)).join('');
}

export function privateKeyPem(der: Uint8Array): string {
  return pem('PRIVATE KEY', der);
}

function pem(label: string, der: Uint8Array): string {
  const lines =
    Buffer.from(der)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

/** 128 random bits, positive and without a leading zero byte (RFC 5280 section 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return bytes.toString('hex');
}

function statedExtensions(spec: CertificateSpec): Extension[] {
  const list: Extension[] = [];
  const { basicConstraints, keyUsage, extendedKeyUsage, names } = spec;
  if (basicConstraints !== undefined) {
    list.push(
      new BasicConstraintsExtension(basicConstraints.ca, basicConstraints.pathLength, true),
    );
  }
  if (keyUsage !== undefined) list.push(new KeyUsagesExtension(keyUsage.bits, keyUsage.critical));
  if (extendedKeyUsage !== undefined)
    list.push(new ExtendedKeyUsageExtension([...extendedKeyUsage], false));
  if (names !== undefined)
    list.push(new SubjectAlternativeNameExtension([...names.values], names.critical));
  if (spec.nameConstraints !== undefined) list.push(nameConstraints(spec.nameConstraints));
  return list;
}

async function keyIdentifiers(spec: CertificateSpec): Promise<Extension[]> {
  return [
    await SubjectKeyIdentifierExtension.create(spec.publicKey, false, webcrypto),
    await AuthorityKeyIdentifierExtension.create(spec.signer.keys.publicKey, false, webcrypto),
  ];
}

/**
 * permittedSubtrees [0] of dNSName [2] and uniformResourceIdentifier [6]; excludedSubtrees [1] of
 * iPAddress [7].
 */
function nameConstraints({
  dns = [],
  uriHosts = [],
  noAddresses = false,
}: NameConstraints): Extension {
  const permitted = [
    ...dns.map((name) => text(0x82, name)),
    ...uriHosts.map((name) => text(0x86, name)),
  ];
  const excluded = noAddresses ? [tlv(0x87, Buffer.alloc(8)), tlv(0x87, Buffer.alloc(32))] : [];
  const subtrees = (tag: number, bases: readonly Buffer[]): Buffer =>
    bases.length === 0
      ? Buffer.alloc(0)
      : tlv(tag, Buffer.concat(bases.map((base) => sequence(base))));
  return new Extension(
    '2.5.29.30',
    true,
    sequence(subtrees(0xa0, permitted), subtrees(0xa1, excluded)),
  );
}

function text(tag: number, value: string): Buffer {
  return tlv(tag, Buffer.from(value, 'latin1'));
}
