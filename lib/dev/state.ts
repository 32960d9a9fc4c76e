/**
 * What the development Workload API gives out, as one immutable snapshot, and the three messages
 * composed from it. Pure: a fault switch is a field of the snapshot, so that a broken message is as
 * reproducible as a right one.
 */
import { create, type MessageInitShape, toBinary } from '@bufbuild/protobuf';
import {
  JWTBundlesResponseSchema,
  X509BundlesResponseSchema,
  type X509SVIDSchema,
  X509SVIDResponseSchema,
} from '../identity/gen/workload_pb.ts';
import { idOfTrustDomain, type SpiffeId } from '../spiffe/id.ts';
import type { TrustDomain } from '../spiffe/trust-domain.ts';
import type { IssuedSvid } from './ca.ts';
import { type Authorities, jwtBundleBytes, x509BundleBytes } from './domain.ts';

/** An identity that callers get. */
export interface DevIdentity {
  readonly id: SpiffeId;
  /** Operator's label; '' for none. */
  readonly hint: string;
}

export interface IssuedIdentity extends DevIdentity {
  readonly svid: IssuedSvid;
}

/**
 * How a federated bundle goes out: as it is, with nothing in it (a revocation), or as bytes that
 * are no bundle.
 */
export type BundleForm = 'right' | 'empty' | 'malformed';

/** Mandatory fields of a FetchX509SVID response (Workload API section 4.5). */
type MandatoryField = 'svids' | 'spiffe_id' | 'x509_svid' | 'x509_svid_key' | 'bundle';

/** Streaming methods, whose response can be replaced whole. */
export type StreamMethod = 'FetchX509SVID' | 'FetchX509Bundles' | 'FetchJWTBundles';

/** What is wrong with the responses. */
export interface ResponseFaults {
  /** Sent empty. */
  readonly blank?: MandatoryField | undefined;
  /** All identities carry this hint. */
  readonly sameHint?: string | undefined;
  /** PKCS#8 sent in place of the right private keys. */
  readonly foreignKey?: Uint8Array | undefined;
  /** Sent as `spiffe_id` beside the right certificates. */
  readonly foreignId?: string | undefined;
  /** Bytes sent in place of the whole message. */
  readonly raw?: Partial<Readonly<Record<StreamMethod, Uint8Array>>>;
}

export interface Federated {
  readonly authorities: Authorities;
  readonly form: BundleForm;
}

export interface DevState {
  readonly trustDomain: TrustDomain;
  readonly authorities: Authorities;
  readonly issued: readonly IssuedIdentity[];
  readonly federated: ReadonlyMap<TrustDomain, Federated>;
  readonly faults: ResponseFaults;
}

/**
 * Of several identities with one non-empty hint only the first is given out, as SPIRE keeps the
 * oldest entry (Workload API section 5.2.1: hints are unique in a response).
 */
export function uniqueByHint<T extends DevIdentity>(identities: readonly T[]): readonly T[] {
  const seen = new Set<string>();
  return identities.filter(({ hint }) => {
    if (hint === '') return true;
    const fresh = !seen.has(hint);
    seen.add(hint);
    return fresh;
  });
}

/** The bytes of a stream's next message: the full state, every time (Workload API section 4.3). */
export function composeResponse(method: StreamMethod, state: DevState): Uint8Array {
  return state.faults.raw?.[method] ?? COMPOSERS[method](state);
}

const COMPOSERS: Readonly<Record<StreamMethod, (state: DevState) => Uint8Array>> = {
  FetchX509SVID: (state) => {
    const svids =
      state.faults.blank === 'svids'
        ? []
        : uniqueByHint(state.issued).map((entry) => x509Svid(entry, state));
    const federatedBundles = federatedEntries(state, x509BundleBytes, MALFORMED_DER);
    return toBinary(
      X509SVIDResponseSchema,
      create(X509SVIDResponseSchema, { svids, federatedBundles }),
    );
  },
  FetchX509Bundles: (state) => {
    const own = x509BundleBytes(state.authorities);
    const bundles = {
      [idOfTrustDomain(state.trustDomain)]: own,
      ...federatedEntries(state, x509BundleBytes, MALFORMED_DER),
    };
    return toBinary(X509BundlesResponseSchema, create(X509BundlesResponseSchema, { bundles }));
  },
  FetchJWTBundles: (state) => {
    const own = jwtBundleBytes(state.authorities);
    const bundles = {
      [idOfTrustDomain(state.trustDomain)]: own,
      ...federatedEntries(state, jwtBundleBytes, MALFORMED_JWKS),
    };
    return toBinary(JWTBundlesResponseSchema, create(JWTBundlesResponseSchema, { bundles }));
  },
};

const MALFORMED_DER = new TextEncoder().encode('these bytes are no certificate');
const MALFORMED_JWKS = new TextEncoder().encode('{"keys":');
const NO_AUTHORITIES: Authorities = Object.freeze({ x509: [], jwt: [] });

function x509Svid(entry: IssuedIdentity, state: DevState): MessageInitShape<typeof X509SVIDSchema> {
  const { blank, sameHint, foreignKey, foreignId } = state.faults;
  const { id, hint, svid } = entry;
  const nothing = new Uint8Array();
  return {
    spiffeId: blank === 'spiffe_id' ? '' : (foreignId ?? id),
    x509Svid: blank === 'x509_svid' ? nothing : new Uint8Array(Buffer.concat(svid.certificates)),
    x509SvidKey: blank === 'x509_svid_key' ? nothing : (foreignKey ?? svid.privateKey),
    bundle: blank === 'bundle' ? nothing : x509BundleBytes(state.authorities),
    hint: sameHint ?? hint,
  };
}

/** Keyed by the SPIFFE ID of the trust domain, as SPIRE does. */
function federatedEntries(
  { federated }: DevState,
  bytes: (authorities: Authorities) => Uint8Array,
  malformed: Uint8Array,
): Record<string, Uint8Array> {
  const content = ({ form, authorities }: Federated): Uint8Array =>
    form === 'malformed' ? malformed : bytes(form === 'empty' ? NO_AUTHORITIES : authorities);
  return Object.fromEntries(
    [...federated].map(([name, bundle]) => [idOfTrustDomain(name), content(bundle)]),
  );
}
