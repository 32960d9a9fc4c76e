/**
 * Prometheus metrics. Counters are derived from evidence records alone; gauges are read when scraped. Labels come from the configuration (destination
 * names), the fault table and decision codes, never from the agent, so their number is bounded.
 */
import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { AuditRecord } from '../audit/record.ts';

/** What is read at each scrape. */
export interface Readings {
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
  readonly crls: number;
  readonly live: number;
  readonly poolIdle: number;
  readonly poolBusy: number;
  readonly auditFailures: number;
  readonly policyGeneration: number;
  readonly degraded: boolean;
  readonly ready: boolean;
}

export interface Metrics {
  /** Feeds one record in. */
  observe(record: AuditRecord): void;
  /** Prometheus text format 0.0.4. */
  render(): Promise<string>;
}

const BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export function metrics(read: () => Readings): Metrics {
  const registry = new Registry();
  gauges(registry, read);
  const registers = [registry];
  const tallies: Tallies = {
    allow: new Map(),
    deny: new Map(),
    errors: new Map(),
    refused: new Map(),
    ended: new Map(),
    sent: 0,
    received: 0,
  };
  ofRecords(registry, tallies);
  const seconds = new Histogram({
    name: 'chaperone_exchange_seconds',
    help: 'Duration of exchanges',
    buckets: BUCKETS,
    registers,
  });
  return {
    observe(record) {
      if (record.kind === 'decided') {
        const of = tallies[record.effect];
        const destination = record.destination ?? '';
        let codes = of.get(destination);
        if (codes === undefined) of.set(destination, (codes = new Map()));
        count(codes, record.code);
        if (record.policyError !== undefined) count(tallies.errors, destination);
      } else if (record.kind === 'refused') count(tallies.refused, record.code);
      else if (record.kind === 'ended') {
        count(tallies.ended, record.outcome);
        tallies.sent += record.sent;
        tallies.received += record.received;
        seconds.observe(record.durationMs / 1000);
      }
    },
    render: () => registry.metrics(),
  };
}

/** What records came to. Handed over when it is asked for: the library's own counters hash their labels at each step, which every request would pay for. */
interface Tallies {
  /** By destination and code. */
  readonly allow: Map<string, Map<string, number>>;
  readonly deny: Map<string, Map<string, number>>;
  /** By destination. */
  readonly errors: Map<string, number>;
  readonly refused: Map<string, number>;
  readonly ended: Map<string, number>;
  sent: number;
  received: number;
}

function count(tally: Map<string, number>, key: string): void {
  tally.set(key, (tally.get(key) ?? 0) + 1);
}

function ofRecords(registry: Registry, tallies: Tallies): void {
  const registers = [registry];
  new Counter({
    name: 'chaperone_decided_total',
    help: 'Exchanges decided, by effect, code and destination',
    labelNames: ['effect', 'code', 'destination'] as const,
    registers,
    collect() {
      this.reset();
      for (const effect of ['allow', 'deny'] as const)
        for (const [destination, codes] of tallies[effect])
          for (const [code, sum] of codes) this.inc({ effect, code, destination }, sum);
    },
  });
  new Counter({
    name: 'chaperone_policy_errors_total',
    help: 'Exchanges for which a condition could not be evaluated, by destination',
    labelNames: ['destination'] as const,
    registers,
    collect() {
      this.reset();
      for (const [destination, sum] of tallies.errors) this.inc({ destination }, sum);
    },
  });
  new Counter({
    name: 'chaperone_refused_total',
    help: 'Requests that could not be parsed, by code',
    labelNames: ['code'] as const,
    registers,
    collect() {
      this.reset();
      for (const [code, sum] of tallies.refused) this.inc({ code }, sum);
    },
  });
  new Counter({
    name: 'chaperone_ended_total',
    help: 'Exchanges ended, by outcome',
    labelNames: ['outcome'] as const,
    registers,
    collect() {
      this.reset();
      for (const [outcome, sum] of tallies.ended) this.inc({ outcome }, sum);
    },
  });
  new Counter({
    name: 'chaperone_bytes_total',
    help: 'Bytes from (sent) and to (received) the agent',
    labelNames: ['direction'] as const,
    registers,
    collect() {
      this.reset();
      for (const direction of ['sent', 'received'] as const) this.inc({ direction }, tallies[direction]);
    },
  });
}

type Reading = (readings: Readings) => number | undefined;

const GAUGES: readonly (readonly [string, string, Reading])[] = [
  ['svid_expiry_seconds', 'When the SVID in use expires, seconds since the epoch', (now) => now.svidExpiry],
  [
    'bundle_last_update_seconds',
    'When identity was last confirmed by the Workload API, seconds since the epoch',
    (now) => now.lastUpdate,
  ],
  ['identity_crls', 'Revocation lists in the newest message; they are not enforced', (now) => now.crls],
  ['exchanges_live', 'Exchanges, tunnels and raw connections under way', (now) => now.live],
  ['upstream_connections_idle', 'Pooled upstream connections at rest', (now) => now.poolIdle],
  ['upstream_connections_busy', 'Pooled upstream connections in use', (now) => now.poolBusy],
  ['policy_generation', 'Policies loaded since the start', (now) => now.policyGeneration],
  [
    'config_degraded',
    '1 while the newest configuration was refused and an older one is in force',
    (now) => Number(now.degraded),
  ],
  ['ready', '1 while /readyz says ready', (now) => Number(now.ready)],
];

const TOTALS: readonly (readonly [string, string, Reading])[] = [
  ['svid_rotations_total', 'New identities after the first', (now) => now.rotations],
  ['workload_api_reconnects_total', 'Attempts at a Workload API stream that ended', (now) => now.reconnects],
  [
    'workload_api_dropped_bundles_total',
    'Bundles of single trust domains that were not usable',
    (now) => now.droppedBundles,
  ],
  ['workload_api_discarded_messages_total', 'Messages that were discarded whole', (now) => now.discardedMessages],
  ['audit_failures_total', 'Records that could not be written', (now) => now.auditFailures],
];

function gauges(registry: Registry, read: () => Readings): void {
  const registers = [registry];
  for (const [name, help, value] of GAUGES) {
    new Gauge({ name: `chaperone_${name}`, help, registers, collect: setTo((now) => value(now)) });
  }
  for (const [name, help, value] of TOTALS) {
    new Counter({
      name: `chaperone_${name}`,
      help,
      registers,
      collect() {
        this.reset();
        this.inc(value(read()) ?? 0);
      },
    });
  }
  new Counter({
    name: 'chaperone_workload_api_errors_total',
    help: 'Ended attempts at a Workload API stream, by gRPC status',
    labelNames: ['code'] as const,
    registers,
    collect() {
      this.reset();
      for (const [code, count] of read().watchErrors) this.inc({ code }, count);
    },
  });
  new Gauge({
    name: 'chaperone_bundle_authorities',
    help: 'X.509 authorities by trust domain',
    labelNames: ['trust_domain'] as const,
    registers,
    collect() {
      this.reset();
      for (const [trust_domain, count] of read().bundleAuthorities) this.set({ trust_domain }, count);
    },
  });

  function setTo(value: Reading): (this: Gauge) => void {
    return function () {
      const now = value(read());
      // What is not known is not shown: a zero would be a value, such as an expiry in 1970.
      if (now === undefined) this.remove();
      else this.set(now);
    };
  }
}
