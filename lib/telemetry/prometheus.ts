/**
 * The metrics in Prometheus' own text, through prom-client, which is loaded at the first scrape.
 * Everything is set when it is asked for.
 */
import { Counter, Gauge, Registry } from 'prom-client';
import { processMetrics } from './process-metrics.ts';
import { BUCKETS, type Readings, type Tallies } from './tallies.ts';

/** Prometheus text format 0.0.4 of what is read and what was counted. */
export function prometheus(read: () => Readings, tallies: Tallies): () => Promise<string> {
  const registry = new Registry();
  processMetrics(registry);
  ofBuild(registry, read);
  gauges(registry, read);
  ofTasks(registry, read);
  ofRecords(registry, tallies);
  return async () => `${await registry.metrics()}\n${durations(tallies)}`;
}

/** The library's histogram can only be fed observation by observation. */
function durations({ within, seconds }: Tallies): string {
  const name = 'chaperone_exchange_seconds';
  const lines = [`# HELP ${name} Duration of exchanges`, `# TYPE ${name} histogram`];
  let sum = 0;
  for (const [i, le] of [...BUCKETS, '+Inf'].entries()) {
    sum += within[i] ?? 0;
    lines.push(`${name}_bucket{le="${le}"} ${sum}`);
  }
  return [...lines, `${name}_sum ${seconds}`, `${name}_count ${sum}`, ''].join('\n');
}

function ofRecords(registry: Registry, tallies: Tallies): void {
  const registers = [registry];
  new Counter({
    name: 'chaperone_decided_total',
    help: 'Exchanges decided, by agent, effect, code and destination',
    labelNames: ['agent', 'effect', 'code', 'destination'] as const,
    registers,
    collect() {
      this.reset();
      for (const effect of ['allow', 'deny'] as const)
        for (const [agent, destinations] of tallies[effect])
          for (const [destination, codes] of destinations)
            for (const [code, sum] of codes) this.inc({ agent, effect, code, destination }, sum);
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
  ofEnds(registry, tallies);
}

function ofEnds(registry: Registry, tallies: Tallies): void {
  const registers = [registry];
  new Counter({
    name: 'chaperone_refusals_counted_total',
    help: 'Refusals that were counted into a record together with others (audit.refusals), by code',
    labelNames: ['code'] as const,
    registers,
    collect() {
      this.reset();
      for (const [code, sum] of tallies.counted) this.inc({ code }, sum);
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
      for (const direction of ['sent', 'received'] as const)
        this.inc({ direction }, tallies[direction]);
    },
  });
}

function ofAgents(registry: Registry, read: () => Readings): void {
  const registers = [registry];
  for (const what of ['connections', 'exchanges'] as const) {
    new Gauge({
      name: `chaperone_agent_${what}`,
      help: `What an agent has open: ${what}; unknown is what nobody has proved to be an agent's`,
      labelNames: ['agent'] as const,
      registers,
      collect() {
        this.reset();
        for (const { agent, ...counts } of read().agents) this.set({ agent }, counts[what]);
      },
    });
  }
  new Counter({
    name: 'chaperone_connections_dropped_total',
    help: 'Connections cut because there were too many, by where they came',
    labelNames: ['at'] as const,
    registers,
    collect() {
      this.reset();
      for (const [at, sum] of read().dropped) this.inc({ at }, sum);
    },
  });
}

function ofBuild(registry: Registry, read: () => Readings): void {
  new Gauge({
    name: 'chaperone_build_info',
    help: '1; which program runs, on which Node',
    labelNames: ['version', 'commit', 'node'] as const,
    registers: [registry],
    collect() {
      this.set({ ...read().build, node: process.version }, 1);
    },
  });
}

function ofTasks(registry: Registry, read: () => Readings): void {
  const registers = [registry];
  const gauges = [
    ['chaperone_tasks_open', 'Tasks that are open or ending, by agent', 'open'],
    ['chaperone_step_ups_waiting', 'Questions that wait for an approval, by agent', 'waiting'],
  ] as const;
  for (const [name, help, what] of gauges) {
    new Gauge({
      name,
      help,
      labelNames: ['agent'] as const,
      registers,
      collect() {
        this.reset();
        for (const { agent, ...counts } of read().tasks) this.set({ agent }, counts[what]);
      },
    });
  }
  new Counter({
    name: 'chaperone_task_events_total',
    help: 'What happened to tasks and questions, by event',
    labelNames: ['event'] as const,
    registers,
    collect() {
      this.reset();
      for (const [event, sum] of read().taskEvents) this.inc({ event }, sum);
    },
  });
}

type Reading = (readings: Readings) => number | undefined;

const GAUGES: readonly (readonly [string, string, Reading])[] = [
  [
    'svid_expiry_timestamp_seconds',
    'When the SVID in use expires, seconds since the epoch',
    (now) => now.svidExpiry,
  ],
  [
    'bundle_last_update_timestamp_seconds',
    'When identity was last confirmed by the Workload API, seconds since the epoch',
    (now) => now.lastUpdate,
  ],
  [
    'identity_crls',
    'Revocation lists in the newest message; they are not enforced',
    (now) => now.crls,
  ],
  [
    'workload_api_final',
    '1 when the Workload API is not asked any more, as that cannot help',
    (now) => Number(now.identityFinal),
  ],
  ['exchanges_live', 'Exchanges, tunnels and raw connections under way', (now) => now.live],
  ['upstream_connections_idle', 'Pooled upstream connections at rest', (now) => now.poolIdle],
  ['upstream_connections_busy', 'Pooled upstream connections in use', (now) => now.poolBusy],
  [
    'interception_certificates',
    'Certificates at hand for intercepted hosts',
    (now) => now.interception?.kept,
  ],
  [
    'interception_ca_expiry_timestamp_seconds',
    'When the interception CA expires, seconds since the epoch',
    (now) => now.interception?.expiry,
  ],
  ['policy_generation', 'Policies loaded since the start', (now) => now.policyGeneration],
  [
    'config_degraded',
    '1 while the newest configuration was refused and an older one is in force',
    (now) => Number(now.degraded),
  ],
  [
    'config_stale_seconds',
    'For how long the newest configuration has not been the one in force',
    (now) => now.stale,
  ],
  ['ready', '1 while /readyz says ready', (now) => Number(now.ready)],
];

const TOTALS: readonly (readonly [string, string, Reading])[] = [
  ['svid_rotations_total', 'New identities after the first', (now) => now.rotations],
  [
    'workload_api_reconnects_total',
    'Attempts at a Workload API stream that ended',
    (now) => now.reconnects,
  ],
  [
    'workload_api_dropped_bundles_total',
    'Bundles of single trust domains that were not usable',
    (now) => now.droppedBundles,
  ],
  [
    'workload_api_discarded_messages_total',
    'Messages of which no SVID was taken',
    (now) => now.discardedMessages,
  ],
  [
    'interception_certificates_issued_total',
    'Certificates made for intercepted hosts',
    (now) => now.interception?.issued,
  ],
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
  ofAgents(registry, read);
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
      for (const [trust_domain, count] of read().bundleAuthorities)
        this.set({ trust_domain }, count);
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
