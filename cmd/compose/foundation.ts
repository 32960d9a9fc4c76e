/**
 * What is opened first, and what everything after it reads: settings, readiness, health, log and
 * evidence.
 */
import type { AddressInfo } from 'node:net';
import { openAudit } from '../../lib/audit/log.ts';
import { cell } from '../../lib/base/cell.ts';
import type { Disposer } from '../../lib/base/dispose.ts';
import { type Config, loadConfig } from '../../lib/config/load/load.ts';
import { endpointFrom } from '../../lib/identity/address.ts';
import type { Interception } from '../../lib/interception/authority.ts';
import { type Inherited, openInherited } from '../../lib/listen/inherited.ts';
import { drops } from '../../lib/telemetry/drops.ts';
import { type Metrics, metrics } from '../../lib/telemetry/metrics.ts';
import { readiness } from '../../lib/telemetry/readiness.ts';
import { type Budget, budgetOf, memoryLimit, openFiles } from './budget.ts';
import { evidenceState } from './evidence.ts';
import { eventRecorder } from './lifecycle.ts';
import { type HealthPages, healthOf } from './pages.ts';
import type { ComposeOptions, Parts, Services } from './parts.ts';
import { readingsOf } from './readings.ts';

export interface Foundation {
  /** Of the Workload API. */
  readonly endpoint: string;
  readonly parts: Parts;
  readonly metrics: Metrics;
  readonly health: HealthPages;
  readonly inherited: Inherited;
  readonly addresses: Map<string, AddressInfo>;
  /** To be called once everything listens. */
  readonly listening: () => void;
}

export async function openFoundation(
  { paths, env, clock, logger }: ComposeOptions,
  opened: Disposer,
): Promise<Foundation> {
  const config = await loadConfig(paths, { generation: 1 });
  const { sidecar } = config;
  const budget = budgetFor(config);
  const { text: endpoint } = endpointFrom(sidecar.identity.workloadApi, env);
  const log = logger(sidecar.log.level);
  const ready = readiness(clock);
  const listening = ready.pending('listeners', 'binding');
  const dropped = drops(clock, () => log);
  const [services, interception] = [cell<Services>(), cell<Interception>()];
  const counted = metrics(() =>
    readingsOf(services.get(), { readiness: ready, interception, drops: dropped }),
  );
  const addresses = new Map<string, AddressInfo>();
  const inherited = openInherited(env, process.pid);
  const shown = {
    readiness: ready,
    metrics: () => counted.render(),
    onDropped: () => dropped.count('health'),
  };
  const health = healthOf(sidecar, { shown, interception, inherited });
  if (!health.shared) await health.open({ opened, addresses });
  const evidence = evidenceState(ready, sidecar.audit.onFailure);
  const audit = opened.use(
    await openAudit({ ...sidecar.audit, clock, onChange: evidence.changed }),
  );
  const parts: Parts = {
    config,
    clock,
    log,
    readiness: ready,
    policy: cell(config.policy),
    audit,
    budget,
    drops: dropped,
    services,
    interception,
    recordEvent: eventRecorder(audit, clock, log),
  };
  opened.defer(evidence.retry(parts, audit));
  const done = (): void => listening.done();
  return { endpoint, parts, metrics: counted, health, inherited, addresses, listening: done };
}

function budgetFor({ sidecar: { agents, listeners } }: Config): Budget {
  const means = { agents: agents.length, connections: listeners.maxConnections };
  return budgetOf({ ...means, files: openFiles(), memory: memoryLimit() });
}
