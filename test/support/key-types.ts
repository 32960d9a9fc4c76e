/** Every kind of public key that the engine can make, in a leaf that is right in all else. */
import { generateKeyPairSync, KeyObject, sign } from 'node:crypto';
import type { Issued } from '../../lib/dev/ca.ts';
import { elements } from '../../lib/spiffe/der.ts';
import { sequence, tlv } from '../../lib/tls/der.ts';
import {
  type CertificateSpec,
  privateKeyPem,
  signCertificate,
} from '../../lib/interception/issue.ts';

export interface KeyPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

export interface KeyType {
  readonly name: string;
  /** Whether it can prove itself in a handshake of TLS 1.2 or 1.3 here. */
  readonly proves: boolean;
  readonly make: () => KeyPair;
}

type Generate = (type: string, options?: object) => KeyPair;
/** The types of the engine do not name all kinds that it makes. */
const generate = generateKeyPairSync as unknown as Generate;

const kind = (proves: boolean, type: string, options?: object): KeyType => ({
  name: [type, ...Object.values(options ?? {}).map(String)].join(' '),
  proves,
  make: () => generate(type, options),
});

const HASH_BASED = ['128f', '128s', '192f', '192s', '256f', '256s'];

export const KEY_TYPES: readonly KeyType[] = [
  kind(true, 'ec', { namedCurve: 'P-256' }),
  kind(true, 'ec', { namedCurve: 'P-384' }),
  kind(true, 'ec', { namedCurve: 'P-521' }),
  kind(false, 'ec', { namedCurve: 'secp256k1' }),
  kind(true, 'ec', { namedCurve: 'brainpoolP256r1' }),
  kind(true, 'ec', { namedCurve: 'brainpoolP512r1' }),
  kind(true, 'rsa', { modulusLength: 2048 }),
  kind(true, 'rsa-pss', { modulusLength: 2048 }),
  kind(false, 'dsa', { modulusLength: 2048, divisorLength: 256 }),
  kind(false, 'dh', { group: 'modp14' }),
  kind(true, 'ed25519'),
  kind(true, 'ed448'),
  kind(false, 'x25519'),
  kind(false, 'x448'),
  ...['ml-dsa-44', 'ml-dsa-65', 'ml-dsa-87'].map((type) => kind(true, type)),
  ...['ml-kem-512', 'ml-kem-768', 'ml-kem-1024'].map((type) => kind(false, type)),
  ...HASH_BASED.flatMap((size) => [
    kind(false, `slh-dsa-sha2-${size}`),
    kind(false, `slh-dsa-shake-${size}`),
  ]),
];

/** The same certificate for another key, signed again by the issuer's EC key. */
function withPublicKey(
  certificate: Uint8Array,
  publicKey: KeyObject,
  issuer: KeyObject,
): Uint8Array {
  const [whole] = elements(certificate);
  const [body, algorithm] = elements(whole?.content ?? new Uint8Array());
  if (body === undefined || algorithm === undefined) throw new TypeError('it is no certificate');
  const info = publicKey.export({ type: 'spki', format: 'der' });
  // Version, serial number, signature, issuer, validity, subject, key (RFC 5280 section 4.1).
  const fields = elements(body.content).map((field, at) => (at === 6 ? info : field.whole));
  const next = sequence(...fields);
  const signature = Buffer.concat([Buffer.from([0]), sign('sha256', next, issuer)]);
  return sequence(next, algorithm.whole, tlv(0x03, signature));
}

/** A certificate for the usual key or `pair`, signed by the usual key or by `key`. */
export async function signed(
  spec: CertificateSpec,
  pair: KeyPair | undefined,
  key: KeyObject | undefined,
): Promise<Uint8Array> {
  const usual = await signCertificate(spec);
  if (pair === undefined && key === undefined) return usual;
  const { publicKey } = pair ?? { publicKey: KeyObject.from(spec.publicKey) };
  return withPublicKey(usual, publicKey, key ?? KeyObject.from(spec.signer.keys.privateKey));
}

/** The private key as an issued SVID carries it. */
export function pkcs8Of({ privateKey }: KeyPair): Pick<Issued, 'privateKey' | 'privateKeyPem'> {
  const der = privateKey.export({ type: 'pkcs8', format: 'der' });
  return { privateKey: der, privateKeyPem: privateKeyPem(der) };
}
