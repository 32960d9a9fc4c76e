/**
 * A real certificate authority for tests. By default it issues X.509-SVIDs that satisfy every rule;
 * each option of `LeafOptions` and `IssuerOptions` breaks one of them, so that any malformed
 * certificate can be made. `MALFORMED_LEAVES` lists the usual ones by rule.
 */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { createAuthority, type Issued, leafSpec, pack, type Validity } from '../../lib/dev/ca.ts';
import {
  type AlternativeName,
  certificatesPem,
  type CertificateSpec,
  KEY_USAGE,
  type Keys,
  newKeys,
  PURPOSE,
  type Signer,
} from '../../lib/interception/issue.ts';
import type { SpiffeId } from '../../lib/spiffe/id.ts';
import type { Identity, X509Bundle, X509Svid } from '../../lib/spiffe/identity.ts';
import type { TrustDomain } from '../../lib/spiffe/trust-domain.ts';
import { type KeyPair, pkcs8Of, signed } from './key-types.ts';

const HOUR = 3_600_000;

/** Validity, key and extensions that a leaf and an issuer share. */
interface CommonOptions {
  readonly subject?: string;
  /** Milliseconds since the epoch; default now less 10 s. */
  readonly notBefore?: number;
  /** Milliseconds since the epoch; default now plus one hour. */
  readonly notAfter?: number;
  readonly keys?: Keys;
  /** A key of any kind instead of the usual one; an issuer's must be of an elliptic curve. */
  readonly pair?: KeyPair;
  readonly pathLength?: number;
  readonly keyUsage?: readonly (keyof typeof KEY_USAGE)[] | 'absent';
  readonly keyUsageCritical?: boolean;
  readonly permittedUriHosts?: readonly string[];
}

export interface LeafOptions extends CommonOptions {
  /** All URI names; default the ID alone. */
  readonly uris?: readonly string[];
  readonly dns?: readonly string[];
  readonly ips?: readonly string[];
  readonly emails?: readonly string[];
  readonly sanCritical?: boolean;
  readonly ca?: boolean | 'absent';
  readonly purposes?: readonly (keyof typeof PURPOSE)[] | 'absent';
  /** Bytes put after the DER of the leaf. */
  readonly trailing?: Uint8Array;
}

export interface IssuerOptions extends CommonOptions {
  readonly ca?: boolean;
  /** URI names of the issuing certificate; default none. */
  readonly uris?: readonly string[];
}

export interface TestSvid extends Issued {
  readonly id: SpiffeId;
  /** Leaf first. */
  readonly chain: readonly X509Certificate[];
  readonly leaf: X509Certificate;
  readonly key: KeyObject;
  /** As the Workload API carries it: DER after DER. */
  readonly concatenated: Uint8Array;
  /** As lib/spiffe would have parsed it; no rule is checked. */
  readonly x509Svid: X509Svid;
}

export interface TestIssuer {
  readonly trustDomain: TrustDomain;
  /** DER of this issuer's own certificate. */
  readonly certificate: Uint8Array;
  readonly pem: string;
  /** Its certificate as the only anchor: for an intermediate, an anchor that is not self-signed. */
  readonly bundle: X509Bundle;
  /**
   * Issues a leaf for a path of the trust domain ('/agent') or for a whole ID, of any trust domain.
   */
  svid(pathOrId: string, options?: LeafOptions): Promise<TestSvid>;
  intermediate(options?: IssuerOptions): Promise<TestIssuer>;
}

export interface TestAuthority extends TestIssuer {
  /**
   * A snapshot as lib/identity would publish it: this SVID, the authority's bundle and those of
   * `federated`.
   */
  identity(svid: TestSvid, federated?: readonly TestIssuer[], generation?: number): Identity;
}

export interface AuthorityOptions {
  readonly trustDomain?: string;
  readonly notBefore?: number;
  readonly notAfter?: number;
}

export async function testAuthority(options: AuthorityOptions = {}): Promise<TestAuthority> {
  const { trustDomain: name = 'example.org', notAfter } = options;
  const trustDomain = name as TrustDomain;
  const now = options.notBefore ?? Date.now();
  const root = await createAuthority(trustDomain, {
    now,
    ttl: notAfter === undefined ? 24 * HOUR : notAfter - now,
  });
  const issuer = testIssuer({
    trustDomain,
    signer: root,
    certificate: root.certificate,
    below: [],
  });
  return Object.freeze({
    ...issuer,
    identity: (svid: TestSvid, federated: readonly TestIssuer[] = [], generation = 1): Identity =>
      Object.freeze({
        generation,
        svid: svid.x509Svid,
        svids: Object.freeze([svid.x509Svid]),
        bundles: new Map([issuer, ...federated].map((one) => [one.trustDomain, one.bundle])),
      }),
  });
}

interface IssuerParts {
  readonly trustDomain: TrustDomain;
  readonly signer: Signer;
  /** What signs, where it is not the signer's usual key. */
  readonly key?: KeyObject | undefined;
  readonly certificate: Uint8Array;
  /** Certificates that go after a leaf of this issuer. */
  readonly below: readonly Uint8Array[];
}

function testIssuer({ trustDomain, signer, key, certificate, below }: IssuerParts): TestIssuer {
  const bundle = Object.freeze({
    trustDomain,
    anchors: Object.freeze([new X509Certificate(certificate)]),
  });
  return {
    trustDomain,
    certificate,
    pem: certificatesPem([certificate]),
    bundle,
    async svid(pathOrId, options = {}) {
      const id = pathOrId.startsWith('/') ? `spiffe://${trustDomain}${pathOrId}` : pathOrId;
      const keys = options.keys ?? (await newKeys());
      const spec = brokenLeaf(leafSpec(id, keys, signer, validity()), options);
      const { pair, trailing = new Uint8Array() } = options;
      const leaf = await signed(spec, pair, key);
      const issued = await pack(spec, [Buffer.concat([leaf, trailing]), ...below], keys);
      return testSvid(id, pair === undefined ? issued : { ...issued, ...pkcs8Of(pair) });
    },
    async intermediate(options = {}) {
      const keys = options.keys ?? (await newKeys());
      const subject = options.subject ?? `O=Chaperone test, CN=intermediate ${below.length + 1}`;
      const made = await signed(
        issuerSpec({ ...options, subject }, keys, signer),
        options.pair,
        key,
      );
      const certificates = { certificate: made, below: [made, ...below] };
      return testIssuer({
        trustDomain,
        signer: { subject, keys },
        key: options.pair?.privateKey,
        ...certificates,
      });
    },
  };
}

function validity(): Validity {
  return { now: Date.now(), ttl: HOUR };
}

function keyUsage({
  keyUsage,
  keyUsageCritical = true,
}: CommonOptions): Pick<CertificateSpec, 'keyUsage'> {
  if (keyUsage === undefined || keyUsage === 'absent') return {};
  return {
    keyUsage: {
      bits: keyUsage.reduce((bits, name) => bits | KEY_USAGE[name], 0),
      critical: keyUsageCritical,
    },
  };
}

function brokenLeaf(right: CertificateSpec, options: LeafOptions): CertificateSpec {
  const { ca, purposes, pathLength, subject = right.subject } = options;
  const values = alternativeNames(options, right.names?.values ?? []);
  return {
    publicKey: right.publicKey,
    signer: right.signer,
    subject,
    notBefore: options.notBefore ?? right.notBefore,
    notAfter: options.notAfter ?? right.notAfter,
    ...(values.length > 0 && {
      names: { values, critical: options.sanCritical ?? subject === '' },
    }),
    ...(ca !== 'absent' && {
      basicConstraints: { ca: ca ?? false, ...(pathLength !== undefined && { pathLength }) },
    }),
    ...keyUsage({ ...options, keyUsage: options.keyUsage ?? ['digitalSignature'] }),
    ...(purposes !== 'absent' && {
      extendedKeyUsage: (purposes ?? ['serverAuth', 'clientAuth']).map((name) => PURPOSE[name]),
    }),
    ...(options.permittedUriHosts !== undefined && {
      nameConstraints: { uriHosts: options.permittedUriHosts },
    }),
  };
}

function alternativeNames(
  options: LeafOptions,
  own: readonly AlternativeName[],
): AlternativeName[] {
  const { uris, dns = [], ips = [], emails = [] } = options;
  return [
    ...(uris === undefined ? own : uris.map((value) => ({ type: 'url' as const, value }))),
    ...dns.map((value) => ({ type: 'dns' as const, value })),
    ...ips.map((value) => ({ type: 'ip' as const, value })),
    ...emails.map((value) => ({ type: 'email' as const, value })),
  ];
}

function issuerSpec(
  options: IssuerOptions & { readonly subject: string },
  keys: Keys,
  signer: Signer,
): CertificateSpec {
  const {
    subject,
    ca = true,
    uris = [],
    pathLength,
    permittedUriHosts,
    notBefore,
    notAfter,
  } = options;
  return {
    subject,
    publicKey: keys.publicKey,
    signer,
    notBefore: notBefore ?? Date.now() - 10_000,
    notAfter: notAfter ?? Date.now() + HOUR,
    ...(uris.length > 0 && {
      names: { values: uris.map((value) => ({ type: 'url' as const, value })), critical: false },
    }),
    basicConstraints: { ca, ...(pathLength !== undefined && { pathLength }) },
    ...keyUsage({ ...options, keyUsage: options.keyUsage ?? ['keyCertSign', 'cRLSign'] }),
    ...(permittedUriHosts !== undefined && { nameConstraints: { uriHosts: permittedUriHosts } }),
  };
}

function testSvid(id: string, issued: Issued): TestSvid {
  const chain = Object.freeze(issued.certificates.map((der) => new X509Certificate(der)));
  const [leaf] = chain;
  if (leaf === undefined) throw new TypeError('a chain has a leaf');
  const key = createPrivateKey({
    key: Buffer.from(issued.privateKey),
    format: 'der',
    type: 'pkcs8',
  });
  const spiffeId = id as SpiffeId;
  return Object.freeze({
    ...issued,
    id: spiffeId,
    chain,
    leaf,
    key,
    concatenated: new Uint8Array(Buffer.concat(issued.certificates)),
    x509Svid: Object.freeze({
      id: spiffeId,
      chain,
      privateKey: key,
      hint: '',
      notBefore: issued.notBefore,
      notAfter: issued.notAfter,
      serial: leaf.serialNumber,
    }),
  });
}

/**
 * Leaves that no validator of ours may take: the rule, what is wrong, and how to have one issued
 * for `spiffe://example.org/agent`.
 */
export interface MalformedLeaf {
  readonly rule: string;
  readonly title: string;
  /** Default '/agent'. */
  readonly pathOrId?: string;
  readonly options: LeafOptions;
  /** Whether OpenSSL's own path validation refuses it already. */
  readonly openssl?: boolean;
}

const AGENT = 'spiffe://example.org/agent';
const DAY = 24 * HOUR;

export const MALFORMED_LEAVES: readonly MalformedLeaf[] = [
  { rule: 'X-01', title: 'two URI SANs', options: { uris: [AGENT, 'spiffe://example.org/other'] } },
  { rule: 'X-01', title: 'the same URI SAN twice', options: { uris: [AGENT, AGENT] } },
  { rule: 'X-01', title: 'no SAN at all', options: { uris: [] } },
  { rule: 'X-01', title: 'a DNS SAN only', options: { uris: [], dns: ['agent.example.org'] } },
  {
    rule: 'X-02',
    title: 'a URI that is not a SPIFFE ID',
    options: { uris: ['https://example.org/agent'] },
  },
  { rule: 'X-02', title: 'an ID without a path', options: { uris: ['spiffe://example.org'] } },
  {
    rule: 'X-02',
    title: 'an ID with a trailing slash',
    options: { uris: ['spiffe://example.org/'] },
  },
  {
    rule: 'X-02',
    title: 'an upper-case trust domain',
    options: { uris: ['spiffe://EXAMPLE.org/agent'] },
  },
  { rule: 'X-03', title: 'CA:TRUE', options: { ca: true } },
  {
    rule: 'X-04',
    title: 'keyCertSign',
    options: { keyUsage: ['digitalSignature', 'keyCertSign'] },
  },
  { rule: 'X-04', title: 'cRLSign', options: { keyUsage: ['digitalSignature', 'cRLSign'] } },
  { rule: 'X-05', title: 'no key usage', options: { keyUsage: 'absent' } },
  { rule: 'X-05', title: 'a key usage that is not critical', options: { keyUsageCritical: false } },
  {
    rule: 'X-05',
    title: 'no digitalSignature',
    options: { keyUsage: ['keyAgreement'] },
    openssl: true,
  },
  {
    rule: 'X-06',
    title: 'an empty subject and a SAN that is not critical',
    options: { subject: '', sanCritical: false },
  },
  { rule: 'X-07', title: 'serverAuth alone', options: { purposes: ['serverAuth'] } },
  { rule: 'X-07', title: 'clientAuth alone', options: { purposes: ['clientAuth'] } },
  {
    rule: 'X-07',
    title: 'another purpose alone',
    options: { purposes: ['codeSigning'] },
    openssl: true,
  },
  {
    rule: 'X-08',
    title: 'expired',
    options: { notBefore: Date.UTC(2024, 0, 1), notAfter: Date.UTC(2024, 0, 2) },
    openssl: true,
  },
  {
    rule: 'X-08',
    title: 'not yet valid',
    options: { notBefore: Date.UTC(2090, 0, 1), notAfter: Date.UTC(2090, 0, 1) + DAY },
    openssl: true,
  },
  {
    rule: 'X-09',
    title: 'an ID of another trust domain',
    pathOrId: 'spiffe://other.test/agent',
    options: {},
  },
];
