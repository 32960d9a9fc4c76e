/**
 * Bounds on what a Workload API sends, so that a broken
 * server cannot exhaust us; far above what is real.
 */
export const LIMITS = Object.freeze({
  /** Certificates of one X.509-SVID: leaf and intermediates. */
  chain: 16,
  /** Authorities of one trust domain. */
  anchors: 256,
  /** Bytes of one bundle, DER or JSON. */
  bundleBytes: 1 << 20,
  /** Keys of one JWK Set. */
  keys: 256,
  /** Bytes of a hint (Workload API section 8). */
  hintBytes: 1024,
  /** Characters of a JWT-SVID. */
  token: 16_384,
  /** Keys that one JWT-SVID without `kid` is tried against. */
  keysTried: 8,
});
