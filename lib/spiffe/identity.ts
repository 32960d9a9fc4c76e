/**
 * Identity: who we are, as one immutable snapshot per generation. SVID, own bundle and federated
 * bundles are swapped together, so no reader ever sees a certificate of one update with the bundle
 * of another. A request reads it once.
 */
import type { KeyObject, X509Certificate } from 'node:crypto';
import type { JSONWebKeySet } from 'jose';
import type { SpiffeId } from './id.ts';
import type { TrustDomain } from './trust-domain.ts';

/** An X.509-SVID that passed validation (X509-SVID section 5). */
export interface X509Svid {
  readonly id: SpiffeId;
  /** Leaf first, then intermediates; never the root. */
  readonly chain: readonly X509Certificate[];
  readonly privateKey: KeyObject;
  /** Operator's label for picking one of several (Workload API section 8); '' when none. */
  readonly hint: string;
  /** Milliseconds since the epoch. */
  readonly notBefore: number;
  readonly notAfter: number;
  /** Upper-case hexadecimal serial number of the leaf. */
  readonly serial: string;
}

/**
 * X.509 authorities of one trust domain; used for X.509-SVIDs alone. Empty means: nothing of that
 * domain is trusted.
 */
export interface X509Bundle {
  readonly trustDomain: TrustDomain;
  readonly anchors: readonly X509Certificate[];
}

/** JWT authorities of one trust domain; used for JWT-SVIDs alone. */
export interface JwtBundle {
  readonly trustDomain: TrustDomain;
  readonly keys: JSONWebKeySet;
}

export interface Identity {
  /** 1, 2, 3 … in this process. */
  readonly generation: number;
  /** The one we act as: chosen by the configured SPIFFE ID or hint, else the first. */
  readonly svid: X509Svid;
  /** All that were issued, in the order of the Workload API. */
  readonly svids: readonly X509Svid[];
  /** Own and federated X.509 bundles by trust domain. */
  readonly bundles: ReadonlyMap<TrustDomain, X509Bundle>;
}

/**
 * Names an identity by what a connection depends on: its generation, and which of its SVIDs we act
 * as.
 */
export function identityKey({ generation, svid, svids }: Identity): string {
  return `${generation}.${svids.indexOf(svid)}`;
}

/**
 * State of the source: `current` may be used until its SVID's notAfter (unless `withdrawn`); the
 * others carry what is awaited or why nothing may be used.
 */
export type IdentityState =
  | { readonly kind: 'waiting'; readonly since: number; readonly problem: string | undefined }
  | { readonly kind: 'current'; readonly identity: Identity; readonly problem: string | undefined }
  | {
      readonly kind: 'withdrawn';
      /** Milliseconds since the epoch. */
      readonly since: number;
      /**
       * By PermissionDenied, which may be over in a moment; an SVID that is left out of a message
       * is not.
       */
      readonly denied: boolean;
      readonly problem: string;
    };
