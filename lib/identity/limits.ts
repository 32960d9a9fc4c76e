/** What we take from a Workload API, how long we wait for it, and how often we ask. */
export const LIMITS = Object.freeze({
  /** Bytes of one gRPC message; grpc-js alone stops at 4 MiB, which many federated bundles exceed. */
  messageBytes: 32 << 20,
  /** X.509-SVIDs of one message. */
  svids: 100,
  /** Federated bundles of one message. */
  bundles: 1000,
  /** Milliseconds for a unary call. */
  unaryMs: 10_000,
  /** Back-off while the Workload API is away, in milliseconds. */
  away: Object.freeze({ baseMs: 250, capMs: 10_000 }),
  /** Back-off while it has no identity for us: an operator has to act, and each call costs it an attestation. */
  denied: Object.freeze({ baseMs: 1_000, capMs: 30_000 }),
  /** Milliseconds for the check of one chain, which happens in memory. */
  chainMs: 5_000,
});
