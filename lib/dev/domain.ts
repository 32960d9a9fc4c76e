/**
 * A trust domain of development: its authorities, both kinds, and what they issue. Authorities are
 * rotated as SPIRE does it: a new one is added to the bundle and issues from then on, the older
 * ones stay in the bundle until they are dropped. Several servers may share one trust domain, and
 * two trust domains federate by their servers knowing of each other.
 */
import { randomUUID } from 'node:crypto';
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose';
import { cell, type Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { pathOf, type SpiffeId, trustDomainOf } from '../spiffe/id.ts';
import { parseTrustDomain, type TrustDomain } from '../spiffe/trust-domain.ts';
import { type Authority, createAuthority, type IssuedSvid, issueX509Svid } from './ca.ts';

const JWT_ALGORITHM = 'ES256';
const AUTHORITY_TTL_MS = 24 * 3_600_000;

/** A key that signs JWT-SVIDs. */
interface JwtAuthority {
  readonly keyId: string;
  readonly privateKey: CryptoKey;
  /** As it stands in the bundle: without `use`, as SPIRE's Workload API gives it out. */
  readonly publicKey: JWK;
}

/** All authorities that are trusted; the first of each kind issues. */
export interface Authorities {
  readonly x509: readonly Authority[];
  readonly jwt: readonly JwtAuthority[];
}

export interface DevTrustDomain {
  readonly name: TrustDomain;
  readonly authorities: Cell<Authorities>;
  /** The newest authorities. */
  current(): Authorities;
  /**
   * An X.509-SVID that lives `ttl` ms. Throws a Fault 'bad-spiffe-id' for an ID of another trust
   * domain.
   */
  issue(id: SpiffeId, ttl: number): Promise<IssuedSvid>;
  /** A signed JWT-SVID (JWT-SVID section 3) that lives `ttl` ms. Throws as `issue`. */
  issueJwt(
    id: SpiffeId,
    options: { readonly audience: readonly string[]; readonly ttl: number },
  ): Promise<string>;
  /** A new CA issues; the older ones stay trusted. */
  rotateX509Authority(): Promise<void>;
  rotateJwtAuthority(): Promise<void>;
  /** Only the authorities that issue stay trusted. */
  dropOldAuthorities(): void;
}

export interface DevTrustDomainOptions {
  /** Bare name, `example.org`. */
  readonly name: string;
  readonly clock: Clock;
  /** How long an X.509 authority lives, ms; default one day. */
  readonly authorityTtl?: number;
}

/**
 * Makes a trust domain with one authority of each kind. Throws a Fault 'bad-spiffe-id' when its
 * name is none.
 */
export async function createDevTrustDomain(
  options: DevTrustDomainOptions,
): Promise<DevTrustDomain> {
  const { clock, authorityTtl = AUTHORITY_TTL_MS } = options;
  const name = parseTrustDomain(options.name);
  const newX509 = (): Promise<Authority> =>
    createAuthority(name, { now: clock.now(), ttl: authorityTtl });
  let current: Authorities = Object.freeze({
    x509: [await newX509()],
    jwt: [await newJwtAuthority()],
  });
  const authorities = cell(current);
  const change = (next: Authorities): void => {
    current = Object.freeze(next);
    authorities.set(current);
  };
  return Object.freeze({
    name,
    authorities,
    current: () => current,
    async issue(id: SpiffeId, ttl: number) {
      requireMember(name, id);
      return issueX509Svid(first(current.x509), id, { now: clock.now(), ttl });
    },
    async issueJwt(
      id: SpiffeId,
      { audience, ttl }: { readonly audience: readonly string[]; readonly ttl: number },
    ) {
      requireMember(name, id);
      return signJwtSvid(first(current.jwt), { id, audience, now: clock.now(), ttl });
    },
    async rotateX509Authority() {
      const added = await newX509();
      change({ ...current, x509: [added, ...current.x509] });
    },
    async rotateJwtAuthority() {
      const added = await newJwtAuthority();
      change({ ...current, jwt: [added, ...current.jwt] });
    },
    dropOldAuthorities: () => change({ x509: [first(current.x509)], jwt: [first(current.jwt)] }),
  });
}

/** The X.509 bundle as the Workload API carries it: DER after DER (Workload API section 5.2). */
export function x509BundleBytes({ x509 }: Authorities): Uint8Array {
  return new Uint8Array(Buffer.concat(x509.map(({ certificate }) => certificate)));
}

/** The JWT bundle as the Workload API carries it: a JWK set (Workload API section 6.2.2). */
export function jwtBundleBytes({ jwt }: Authorities): Uint8Array {
  return new TextEncoder().encode(JSON.stringify({ keys: jwt.map(({ publicKey }) => publicKey) }));
}

async function newJwtAuthority(): Promise<JwtAuthority> {
  const { privateKey, publicKey } = await generateKeyPair(JWT_ALGORITHM);
  const keyId = randomUUID().replaceAll('-', '');
  return Object.freeze({
    keyId,
    privateKey,
    publicKey: { ...(await exportJWK(publicKey)), kid: keyId },
  });
}

interface JwtParts {
  readonly id: SpiffeId;
  readonly audience: readonly string[];
  readonly now: number;
  readonly ttl: number;
}

function signJwtSvid(
  { keyId, privateKey }: JwtAuthority,
  { id, audience, now, ttl }: JwtParts,
): Promise<string> {
  const issuedAt = Math.floor(now / 1000);
  return new SignJWT({})
    .setProtectedHeader({ alg: JWT_ALGORITHM, kid: keyId, typ: 'JWT' })
    .setSubject(id)
    .setAudience([...audience])
    .setIssuedAt(issuedAt)
    .setExpirationTime(issuedAt + Math.max(1, Math.floor(ttl / 1000)))
    .sign(privateKey);
}

/** Throws a Fault 'bad-spiffe-id' for an ID of another trust domain, or of the domain itself. */
export function requireMember(name: TrustDomain, id: SpiffeId): void {
  if (trustDomainOf(id) === name && pathOf(id) !== '') return;
  throw new Fault(
    'bad-spiffe-id',
    `cannot issue ${id}: this authority issues to workloads of ${name} alone`,
    {
      hint: `name an identity under spiffe://${name}/`,
    },
  );
}

function first<T>(list: readonly T[]): T {
  const [value] = list;
  if (value === undefined) throw new TypeError('a trust domain always has an authority');
  return value;
}
