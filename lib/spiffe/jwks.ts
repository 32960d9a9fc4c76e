/**
 * JWK Sets (RFC 7517 section 5) as SPIFFE uses them: JSON in UTF-8, no member twice (readers could
 * take different ones), unknown members left alone, and of a key only
 * its public part.
 */
import type { JWK } from 'jose';
import { Fault } from '../base/fault.ts';
import { LIMITS } from './limits.ts';

/** A JSON object whose members are not known yet. */
export type Jwk = Readonly<Record<string, unknown>> & { readonly use?: unknown };

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The first member name that stands twice in one object of valid JSON text. */
export function duplicateMember(json: string): string | undefined {
  const open: (Set<string> | undefined)[] = [];
  const tokens = json.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?|[{}[\]]/g);
  for (const [token, colon] of tokens) {
    if (token === '{') open.push(new Set());
    else if (token === '[') open.push(undefined);
    else if (token === '}' || token === ']') open.pop();
    else if (colon !== undefined) {
      const name: unknown = JSON.parse(token.slice(0, -colon.length));
      const seen = open.at(-1);
      if (typeof name !== 'string' || seen === undefined) continue;
      if (seen.has(name)) return name;
      seen.add(name);
    }
  }
  return undefined;
}

function decodeJsonObject(bytes: Uint8Array, what: string): Readonly<Record<string, unknown>> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (failure) {
    throw new Fault('bad-bundle', `${what} is not JSON in UTF-8`, { cause: failure });
  }
  if (!isObject(value)) throw new Fault('bad-bundle', `${what} is not a JSON object`);
  const twice = duplicateMember(text);
  if (twice !== undefined)
    throw new Fault('bad-bundle', `${what} has the member ${JSON.stringify(twice)} twice`);
  return value;
}

/**
 * The keys of a JWK Set, as they came.
 * @throws Fault `bad-bundle` with `what` as its subject
 */
export function decodeJwks(bytes: Uint8Array, what: string): readonly Jwk[] {
  const { keys } = decodeJsonObject(bytes, what);
  if (!Array.isArray(keys)) throw new Fault('bad-bundle', `${what} has no "keys" array`);
  if (keys.length > LIMITS.keys)
    throw new Fault('bad-bundle', `${what} has more than ${LIMITS.keys} keys`);
  return keys.filter(isObject);
}

/**
 * The members that make a public key of each type (RFC 7518 section 6). Symmetric keys are none of
 * them.
 */
const PUBLIC_MEMBERS: ReadonlyMap<unknown, readonly string[]> = new Map([
  ['EC', ['crv', 'x', 'y']],
  ['RSA', ['n', 'e']],
]);

/**
 * The public part of a key that JWT-SVIDs may be signed with; undefined when it is of another type,
 * incomplete, or has no key ID.
 */
export function publicKey(key: Jwk): JWK | undefined {
  const { kty, kid, alg } = key as Readonly<Record<string, unknown>>;
  const wanted = PUBLIC_MEMBERS.get(kty);
  if (wanted === undefined || typeof kty !== 'string' || typeof kid !== 'string' || kid === '')
    return undefined;
  const parts = wanted.map((name) => [name, key[name]] as const);
  if (!parts.every(([, value]) => typeof value === 'string')) return undefined;
  return Object.freeze({
    kty,
    kid,
    ...(typeof alg === 'string' && { alg }),
    ...Object.fromEntries(parts),
  });
}
