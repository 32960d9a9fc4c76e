/**
 * Messages of the Workload API into values; generated types go no further than this file. Each message is the complete state (Workload API section 4.3), so that nothing of
 * an earlier one is looked at. A Fault discards the message as a whole; a bad entry of another trust domain costs that domain alone and is told in `dropped`.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { parseJwtBundle, parseX509Bundle } from '../spiffe/bundle.ts';
import { parseTrustDomainKey, trustDomainOf } from '../spiffe/id.ts';
import type { JwtBundle, X509Bundle, X509Svid } from '../spiffe/identity.ts';
import { parseX509Svid } from '../spiffe/svid.ts';
import { quoted } from '../spiffe/trust-domain.ts';
import type { TrustDomain } from '../spiffe/trust-domain.ts';
import { verifyIssuedChain } from './chain.ts';
import type { JWTBundlesResponse, X509BundlesResponse, X509SVID, X509SVIDResponse } from './gen/workload_pb.ts';
import { LIMITS } from './limits.ts';

export interface Bundles<B> {
  readonly bundles: ReadonlyMap<TrustDomain, B>;
  /** Why which trust domains are not among them. */
  readonly dropped: readonly Fault[];
}

export interface X509State extends Bundles<X509Bundle> {
  /** In the order of the message, one per hint; never empty. */
  readonly svids: readonly X509Svid[];
  /** Revocation lists that came along. They are counted and not enforced: the standard says nothing of their use. */
  readonly crls: number;
}

function refuse(problem: string): never {
  throw new Fault('workload-api-message', `a message of the Workload API was discarded: ${problem}`, {
    hint: 'what was supplied before stays in use; the server breaks Workload API section 4.5',
  });
}

/** Bundles by trust domain. Two keys that name one domain are ambiguous, so neither is taken. */
function bundlesOf<B>(
  entries: Readonly<Record<string, Uint8Array>>,
  parse: (trustDomain: TrustDomain, bytes: Uint8Array) => B,
): Bundles<B> {
  const names = Object.keys(entries);
  if (names.length > LIMITS.bundles) refuse(`it has more than ${LIMITS.bundles} bundles`);
  const bundles = new Map<TrustDomain, B>();
  const seen = new Set<TrustDomain>();
  const dropped: Fault[] = [];
  for (const name of names) {
    try {
      const trustDomain = parseTrustDomainKey(name);
      if (seen.has(trustDomain)) {
        bundles.delete(trustDomain);
        throw new Fault('bad-bundle', `there are two bundles of ${trustDomain}`);
      }
      seen.add(trustDomain);
      bundles.set(trustDomain, parse(trustDomain, entries[name] ?? new Uint8Array()));
    } catch (failure) {
      dropped.push(Fault.from(failure, 'bad-bundle'));
    }
  }
  return { bundles, dropped };
}

/** Section 4.5 and 5.2.1: a mandatory field that is empty. */
function checkFields(svids: readonly X509SVID[]): void {
  if (svids.length === 0) refuse('it has no X.509-SVID');
  if (svids.length > LIMITS.svids) refuse(`it has more than ${LIMITS.svids} X.509-SVIDs`);
  for (const { spiffeId, x509Svid, x509SvidKey, bundle } of svids) {
    const of = spiffeId === '' ? '' : ` of ${quoted(spiffeId)}`;
    if (spiffeId === '') refuse('an X.509-SVID has no spiffe_id');
    if (x509Svid.length === 0) refuse(`x509_svid${of} is empty`);
    if (x509SvidKey.length === 0) refuse(`x509_svid_key${of} is empty`);
    if (bundle.length === 0) refuse(`bundle${of} is empty`);
  }
}

/** Of those with one hint the first stays (section 5.2.1); an empty hint is none. */
function firstOfEachHint(svids: readonly X509SVID[]): readonly X509SVID[] {
  const seen = new Set<string>();
  return svids.filter(({ hint }) => {
    if (hint === '') return true;
    const fresh = !seen.has(hint);
    seen.add(hint);
    return fresh;
  });
}

async function issued(message: X509SVID, clock: Clock): Promise<readonly [X509Svid, X509Bundle]> {
  const { spiffeId, x509Svid, x509SvidKey, bundle: authorities, hint } = message;
  const svid = parseX509Svid({ spiffeId, certs: x509Svid, key: x509SvidKey, hint }, clock.now());
  const bundle = parseX509Bundle(trustDomainOf(svid.id), authorities);
  await verifyIssuedChain(svid, bundle, clock);
  return [svid, bundle];
}

/**
 * FetchX509SVID. The bundle that comes with an SVID of a trust domain is that domain's, whatever the federated ones say.
 * @throws Fault `workload-api-message`, `bad-spiffe-id`, `bad-svid`, `bad-bundle`: the message is to be discarded
 */
export async function readX509Svids(response: X509SVIDResponse, clock: Clock): Promise<X509State> {
  checkFields(response.svids);
  const { bundles: federated, dropped } = bundlesOf(response.federatedBundles, parseX509Bundle);
  const svids: X509Svid[] = [];
  const own = new Map<TrustDomain, X509Bundle>();
  for (const message of firstOfEachHint(response.svids)) {
    const [svid, bundle] = await issued(message, clock);
    svids.push(svid);
    if (!own.has(bundle.trustDomain)) own.set(bundle.trustDomain, bundle);
  }
  return Object.freeze({
    svids: Object.freeze(svids),
    bundles: new Map([...federated, ...own]),
    dropped,
    crls: response.crl.length,
  });
}

/** FetchX509Bundles. @throws Fault `workload-api-message` */
export function readX509Bundles(response: X509BundlesResponse): Bundles<X509Bundle> {
  return bundlesOf(response.bundles, parseX509Bundle);
}

/** FetchJWTBundles; an empty value is a domain without keys. @throws Fault `workload-api-message` */
export function readJwtBundles(response: JWTBundlesResponse): Bundles<JwtBundle> {
  return bundlesOf(response.bundles, (trustDomain, jwks) =>
    jwks.length === 0
      ? Object.freeze({ trustDomain, keys: { keys: [] } })
      : parseJwtBundle(trustDomain, jwks, { requireUse: false }),
  );
}
