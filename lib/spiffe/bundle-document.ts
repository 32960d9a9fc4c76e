/**
 * The SPIFFE bundle document (Trust Domain and Bundle section 4) and the bundle map (section 5.1):
 * JSON that carries both kinds of authorities of a trust domain, as bundle endpoints and files do.
 * A key that is not understood is ignored, never the bundle. The document does not say whose it is:
 * the trust domain always comes from the caller's configuration.
 */
import { X509Certificate } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import { jwtKeys, x509Bundle } from './bundle.ts';
import type { JwtBundle, X509Bundle } from './identity.ts';
import { decodeJsonObject, jwksOf } from './jwks.ts';
import type { Jwk } from './jwks.ts';
import { LIMITS } from './limits.ts';
import { parseTrustDomain } from './trust-domain.ts';
import type { TrustDomain } from './trust-domain.ts';

export interface BundleDocument {
  readonly trustDomain: TrustDomain;
  readonly x509: X509Bundle;
  readonly jwt: JwtBundle;
  /** `spiffe_sequence`; undefined when absent. */
  readonly sequence: bigint | undefined;
  /**
   * `spiffe_refresh_hint` in milliseconds, kept within a minute and a day; five minutes when
   * absent.
   */
  readonly refreshMs: number;
}

const DEFAULT_REFRESH_SECONDS = 300n;
const MIN_REFRESH_SECONDS = 60n;
const MAX_REFRESH_SECONDS = 86_400n;

function clamp(seconds: bigint): number {
  if (seconds < MIN_REFRESH_SECONDS) return Number(MIN_REFRESH_SECONDS) * 1000;
  return Number(seconds > MAX_REFRESH_SECONDS ? MAX_REFRESH_SECONDS : seconds) * 1000;
}

function integer(value: unknown, name: string, what: string): bigint | undefined {
  if (value === undefined) return undefined;
  if (typeof value === 'bigint' && value >= 0n) return value;
  throw new Fault('bad-bundle', `"${name}" of ${what} is not a whole number`);
}

/**
 * The first certificate of `x5c`; undefined when there is none, in which case the entry is ignored
 * (X509-SVID section 6.2).
 */
function authorityOf(
  { x5c }: Readonly<Record<string, unknown>>,
  what: string,
): X509Certificate | undefined {
  const first: unknown = Array.isArray(x5c) ? x5c[0] : undefined;
  if (typeof first !== 'string') return undefined;
  try {
    const certificate = new X509Certificate(Buffer.from(first, 'base64'));
    if (certificate.raw.toString('base64') === first) return certificate;
  } catch (failure) {
    throw new Fault('bad-bundle', `${what} has an "x5c" that is not a certificate`, {
      cause: failure,
    });
  }
  throw new Fault('bad-bundle', `${what} has an "x5c" that is more than a certificate`);
}

function documentOf(
  trustDomain: TrustDomain,
  value: Readonly<Record<string, unknown>>,
  what: string,
): BundleDocument {
  const { keys, members } = jwksOf(value, what);
  const authorities = keys
    .filter(({ use }) => use === 'x509-svid')
    .map((key: Jwk) => authorityOf(key, what));
  const refresh = integer(members['spiffe_refresh_hint'], 'spiffe_refresh_hint', what);
  return Object.freeze({
    trustDomain,
    x509: x509Bundle(
      trustDomain,
      authorities.filter((one) => one !== undefined),
    ),
    jwt: Object.freeze({ trustDomain, keys: jwtKeys(keys, { requireUse: true }) }),
    sequence: integer(members['spiffe_sequence'], 'spiffe_sequence', what),
    refreshMs: clamp(refresh ?? DEFAULT_REFRESH_SECONDS),
  });
}

function decode(bytes: Uint8Array, what: string): Readonly<Record<string, unknown>> {
  if (bytes.length > LIMITS.bundleBytes) {
    throw new Fault('bad-bundle', `${what} is longer than ${LIMITS.bundleBytes} bytes`);
  }
  return decodeJsonObject(bytes, what);
}

/** @throws Fault `bad-bundle` */
export function parseBundleDocument(trustDomain: TrustDomain, json: Uint8Array): BundleDocument {
  const what = `the bundle document of ${trustDomain}`;
  return documentOf(trustDomain, decode(json, what), what);
}

/**
 * Bundle documents of several trust domains (section 5.1.1), all of them or none; an empty map is
 * legal.
 * @throws Fault `bad-bundle`, `bad-spiffe-id` for a name that is no trust domain
 */
export function parseBundleMap(json: Uint8Array): ReadonlyMap<TrustDomain, BundleDocument> {
  const { trust_domains: domains } = decode(json, 'the bundle map');
  if (typeof domains !== 'object' || domains === null || Array.isArray(domains)) {
    throw new Fault('bad-bundle', 'the bundle map has no "trust_domains" object');
  }
  return new Map(
    Object.entries(domains).map(([name, value]: [string, unknown]) => {
      const trustDomain = parseTrustDomain(name);
      const what = `the bundle document of ${trustDomain}`;
      if (typeof value !== 'object' || value === null)
        throw new Fault('bad-bundle', `${what} is not a JSON object`);
      return [trustDomain, documentOf(trustDomain, { ...value }, what)];
    }),
  );
}
