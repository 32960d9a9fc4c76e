/**
 * Trust bundles (SPIFFE_Trust_Domain_and_Bundle.md). A bundle belongs to one trust domain and is
 * never merged with another; X.509 authorities and JWT authorities are different values so that
 * neither can verify the other's SVIDs. An empty bundle is legal and means that nothing of that
 * domain is trusted.
 */
import { Fault } from '../base/fault.ts';
import { splitReadable } from './certificate.ts';
import type { JwtBundle, X509Bundle } from './identity.ts';
import { decodeJwks, publicKey } from './jwks.ts';
import { LIMITS } from './limits.ts';
import type { TrustDomain } from './trust-domain.ts';

/** Throws a Fault `bad-bundle` unless the bundle of `trustDomain` is of a size that we take. */
function checkSize(trustDomain: TrustDomain, bytes: Uint8Array): void {
  if (bytes.length <= LIMITS.bundleBytes) return;
  throw new Fault(
    'bad-bundle',
    `the bundle of ${trustDomain} is longer than ${LIMITS.bundleBytes} bytes`,
  );
}

/** Told of each certificate that is left out of a bundle. */
export type LeftOut = (fault: Fault) => void;

/**
 * The authorities of a trust domain from concatenated DER, as the Workload API carries them
 * (section 5.2). Duplicates are dropped. A certificate that cannot be read, or is no CA's, is left
 * out: the latter would itself be accepted as a peer's (X509-SVID section 3.2). Where none is left
 * of what was there, the bundle is bad as a whole.
 * @throws Fault `bad-bundle`
 */
export function parseX509Bundle(
  trustDomain: TrustDomain,
  der: Uint8Array,
  leftOut: LeftOut = () => {},
): X509Bundle {
  checkSize(trustDomain, der);
  const certificates = splitReadable(der, `the bundle of ${trustDomain}`, leftOut);
  return x509Bundle(trustDomain, certificates, leftOut);
}

/** @throws Fault `bad-bundle` */
function x509Bundle(
  trustDomain: TrustDomain,
  certificates: X509Bundle['anchors'],
  leftOut: LeftOut = () => {},
): X509Bundle {
  if (certificates.length > LIMITS.anchors) {
    throw new Fault(
      'bad-bundle',
      `the bundle of ${trustDomain} has more than ${LIMITS.anchors} certificates`,
    );
  }
  const faults = certificates.filter(({ ca }) => !ca).map((one) => noAuthority(trustDomain, one));
  const authorities = certificates.filter(({ ca }) => ca);
  if (authorities.length === 0 && faults[0] !== undefined) throw faults[0];
  for (const fault of faults) leftOut(fault);
  const anchors = [...new Map(authorities.map((one) => [one.fingerprint256, one])).values()];
  return Object.freeze({ trustDomain, anchors: Object.freeze(anchors) });
}

function noAuthority(
  trustDomain: TrustDomain,
  { serialNumber }: X509Bundle['anchors'][number],
): Fault {
  const problem = `the bundle of ${trustDomain} holds a certificate that is no CA's`;
  return new Fault('bad-bundle', problem, {
    hint:
      `its serial number is ${serialNumber}; bundles hold only signing certificates, of ` +
      'X.509 version 3',
  });
}

/**
 * The JWT authorities of a trust domain from a JWK Set (JWT-SVID section 6). Keys of another use,
 * of unknown type or without a key ID are ignored one by one; a key without `use` is taken, as the
 * Workload API of SPIRE sends a plain JWK Set. Only public members are kept.
 * @throws Fault `bad-bundle`
 */
export function parseJwtBundle(trustDomain: TrustDomain, jwks: Uint8Array): JwtBundle {
  checkSize(trustDomain, jwks);
  const keys = decodeJwks(jwks, `the JWT bundle of ${trustDomain}`)
    .filter(({ use }) => use === 'jwt-svid' || use === undefined)
    .flatMap((key) => publicKey(key) ?? []);
  return Object.freeze({ trustDomain, keys: Object.freeze({ keys }) });
}
