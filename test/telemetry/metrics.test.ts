/**
 * Metrics: counters from records, gauges as they stand at the scrape, labels that the agent cannot
 * choose.
 */
import t from 'tap';
import type { AuditRecord, DecidedRecord } from '../../lib/audit/record.ts';
import { metrics } from '../../lib/telemetry/metrics.ts';
import type { Readings } from '../../lib/telemetry/tallies.ts';

const NOTHING: Readings = {
  build: { version: '1.2.3', commit: 'abc' },
  tasks: [],
  taskEvents: new Map(),
  svidExpiry: undefined,
  bundleAuthorities: new Map(),
  lastUpdate: undefined,
  rotations: 0,
  watchErrors: new Map(),
  reconnects: 0,
  droppedBundles: 0,
  discardedMessages: 0,
  identityFinal: false,
  crls: 0,
  live: 0,
  agents: [],
  dropped: new Map(),
  poolIdle: 0,
  poolBusy: 0,
  auditFailures: 0,
  interception: undefined,
  policyGeneration: 1,
  degraded: false,
  stale: 0,
  ready: false,
};

const time = '2026-01-02T03:04:05.678Z';

const decided = (
  effect: 'allow' | 'deny',
  code: string,
  destination: string | undefined,
  host = 'h.test',
): DecidedRecord => ({
  time,
  kind: 'decided',
  exchange: 'e',
  entry: 'forward',
  effect,
  code,
  reason: 'because',
  ...(destination !== undefined && { destination }),
  host,
  port: 80,
  policy: 1,
  policyDigest: 'd',
  identity: 1,
});

const ended = (outcome: string, durationMs: number): AuditRecord => ({
  time,
  kind: 'ended',
  exchange: 'e',
  outcome,
  sent: 10,
  received: 200,
  durationMs,
});

/** Samples by their whole name with labels. */
async function samples(of: { render(): Promise<string> }): Promise<ReadonlyMap<string, number>> {
  const lines = (await of.render())
    .split('\n')
    .filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => [
      line.slice(0, line.lastIndexOf(' ')),
      Number(line.slice(line.lastIndexOf(' ') + 1)),
    ]),
  );
}

t.test('what is read at the scrape is what is shown, and follows it', async (t) => {
  let now = NOTHING;
  const counted = metrics(() => now);
  const before = await samples(counted);
  t.notOk(before.has('chaperone_svid_expiry_timestamp_seconds'), 'no SVID, no expiry: not zero');
  t.equal(before.get('chaperone_ready'), 0);
  now = {
    ...NOTHING,
    svidExpiry: 1_800_000_000,
    lastUpdate: 1_799_999_000,
    bundleAuthorities: new Map([
      ['example.org', 2],
      ['other.test', 0],
    ]),
    rotations: 3,
    watchErrors: new Map([
      ['UNAVAILABLE', 4],
      ['PERMISSION_DENIED', 1],
    ]),
    reconnects: 5,
    droppedBundles: 6,
    discardedMessages: 7,
    crls: 8,
    live: 9,
    poolIdle: 10,
    poolBusy: 11,
    auditFailures: 12,
    tasks: [{ agent: 'a', open: 16, waiting: 17 }],
    taskEvents: new Map([['opened', 18]]),
    interception: { kept: 14, issued: 15, expiry: 1_900_000_000 },
    policyGeneration: 13,
    degraded: true,
    stale: 7,
    ready: true,
  };
  for (let scrape = 0; scrape < 2; scrape += 1) {
    const shown = await samples(counted);
    const expected: Readonly<Record<string, number>> = {
      chaperone_svid_expiry_timestamp_seconds: 1_800_000_000,
      chaperone_bundle_last_update_timestamp_seconds: 1_799_999_000,
      'chaperone_bundle_authorities{trust_domain="example.org"}': 2,
      'chaperone_bundle_authorities{trust_domain="other.test"}': 0,
      chaperone_svid_rotations_total: 3,
      'chaperone_workload_api_errors_total{code="UNAVAILABLE"}': 4,
      'chaperone_workload_api_errors_total{code="PERMISSION_DENIED"}': 1,
      chaperone_workload_api_reconnects_total: 5,
      chaperone_workload_api_dropped_bundles_total: 6,
      chaperone_workload_api_discarded_messages_total: 7,
      chaperone_identity_crls: 8,
      chaperone_exchanges_live: 9,
      chaperone_upstream_connections_idle: 10,
      chaperone_upstream_connections_busy: 11,
      chaperone_audit_failures_total: 12,
      chaperone_interception_certificates: 14,
      chaperone_interception_certificates_issued_total: 15,
      chaperone_interception_ca_expiry_timestamp_seconds: 1_900_000_000,
      chaperone_policy_generation: 13,
      chaperone_config_degraded: 1,
      'chaperone_tasks_open{agent="a"}': 16,
      'chaperone_step_ups_waiting{agent="a"}': 17,
      'chaperone_task_events_total{event="opened"}': 18,
      [`chaperone_build_info{version="1.2.3",commit="abc",node="${process.version}"}`]: 1,
      chaperone_config_stale_seconds: 7,
      chaperone_ready: 1,
    };
    for (const [name, value] of Object.entries(expected))
      t.equal(shown.get(name), value, `${name}, scrape ${scrape + 1}`);
  }
  now = NOTHING;
  const after = await samples(counted);
  t.notOk(
    after.has('chaperone_svid_expiry_timestamp_seconds'),
    'an SVID that is gone is not shown',
  );
  t.notOk(
    after.has('chaperone_interception_certificates'),
    'where nothing is intercepted there are no certificates',
  );
  t.notOk(after.has('chaperone_bundle_authorities{trust_domain="other.test"}'), 'nor is a bundle');
});

t.test('decisions, refusals, ends, bytes and durations are counted from records', async (t) => {
  const counted = metrics(() => NOTHING);
  counted.observe(decided('allow', 'allowed', 'crm'));
  counted.observe(decided('allow', 'allowed', 'crm'));
  counted.observe(decided('deny', 'denied-by-rule', 'crm'));
  counted.observe(decided('deny', 'unlisted', undefined));
  counted.observe({ ...decided('deny', 'condition-failed', 'crm'), policyError: 'r: no answer' });
  counted.observe({
    time,
    kind: 'refused',
    exchange: 'e',
    entry: 'forward',
    code: 'malformed',
    reason: 'r',
  });
  counted.observe(ended('completed', 3));
  counted.observe(ended('upstream-cut', 40_000));
  counted.observe({ time, kind: 'lifecycle', event: 'ready', detail: {} });
  const shown = await samples(counted);
  t.equal(
    shown.get(
      'chaperone_decided_total{agent="unknown",effect="allow",code="allowed",destination="crm"}',
    ),
    2,
  );
  t.equal(
    shown.get(
      'chaperone_decided_total{agent="unknown",effect="deny",code="denied-by-rule",destination="crm"}',
    ),
    1,
  );
  t.equal(
    shown.get(
      'chaperone_decided_total{agent="unknown",effect="deny",code="unlisted",destination=""}',
    ),
    1,
  );
  t.equal(shown.get('chaperone_policy_errors_total{destination="crm"}'), 1);
  t.equal(shown.get('chaperone_refused_total{code="malformed"}'), 1);
  t.equal(shown.get('chaperone_ended_total{outcome="completed"}'), 1);
  t.equal(shown.get('chaperone_ended_total{outcome="upstream-cut"}'), 1);
  t.equal(shown.get('chaperone_bytes_total{direction="sent"}'), 20);
  t.equal(shown.get('chaperone_bytes_total{direction="received"}'), 400);
  t.equal(shown.get('chaperone_exchange_seconds_count'), 2);
  t.equal(shown.get('chaperone_exchange_seconds_bucket{le="0.005"}'), 1);
  t.equal(shown.get('chaperone_exchange_seconds_bucket{le="60"}'), 2);
});

t.test('hosts, paths and reasons of the agent make no new series', async (t) => {
  const counted = metrics(() => NOTHING);
  counted.observe(decided('deny', 'unlisted', undefined, 'first.test'));
  const before = (await samples(counted)).size;
  for (let n = 0; n < 500; n += 1)
    counted.observe({ ...decided('deny', 'unlisted', undefined, `h${n}.test`), reason: `r${n}` });
  const text = await counted.render();
  t.equal((await samples(counted)).size, before);
  t.notMatch(text, /h499\.test|r499/);
});

t.test('two registries in one process do not meet', async (t) => {
  const [one, other] = [metrics(() => NOTHING), metrics(() => NOTHING)];
  one.observe(ended('completed', 1));
  t.equal((await samples(one)).get('chaperone_ended_total{outcome="completed"}'), 1);
  t.notOk((await samples(other)).has('chaperone_ended_total{outcome="completed"}'));
});

t.test('what the process uses has the names that dashboards know', async (t) => {
  const shown = await samples(metrics(() => NOTHING));
  const of = (name: string): number => shown.get(`process_${name}`) ?? 0;
  t.ok(of('cpu_seconds_total') > 0);
  t.ok(of('resident_memory_bytes') > 1_000_000);
  t.ok(of('open_fds') > 2 && of('open_fds') <= of('max_fds'));
  t.ok(Math.abs(of('start_time_seconds') - Date.now() / 1000 + process.uptime()) < 10);
});
