/**
 * Messages of the Workload API into values; generated types go no further than this file. Each
 * message is the complete state (Workload API section 4.3), so that nothing of an earlier one is
 * looked at. A Fault discards the message as a whole. One bad part costs no other: a bundle of
 * another trust domain, an anchor, an SVID that we do not act as are left out and told; when the
 * SVID that we are to act as is bad, none of the message's is taken, but its bundles are.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { parseJwtBundle, parseX509Bundle } from '../spiffe/bundle.ts';
import { splitCertificates } from '../spiffe/certificate.ts';
import { parseSpiffeId, parseTrustDomainKey, type SpiffeId, trustDomainOf } from '../spiffe/id.ts';
import type { JwtBundle, X509Bundle, X509Svid } from '../spiffe/identity.ts';
import { parseX509Svid } from '../spiffe/svid.ts';
import { quoted } from '../spiffe/trust-domain.ts';
import type { TrustDomain } from '../spiffe/trust-domain.ts';
import { verifyLeaf } from '../spiffe/verify.ts';
import { verifyIssuedChain } from './chain.ts';
import type { JWTBundlesResponse, X509SVID, X509SVIDResponse } from './gen/workload_pb.ts';
import { LIMITS } from './limits.ts';
import { firstOfEachHint, missing, selected, type Select } from './select.ts';
import { untimely, type Validity } from './timeliness.ts';

export interface Bundles<B> {
  readonly bundles: ReadonlyMap<TrustDomain, B>;
  /** Why which trust domains are not among them. */
  readonly dropped: readonly Fault[];
}

/** The SVID to act as; why the one that is meant may not be used; or that it is not among them. */
type Chosen =
  | { readonly kind: 'svid'; readonly svid: X509Svid }
  | { readonly kind: 'refused'; readonly fault: Fault }
  | { readonly kind: 'missing'; readonly fault: Fault };

export interface X509State extends Bundles<X509Bundle> {
  readonly chosen: Chosen;
  /** Those that may be used, in the order of the message, one per hint. */
  readonly svids: readonly X509Svid[];
  /** Why which SVIDs that we do not act as, and which anchors, are not among them. */
  readonly leftOut: readonly Fault[];
  /** Of SVIDs that the clock alone forbids now. */
  readonly untimely: readonly Validity[];
  /**
   * Revocation lists that came along. They are counted and not enforced: the standard says nothing
   * of their use.
   */
  readonly crls: number;
}

function refuse(problem: string): never {
  throw new Fault(
    'workload-api-message',
    `a message of the Workload API was discarded: ${problem}`,
    {
      hint: 'what was supplied before stays in use; the server breaks Workload API section 4.5',
    },
  );
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

/** What one entry of a message came to. */
interface Read {
  readonly svid: X509Svid | undefined;
  readonly fault: Fault | undefined;
  /** Where the clock may be the reason of the fault. */
  readonly untimely: Validity | undefined;
}

async function issued(message: X509SVID, bundle: X509Bundle | Fault, clock: Clock): Promise<Read> {
  const { spiffeId, x509Svid: certs, x509SvidKey: key, hint } = message;
  const now = clock.now();
  try {
    if (bundle instanceof Fault) throw bundle;
    const options = { skew: LIMITS.skewMs, anchors: bundle.anchors };
    const svid = parseX509Svid({ spiffeId, certs, key, hint }, now, options);
    await verifyIssuedChain(svid, bundle, clock);
    return { svid, fault: undefined, untimely: undefined };
  } catch (failure) {
    const fault = Fault.from(failure, 'bad-svid');
    return { svid: undefined, fault, untimely: untimely(certs, fault, now) };
  }
}

/** The bundle of the message's own trust domain, or what is wrong with it. */
function ownBundle({ spiffeId, bundle }: X509SVID, leftOut: Fault[]): X509Bundle | Fault {
  try {
    return parseX509Bundle(
      trustDomainOf(parseSpiffeId(spiffeId)),
      bundle,
      (fault) => void leftOut.push(fault),
    );
  } catch (failure) {
    return Fault.from(failure, 'bad-bundle');
  }
}

/**
 * FetchX509SVID. The bundle that comes with an SVID of a trust domain is that domain's, whatever
 * the federated ones say; the one that comes with the SVID that we act as goes first.
 * @throws Fault `workload-api-message`: the message is to be discarded
 */
export async function readX509Svids(
  response: X509SVIDResponse,
  clock: Clock,
  select: Select,
): Promise<X509State> {
  checkFields(response.svids);
  const leftOut: Fault[] = [];
  const { bundles: federated, dropped } = bundlesOf(response.federatedBundles, (trustDomain, der) =>
    parseX509Bundle(trustDomain, der, (fault) => void leftOut.push(fault)),
  );
  const received = firstOfEachHint(response.svids);
  const meant = selected(received, select);
  const own = new Map<TrustDomain, X509Bundle>();
  const reads = new Map<X509SVID, Read>();
  for (const message of received.toSorted((a, b) => Number(b === meant) - Number(a === meant))) {
    const bundle = ownBundle(message, leftOut);
    if (!(bundle instanceof Fault) && !own.has(bundle.trustDomain))
      own.set(bundle.trustDomain, bundle);
    const read = await issued(message, bundle, clock);
    reads.set(message, read);
    if (message !== meant && read.fault !== undefined) leftOut.push(read.fault);
  }
  const inOrder = received.flatMap((message) => reads.get(message) ?? []);
  return Object.freeze({
    chosen: chosenOf(meant === undefined ? misnamed(reads, select) : reads.get(meant), () =>
      missing(received, select),
    ),
    svids: Object.freeze(inOrder.flatMap(({ svid }) => svid ?? [])),
    bundles: new Map([...federated, ...own]),
    dropped,
    leftOut,
    untimely: inOrder.flatMap(({ untimely: one }) => one ?? []),
    crls: response.crl.length,
  });
}

/**
 * An entry that bears another name than its certificate, which is of the identity that is meant:
 * not one that is gone.
 */
function misnamed(reads: ReadonlyMap<X509SVID, Read>, { spiffeId }: Select): Read | undefined {
  if (spiffeId === undefined) return undefined;
  for (const [message, read] of reads) {
    if (read.fault !== undefined && certifiedId(message) === spiffeId) return read;
  }
  return undefined;
}

function certifiedId({ x509Svid }: X509SVID): SpiffeId | undefined {
  try {
    const [leaf] = splitCertificates(x509Svid, 'the X.509-SVID', 'bad-svid');
    return leaf === undefined ? undefined : verifyLeaf(leaf);
  } catch {
    return undefined;
  }
}

function chosenOf(read: Read | undefined, absent: () => Fault): Chosen {
  if (read?.svid !== undefined) return { kind: 'svid', svid: read.svid };
  if (read?.fault !== undefined) return { kind: 'refused', fault: read.fault };
  return { kind: 'missing', fault: absent() };
}

/**
 * FetchJWTBundles; an empty value is a domain without keys. @throws Fault `workload-api-message`
 */
export function readJwtBundles(response: JWTBundlesResponse): Bundles<JwtBundle> {
  return bundlesOf(response.bundles, (trustDomain, jwks) =>
    jwks.length === 0
      ? Object.freeze({ trustDomain, keys: { keys: [] } })
      : parseJwtBundle(trustDomain, jwks),
  );
}
