/** What does the work: identity, interception, tasks, the proxy, and the reload of its policy. */
import type { AuditLog } from '../../lib/audit/record.ts';
import type { Disposer } from '../../lib/base/dispose.ts';
import { Fault } from '../../lib/base/fault.ts';
import type { Config } from '../../lib/config/load/load.ts';
import { type HttpLimits, headLimits, httpLimits } from '../../lib/http/limits.ts';
import type { ProxyOptions } from '../../lib/listen/proxy-options.ts';
import { type Proxy, startProxy } from '../../lib/listen/proxy.ts';
import type { Metrics } from '../../lib/telemetry/metrics.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import { resolverOf } from '../system-resolver.ts';
import type { Foundation } from './foundation.ts';
import { awaitTurn } from './hand-over.ts';
import { followIdentity, openIdentity } from './identity.ts';
import { startInterception } from './interception.ts';
import type { ComposeOptions, Parts, Services } from './parts.ts';
import { reloader } from './reload.ts';
import { startTasks } from './tasks.ts';

export async function openServices(
  { paths }: ComposeOptions,
  { endpoint, parts, metrics, inherited, addresses }: Foundation,
  opened: Disposer,
): Promise<Services> {
  const { sidecar } = parts.config;
  const identity = opened.use(openIdentity(endpoint, parts));
  const interception = await startInterception(sidecar.intercept, parts);
  if (interception !== undefined) parts.interception.set(interception);
  opened.defer(() => interception?.[Symbol.dispose]());
  const shutdown = new AbortController();
  opened.defer(() => shutdown.abort(new Fault('shutting-down', 'the sidecar is stopping')));
  const taskParts = await startTasks(parts, shutdown.signal);
  const { tasks } = taskParts;
  opened.use(tasks);
  await awaitTurn(identity, inherited, parts);
  const behind = {
    identity,
    audit: observed(parts.audit, metrics),
    interception,
    tasks,
    inherited,
  };
  const proxy = opened.use(await serve(parts, behind, shutdown.signal));
  for (const [name, address] of proxy.addresses) addresses.set(name, address);
  followIdentity(
    { identity, reauthorize: () => proxy.reauthorize(), signal: shutdown.signal },
    parts,
  );
  const reload = opened.use(reloader({ paths, parts, proxy }));
  const services = { ...taskParts, audit: parts.audit, identity, proxy, reload };
  parts.services.set(services);
  return services;
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
