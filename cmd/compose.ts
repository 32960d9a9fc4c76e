/**
 * The only file that knows every folder. Order: health binds first, so that whoever asks is told
 * what is awaited; then evidence, identity, listeners; everything is closed in reverse. Nothing is
 * decided here.
 */
import type { AddressInfo } from 'node:net';
import type { ToolPins } from '../lib/api/admin.ts';
import { openAudit } from '../lib/audit/log.ts';
import type { AuditLog, LifecycleRecord } from '../lib/audit/record.ts';
import { cell } from '../lib/base/cell.ts';
import type { Clock } from '../lib/base/clock.ts';
import { type Disposer, disposer } from '../lib/base/dispose.ts';
import { Fault } from '../lib/base/fault.ts';
import { ignore } from '../lib/base/signal.ts';
import { type Config, loadConfig } from '../lib/config/load/load.ts';
import { type HttpLimits, headLimits, httpLimits } from '../lib/http/limits.ts';
import { endpointFrom } from '../lib/identity/address.ts';
import type { IdentitySource } from '../lib/identity/source.ts';
import { openInherited } from '../lib/listen/inherited.ts';
import type { ProxyOptions } from '../lib/listen/proxy-options.ts';
import { type Proxy, startProxy } from '../lib/listen/proxy.ts';
import type { Policy } from '../lib/policy/decision/policy.ts';
import { drops } from '../lib/telemetry/drops.ts';
import type { Level, Logger } from '../lib/telemetry/logger.ts';
import { type Metrics, metrics } from '../lib/telemetry/metrics.ts';
import { readiness } from '../lib/telemetry/readiness.ts';
import { tlsContexts } from '../lib/tls/context.ts';
import { type Budget, budgetOf, memoryLimit, openFiles } from './compose/budget.ts';
import { evidenceState } from './compose/evidence.ts';
import { awaitTurn, closeRest } from './compose/hand-over.ts';
import { followIdentity, openIdentity } from './compose/identity.ts';
import { startInterception } from './compose/interception.ts';
import { drain, healthOf, openAdmin, placesOf } from './compose/pages.ts';
import type { Late, Parts } from './compose/parts.ts';
import { readingsOf } from './compose/readings.ts';
import { reloader } from './compose/reload.ts';
import { type Status, statusOf } from './compose/status.ts';
import { supervisor } from './compose/supervisor.ts';
import { openDoors, startTasks } from './compose/tasks.ts';
import { resolverOf } from './system-resolver.ts';

export interface ComposeOptions {
  /** Configuration files and folders. */
  readonly paths: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  /** The operational log, made once its level is known. */
  readonly logger: (level: Config['sidecar']['log']['level']) => Logger;
}

export interface Sidecar extends AsyncDisposable {
  /** `forward`, `health` and the names of destinations with a local listener. */
  readonly addresses: ReadonlyMap<string, AddressInfo>;
  readonly identity: IdentitySource;
  readonly ready: () => boolean;
  /**
   * Loads the configuration again and reopens audit files. Never throws: what was wrong is logged
   * and shows as degraded.
   */
  readonly reload: () => Promise<void>;
  /** Settles when the operator asked for an end over the admin socket. */
  readonly quit: Promise<void>;
  /**
   * Settles with the reason to end for: `identity.onFinal: exit`, and the Workload API is not asked
   * again.
   */
  readonly failed: Promise<Fault>;
  /** Milliseconds, `drain` of the configuration. */
  readonly drainTime: number;
  /**
   * Turns not ready, serves what is under way until it ends or `drain` of the configuration is
   * over.
   */
  drain(): Promise<void>;
}

/** Starts everything. Throws the Fault of whatever cannot be started, with nothing left running. */
export async function compose(options: ComposeOptions): Promise<Sidecar> {
  const opened = disposer();
  try {
    return await assemble(options, opened);
  } catch (failure) {
    await opened[Symbol.asyncDispose]();
    throw failure;
  }
}

async function assemble(
  { paths, env, clock, logger }: ComposeOptions,
  opened: Disposer,
): Promise<Sidecar> {
  const config = await loadConfig(paths, { generation: 1 });
  const { sidecar } = config;
  const budget = budgetFor(config);
  const { text: endpoint } = endpointFrom(sidecar.identity.workloadApi, env);
  const log = logger(sidecar.log.level);
  const ready = readiness(clock);
  const listening = ready.pending('listeners', 'binding');
  const late: Late = {};
  const counted = metrics(() => readingsOf(late, ready));
  const dropped = (late.drops = drops(clock, () => log));
  const addresses = new Map<string, AddressInfo>();
  const shown = {
    readiness: ready,
    metrics: () => counted.render(),
    onDropped: () => dropped.count('health'),
  };
  const inherited = openInherited(env, process.pid);
  const health = healthOf(sidecar, { shown, late, inherited });
  if (!health.shared) await health.open({ opened, addresses });
  const evidence = evidenceState(ready, sidecar.audit.onFailure);
  const audit = opened.use(
    await openAudit({ ...sidecar.audit, clock, onChange: evidence.changed }),
  );
  const policy = cell<Policy>(config.policy);
  const shared = { config, clock, log, readiness: ready, policy, audit, budget, drops: dropped };
  const parts: Parts = { ...shared, tell: teller(audit, clock, log) };
  opened.defer(evidence.retry(parts, audit));
  const identity = opened.use(openIdentity(endpoint, parts));
  const interception = (late.interception = await startInterception(sidecar.intercept, parts));
  opened.defer(() => interception?.[Symbol.dispose]());
  const shutdown = new AbortController();
  opened.defer(() => shutdown.abort(new Fault('shutting-down', 'the sidecar is stopping')));
  const taskParts = await startTasks(parts, late, shutdown.signal);
  const { tasks } = taskParts;
  late.tasks = tasks;
  opened.use(tasks);
  const behind = { identity, audit: observed(audit, counted), interception, tasks };
  await awaitTurn(identity, inherited, parts);
  const proxy = opened.use(await serve(parts, { ...behind, inherited }, shutdown.signal));
  for (const [name, address] of proxy.addresses) addresses.set(name, address);
  followIdentity(
    { identity, reauthorize: () => proxy.reauthorize(), signal: shutdown.signal },
    parts,
  );
  const reload = opened.use(reloader({ paths, parts, proxy }));
  Object.assign(late, { proxy, identity, audit, reload });
  const quit = Promise.withResolvers<void>();
  const doors = await openDoors(parts, taskParts, { proxy, opened, inherited });
  const status = (): Status => statusOf(late, parts, addresses);
  const admin = { status, quit: quit.resolve, tools: toolPins(proxy, parts), api: doors.api };
  const operators = await openAdmin(sidecar, { ...admin, inherited, opened });
  closeRest(inherited, parts);
  listening.done();
  if (health.shared) await health.open({ opened, addresses });
  const told = supervisor(env, parts, opened);
  announce(parts, addresses);
  return {
    addresses,
    identity,
    ready: () => ready.report().ready,
    reload: () => reload.now(),
    quit: quit.promise,
    failed: sidecar.identity.onFinal === 'exit' ? identity.final : new Promise<never>(() => {}),
    drainTime: sidecar.drain,
    drain: () => drain({ proxy, health, pages: [...doors.pages, ...operators], told }, parts),
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

function announce(
  { audit, budget: { reduced }, config: { policy, sidecar }, log, tell }: Parts,
  addresses: Sidecar['addresses'],
): void {
  log.log('info', 'sidecar', `listening: ${placesOf(addresses, sidecar).join(', ')}`);
  if (reduced !== undefined)
    log.log('warn', 'listeners', reduced, { hint: 'raise it: ulimit -n, LimitNOFILE' });
  const { truncatedBytes, incompleteBytes } = audit;
  if (incompleteBytes > 0) {
    const hint = 'the file may only be appended to; that line does not parse';
    log.log(
      'warn',
      'audit',
      `kept an incomplete record of ${incompleteBytes} bytes that a killed process had left`,
      { hint },
    );
  }
  if (truncatedBytes > 0)
    log.log(
      'warn',
      'audit',
      `cut off an incomplete record of ${truncatedBytes} bytes that a killed process had left`,
    );
  const { generation, digest } = policy;
  tell('started', {
    policy: generation,
    policyDigest: digest,
    ...(truncatedBytes > 0 && { truncatedBytes }),
    ...(incompleteBytes > 0 && { incompleteBytes }),
  });
}

function budgetFor({ sidecar: { agents, listeners } }: Config): Budget {
  const means = { agents: agents.length, connections: listeners.maxConnections };
  return budgetOf({ ...means, files: openFiles(), memory: memoryLimit() });
}

/** An approval is the operator's word, and stands in the evidence. */
function toolPins({ definitions }: Proxy, { tell }: Parts): ToolPins {
  return {
    pins: () => definitions.pins(),
    approve(destination, tool, digest) {
      definitions.approve(destination, tool, digest);
      tell('definition-approved', { destination, tool, digest });
    },
  };
}

function serve(
  { config: { sidecar }, policy, clock, log, budget, drops: dropped }: Parts,
  behind: Pick<ProxyOptions, 'identity' | 'audit' | 'interception' | 'tasks' | 'inherited'>,
  shutdown: AbortSignal,
): Promise<Proxy> {
  return startProxy({
    sidecar,
    policy,
    ...behind,
    contexts: tlsContexts(),
    clock,
    shutdown,
    resolver: resolverOf(sidecar.resolver, clock),
    limits: { ...listenerLimits(sidecar.listeners), poolIdle: budget.idle },
    agents: sidecar.agents,
    shares: budget.share,
    onDropped: (agent) => dropped.count(agent),
    onFault: (fault) => log.log('error', 'proxy', fault.describe()),
    onNotice: (what) => log.log('warn', 'proxy', what),
  });
}

export function listenerLimits(listeners: Config['sidecar']['listeners']): HttpLimits {
  return httpLimits({
    ...headLimits(listeners),
    fieldCount: listeners.maxFields,
    headMs: listeners.headersTimeout,
    keepAliveMs: listeners.idleTimeout,
    bodyIdleMs: listeners.bodyTimeout,
    writeIdleMs: listeners.writeTimeout,
    poolMaxAgeMs: listeners.connectionMaxAge,
    poolIdleMs: listeners.connectionIdle,
  });
}

/** Every record passes the counters on its way, whether it can be written or not. */
function observed(audit: AuditLog, counted: Metrics): AuditLog {
  return {
    write(record) {
      counted.observe(record);
      return audit.write(record);
    },
  };
}

/** Events whose part has logged them already, in more words. */
const LOGGED_BY_ITS_PART: ReadonlySet<LifecycleRecord['event']> = new Set([
  'identity-updated',
  'identity-withdrawn',
  'policy-rejected',
]);
const LEVELS: Partial<Readonly<Record<LifecycleRecord['event'], Level>>> = {
  'identity-expired': 'error',
};

function teller(audit: AuditLog, clock: Clock, log: Logger): Parts['tell'] {
  return (event, detail = {}) => {
    if (!LOGGED_BY_ITS_PART.has(event)) log.log(LEVELS[event] ?? 'info', 'sidecar', event, detail);
    const record: LifecycleRecord = {
      kind: 'lifecycle',
      time: new Date(clock.now()).toISOString(),
      event,
      detail,
    };
    ignore(
      audit.write(record),
      'the audit log counts its failures, and requests are refused by them',
    );
  };
}
