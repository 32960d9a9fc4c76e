/** What the gauges show at a scrape, read from the parts as they stand. */
import type { Tasks } from '../../lib/tasks/tasks.ts';
import type { Readings } from '../../lib/telemetry/tallies.ts';
import { COMMIT, VERSION } from '../version.ts';
import type { Parts, Services } from './parts.ts';

/** What is there from the start. */
type Early = Pick<Parts, 'readiness' | 'interception' | 'drops'>;

/** @param services undefined while not all of them serve */
export function readingsOf(services: Services | undefined, early: Early): Readings {
  const { proxy, identity, audit, reload } = services ?? {};
  const interception = early.interception.get();
  const state = identity?.states.get();
  const current = state?.kind === 'current' ? state.identity : undefined;
  const counts = identity?.metrics();
  const pools = proxy?.pools();
  const { policy = 0, degraded, stale = 0 } = reload?.status() ?? {};
  return {
    build: { version: VERSION, commit: COMMIT ?? 'unknown' },
    tasks: tasksOf(services?.tasks),
    taskEvents: services?.taskEvents ?? new Map(),
    svidExpiry: current === undefined ? undefined : current.svid.notAfter / 1000,
    bundleAuthorities: new Map(
      [...(current?.bundles.values() ?? [])].map((one) => [one.trustDomain, one.anchors.length]),
    ),
    lastUpdate: counts?.lastUpdate === undefined ? undefined : counts.lastUpdate / 1000,
    rotations: counts?.rotations ?? 0,
    watchErrors: counts?.errorsByCode ?? new Map(),
    reconnects: counts?.reconnects ?? 0,
    droppedBundles: counts?.droppedBundles ?? 0,
    discardedMessages: counts?.discardedMessages ?? 0,
    identityFinal: counts?.final ?? false,
    crls: counts?.crls ?? 0,
    live: proxy?.live() ?? 0,
    agents: proxy?.shares() ?? [],
    dropped: early.drops.counts,
    poolIdle: pools?.idle ?? 0,
    poolBusy: pools?.leased ?? 0,
    auditFailures: audit?.failures() ?? 0,
    interception: interception && {
      ...interception.leaves(),
      expiry: interception.authority().validToDate.getTime() / 1000,
    },
    policyGeneration: policy,
    degraded: degraded !== undefined,
    stale,
    ready: early.readiness.report().ready,
  };
}

function tasksOf(tasks: Tasks | undefined): Readings['tasks'] {
  if (tasks === undefined) return [];
  const [open, waiting] = [tasks.list(), tasks.stepUps.pending()];
  return tasks.agents.map((agent) => ({
    agent: agent.name,
    open: open.filter((task) => task.agent === agent).length,
    waiting: waiting.filter(({ task }) => tasks.get(task)?.agent === agent).length,
  }));
}
