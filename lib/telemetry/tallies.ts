/** What was counted, and what gauges read, between the counters and the text of metrics. */

/** Upper bounds of durations, in seconds. */
export const BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

/**
 * What records came to. Handed over when it is asked for: the library's own counters hash their
 * labels at each step, which every request would pay for.
 */
export interface Tallies {
  /** By agent (`unknown` where nobody proved to be one), destination and code. */
  readonly allow: Map<string, Map<string, Map<string, number>>>;
  readonly deny: Map<string, Map<string, Map<string, number>>>;
  /** By destination. */
  readonly errors: Map<string, number>;
  readonly refused: Map<string, number>;
  /** Refusals without records of their own, by code. */
  readonly counted: Map<string, number>;
  readonly ended: Map<string, number>;
  sent: number;
  received: number;
  /** Exchanges by the first of `BUCKETS` they fit in; the last are those that fit in none. */
  readonly within: number[];
  /** Of all exchanges together. */
  seconds: number;
}

/** What is read at each scrape. */
export interface Readings {
  readonly build: { readonly version: string; readonly commit: string };
  /** Of each agent: tasks that are open or ending, and questions that wait. */
  readonly tasks: readonly {
    readonly agent: string;
    readonly open: number;
    readonly waiting: number;
  }[];
  /** What happened to tasks since the start, by event; a fixed set. */
  readonly taskEvents: ReadonlyMap<string, number>;
  /** Seconds since the epoch; undefined without an SVID. */
  readonly svidExpiry: number | undefined;
  readonly bundleAuthorities: ReadonlyMap<string, number>;
  /** When the newest good message came, seconds since the epoch. */
  readonly lastUpdate: number | undefined;
  readonly rotations: number;
  readonly watchErrors: ReadonlyMap<string, number>;
  readonly reconnects: number;
  readonly droppedBundles: number;
  readonly discardedMessages: number;
  /** The Workload API is not asked any more. */
  readonly identityFinal: boolean;
  readonly crls: number;
  readonly live: number;
  /** What each agent has open, and what is nobody's (`unknown`). */
  readonly agents: readonly {
    readonly agent: string;
    readonly connections: number;
    readonly exchanges: number;
  }[];
  /** Connections cut because there were too many, since the start, by where they came. */
  readonly dropped: ReadonlyMap<string, number>;
  readonly poolIdle: number;
  readonly poolBusy: number;
  readonly auditFailures: number;
  /** Of the interception; undefined where there is none. */
  readonly interception: InterceptionReadings | undefined;
  readonly policyGeneration: number;
  readonly degraded: boolean;
  /** Seconds. */
  readonly stale: number;
  readonly ready: boolean;
}

interface InterceptionReadings {
  /** Certificates at hand. */
  readonly kept: number;
  /** Certificates made since the start. */
  readonly issued: number;
  /** When the CA expires, seconds since the epoch. */
  readonly expiry: number;
}
