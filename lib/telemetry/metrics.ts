/**
 * Prometheus metrics. Counters are derived from evidence records alone; gauges are read when
 * scraped. Labels come from the configuration (destination names), the fault table and decision
 * codes, never from the agent, so their number is bounded.
 */
import type { AuditRecord, DecidedRecord } from '../audit/record.ts';
import { UNKNOWN } from '../policy/model/agent.ts';
import { BUCKETS, type Readings, type Tallies } from './tallies.ts';

export interface Metrics {
  /** Feeds one record in. */
  observe(record: AuditRecord): void;
  /** Prometheus text format 0.0.4. */
  render(): Promise<string>;
}

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
