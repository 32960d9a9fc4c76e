/**
 * JWT-SVIDs (JWT-SVID.md), validated here with the keys of the subject's trust domain and of no
 * other. Order: form, algorithm, header, claims, then the signature, so that no key is touched for
 * a token that is refused anyway. Keys and addresses of keys that a token brings along are never
 * used. No message holds the token.
 */
import { compactVerify, decodeJwt, decodeProtectedHeader, importJWK } from 'jose';
import type { JWK, JWTPayload, ProtectedHeaderParameters } from 'jose';
import { Fault } from '../base/fault.ts';
import { parseSpiffeId, trustDomainOf } from './id.ts';
import type { SpiffeId } from './id.ts';
import type { JwtBundle } from './identity.ts';
import { duplicateMember } from './jwks.ts';
import { LIMITS } from './limits.ts';
import { quoted } from './trust-domain.ts';
import type { TrustDomain } from './trust-domain.ts';

interface ReadOptions {
  /** Must be among the token's audiences. */
  readonly audience: string;
  /** Milliseconds since the epoch. */
  readonly now: number;
  /** Milliseconds by which its start may lie ahead. */
  readonly early?: number;
}

/** `audience` is who we are to the token's issuer. */
export interface JwtSvidOptions extends ReadOptions {
  readonly bundles: ReadonlyMap<TrustDomain, JwtBundle>;
}

export interface JwtSvid {
  readonly id: SpiffeId;
  readonly audience: readonly string[];
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
  readonly claims: JWTPayload;
}

/** Difference of clocks that is forgiven (JWT-SVID appendix A). */
const LEEWAY_MS = 10_000;
/** The same for the start of what has just been issued to us: our clock may be the slow one. */
const OWN_LEEWAY_MS = 60_000;

interface Fit {
  readonly kty: string;
  readonly crv?: string;
}

/**
 * The only algorithms there are (JWT-SVID section 2.1), each with the keys that it fits (RFC 7518
 * section 3.1).
 */
const ALGORITHMS: ReadonlyMap<unknown, Fit> = new Map<unknown, Fit>([
  ...['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'].map(
    (alg) => [alg, { kty: 'RSA' }] as const,
  ),
  ['ES256', { kty: 'EC', crv: 'P-256' }],
  ['ES384', { kty: 'EC', crv: 'P-384' }],
  ['ES512', { kty: 'EC', crv: 'P-521' }],
]);

function refuse(problem: string, hint?: string): never {
  throw new Fault('bad-jwt-svid', `the JWT-SVID ${problem}`, hint === undefined ? {} : { hint });
}

function decoded<T>(decode: () => T): T {
  try {
    return decode();
  } catch {
    return refuse('is not a JWT in compact form');
  }
}

interface Header {
  readonly alg: string;
  readonly fit: Fit;
  readonly kid: string | undefined;
}

/**
 * Section 2 and 2.1 to 2.3: what the header must not have is refused, though it would not be used.
 */
function checkHeader(header: ProtectedHeaderParameters): Header {
  const { alg, kid, typ, crit } = header;
  const fit = ALGORITHMS.get(alg);
  if (fit === undefined || alg === undefined)
    refuse(`is signed with ${quoted(String(alg))}, which is not allowed`);
  if (typ !== undefined && typ !== 'JWT' && typ !== 'JOSE')
    refuse(`has the type ${quoted(String(typ))}, not JWT`);
  if (crit !== undefined) refuse('has critical header parameters, of which we know none');
  const other = Object.keys(header).find(
    (name) => name !== 'alg' && name !== 'kid' && name !== 'typ',
  );
  if (other !== undefined)
    refuse(`has the header parameter ${quoted(other)}, which must not be there`);
  if (kid !== undefined && typeof kid !== 'string') refuse('has a key ID that is not a string');
  return { alg, fit, kid };
}

/** Of two members of one name readers may take different ones (RFC 7519 section 4). */
function checkMembers(json: string): void {
  decoded(() => JSON.parse(json));
  const twice = duplicateMember(json);
  if (twice !== undefined) refuse(`has the member ${quoted(twice)} twice`);
}

/** Seconds to either side of the epoch that a date can say. */
const LAST_SECOND = 8_640_000_000_000;

function isTime(claim: unknown): claim is number {
  return typeof claim === 'number' && Math.abs(claim) <= LAST_SECOND;
}

/** Section 3. */
function checkClaims(
  claims: JWTPayload,
  { audience, now, early = LEEWAY_MS }: ReadOptions,
): JwtSvid {
  const { sub, aud, exp, nbf } = claims;
  if (typeof sub !== 'string') refuse('has no subject');
  const listed: readonly unknown[] = Array.isArray(aud) ? aud : [aud];
  const audiences = listed.filter((one) => typeof one === 'string');
  if (audiences.length === 0 || audiences.length !== listed.length) refuse('has no audience');
  if (audience === '' || !audiences.includes(audience)) {
    refuse(`is not for ${quoted(audience)} but for ${quoted(audiences.join(', '))}`);
  }
  if (!isTime(exp)) refuse('has no expiry');
  if (now >= exp * 1000 + LEEWAY_MS) refuse(`expired ${Math.round(now / 1000 - exp)} s ago`);
  if (nbf !== undefined && !isTime(nbf)) refuse('has a "not before" that is no time');
  if (nbf !== undefined && now < nbf * 1000 - early) {
    refuse(
      `is not valid for another ${Math.round(nbf - now / 1000)} s`,
      'compare the clocks of both hosts',
    );
  }
  return Object.freeze({
    id: subjectOf(sub),
    audience: Object.freeze(audiences),
    expiresAt: exp * 1000,
    claims,
  });
}

function subjectOf(sub: string): SpiffeId {
  try {
    return parseSpiffeId(sub);
  } catch (failure) {
    return refuse(
      `has a subject that is no SPIFFE ID: ${Fault.from(failure, 'bad-jwt-svid').message}`,
    );
  }
}

/** The keys that may have signed it, at most a handful. */
function candidates({ fit, alg, kid }: Header, bundle: JwtBundle): readonly JWK[] {
  return bundle.keys.keys
    .filter((key) => key.kty === fit.kty && (fit.crv === undefined || key.crv === fit.crv))
    .filter((key) => key.alg === undefined || key.alg === alg)
    .filter((key) => kid === undefined || key.kid === kid)
    .slice(0, LIMITS.keysTried);
}

async function verifies(token: string, key: JWK, alg: string): Promise<boolean> {
  try {
    await compactVerify(token, await importJWK(key, alg), { algorithms: [alg] });
    return true;
  } catch {
    return false;
  }
}

interface Read {
  readonly header: Header;
  readonly svid: JwtSvid;
}

function read(token: string, options: ReadOptions): Read {
  if (token.length > LIMITS.token) refuse(`is longer than ${LIMITS.token} characters`);
  if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) refuse('is not a signed JWT in compact form');
  for (const part of token.split('.', 2)) checkMembers(Buffer.from(part, 'base64url').toString());
  const header = checkHeader(decoded(() => decodeProtectedHeader(token)));
  return {
    header,
    svid: checkClaims(
      decoded(() => decodeJwt(token)),
      options,
    ),
  };
}

/**
 * What a JWT-SVID says, everything checked but its signature: for tokens that the Workload API has
 * just issued to us, never for those of others.
 * @throws Fault `bad-jwt-svid`
 */
export function readIssuedJwtSvid(token: string, options: ReadOptions): JwtSvid {
  return read(token, { early: OWN_LEEWAY_MS, ...options }).svid;
}

/**
 * Validates a JWT-SVID (JWT-SVID section 4). A token without `kid` is tried with up to eight keys
 * that fit its algorithm.
 * @throws Fault `bad-jwt-svid`
 */
export async function validateJwtSvid(token: string, options: JwtSvidOptions): Promise<JwtSvid> {
  const { header, svid } = read(token, options);
  const trustDomain = trustDomainOf(svid.id);
  const bundle = options.bundles.get(trustDomain);
  if (bundle === undefined)
    refuse(`is of ${trustDomain}, of which there is no JWT bundle`, 'is that domain federated?');
  const keys = candidates(header, bundle);
  if (keys.length === 0) refuse(`was signed with a key that ${trustDomain} does not publish`);
  for (const key of keys) {
    if (await verifies(token, key, header.alg)) return svid;
  }
  return refuse(`was not signed by ${trustDomain}`);
}
