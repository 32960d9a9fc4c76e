/**
 * Prometheus metrics. Counters are derived from evidence records alone; gauges are read when scraped. Labels come from the configuration (destination
 * names), the fault table and decision codes, never from the agent, so their number is bounded.
 */
import type { AuditRecord, DecidedRecord } from '../audit/record.ts';
import { UNKNOWN } from '../policy/model/agent.ts';

export interface InterceptionReadings {
  /** Certificates at hand. */
  readonly kept: number;
  /** Certificates made since the start. */
  readonly issued: number;
  /** When the CA expires, seconds since the epoch. */
  readonly expiry: number;
}

/** What is read at each scrape. */
export interface Readings {
  readonly build: { readonly version: string; readonly commit: string };
  /** Of each agent: tasks that are open or ending, and questions that wait. */
  readonly tasks: readonly { readonly agent: string; readonly open: number; readonly waiting: number }[];
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
  readonly agents: readonly { readonly agent: string; readonly connections: number; readonly exchanges: number }[];
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

export interface Metrics {
  /** Feeds one record in. */
  observe(record: AuditRecord): void;
  /** Prometheus text format 0.0.4. */
  render(): Promise<string>;
}

/** Upper bounds of durations, in seconds. */
export const BUCKETS: readonly number[] = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];

export function metrics(read: () => Readings): Metrics {
  const tallies: Tallies = {
    allow: new Map(),
    deny: new Map(),
    errors: new Map(),
    refused: new Map(),
    counted: new Map(),
    ended: new Map(),
    sent: 0,
    received: 0,
    within: BUCKETS.map(() => 0).concat(0),
    seconds: 0,
  };
  let text: Promise<() => Promise<string>> | undefined;
  return {
    observe: (record) => observe(tallies, record),
    async render() {
      text ??= import('./prometheus.ts').then(({ prometheus }) => prometheus(read, tallies));
      return (await text)();
    },
  };
}

function observe(tallies: Tallies, record: AuditRecord): void {
  if (record.kind === 'decided') {
    const destination = record.destination ?? '';
    count(codesOf(tallies, record, destination), record.code);
    if (record.policyError !== undefined) count(tallies.errors, destination);
  } else if (record.kind === 'refused') count(tallies.refused, record.code);
  else if (record.kind === 'refusals') {
    for (const [code, sum] of Object.entries(record.codes)) count(tallies.counted, code, sum);
  } else if (record.kind === 'ended') {
    count(tallies.ended, record.outcome);
    tallies.sent += record.sent;
    tallies.received += record.received;
    const seconds = record.durationMs / 1000;
    const bucket = BUCKETS.findIndex((most) => seconds <= most);
    const at = bucket < 0 ? BUCKETS.length : bucket;
    tallies.within[at] = (tallies.within[at] ?? 0) + 1;
    tallies.seconds += seconds;
  }
}

/** What records came to. Handed over when it is asked for: the library's own counters hash their labels at each step, which every request would pay for. */
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

function codesOf(
  tallies: Tallies,
  { effect, agent = UNKNOWN }: DecidedRecord,
  destination: string,
): Map<string, number> {
  let of = tallies[effect].get(agent);
  if (of === undefined) tallies[effect].set(agent, (of = new Map()));
  let codes = of.get(destination);
  if (codes === undefined) of.set(destination, (codes = new Map()));
  return codes;
}

function count(tally: Map<string, number>, key: string, by = 1): void {
  tally.set(key, (tally.get(key) ?? 0) + by);
}
