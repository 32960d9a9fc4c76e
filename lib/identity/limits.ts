/** What we take from a Workload API, how long we wait for it, and how often we ask. */
export const LIMITS = Object.freeze({
  /**
   * Bytes of one gRPC message; grpc-js alone stops at 4 MiB, which many federated bundles exceed.
   */
  messageBytes: 32 << 20,
  /** X.509-SVIDs of one message. */
  svids: 100,
  /** Federated bundles of one message. */
  bundles: 1000,
  /** Milliseconds for a unary call. */
  unaryMs: 10_000,
  /** Back-off while the Workload API is away, in milliseconds. */
  away: Object.freeze({ baseMs: 250, capMs: 10_000 }),
  /**
   * Back-off while it has no identity for us: an operator has to act, and each call costs it an
   * attestation.
   */
  denied: Object.freeze({ baseMs: 1_000, capMs: 30_000 }),
  /** Milliseconds by which the start of what was issued to us may lie ahead of our clock. */
  skewMs: 60_000,
  /**
   * Milliseconds between pings on a stream that is silent: servers of gRPC end connections that
   * ping more often than every five minutes. And how long an answer may take.
   */
  keepalive: Object.freeze({ timeMs: 310_000, timeoutMs: 10_000 }),
  /** What is done when no newer SVID comes though it is due. */
  overdue: Object.freeze({
    /** Of an SVID's life, after which it should have been renewed: half of it, and a tenth more. */
    share: 0.6,
    /**
     * Milliseconds between attempts to ask on a connection of its own, at least; and of its life.
     */
    leastMs: 5_000,
    again: 0.05,
    /** Milliseconds that an open stream may take for its first message. */
    firstMs: 30_000,
  }),
  /** Milliseconds for the check of one chain, which happens in memory. */
  chainMs: 5_000,
});
