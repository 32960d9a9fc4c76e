/**
 * Reload: read all, bind what is new, then swap; or keep the last good policy and say so. One at a
 * time, in order. Settings of the Sidecar document other than its policy take effect at the next
 * start, and a change of them is pointed out.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { LifecycleRecord } from '../../lib/audit/record.ts';
import { Fault } from '../../lib/base/fault.ts';
import { type Config, loadConfig } from '../../lib/config/load/load.ts';
import { watchConfig } from '../../lib/config/load/watch.ts';
import type { Proxy } from '../../lib/listen/proxy.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { Parts, Reload } from './parts.ts';
import { staleness } from './staleness.ts';

export interface ReloadOptions {
  readonly paths: readonly string[];
  readonly parts: Parts;
  readonly proxy: Proxy;
}

export function reloader({ paths, parts, proxy }: ReloadOptions): Reload {
  const { policy, audit, log, clock, recordEvent } = parts;
  const stop = new AbortController();
  const digest = (): string => policy.get()?.digest ?? '';
  let generation = parts.config.policy.generation;
  const noteSettings = settingsNoter(parts);
  let sources = parts.config.sources;
  let degraded: string | undefined;
  let chain: Promise<void> = Promise.resolve();

  const load = async (again = false): Promise<void> => {
    try {
      const next = await loadConfig(paths, { generation: generation + 1 });
      // What the policy is swapped by is a step of its own: requests have a turn before it.
      await turn();
      sources = next.sources;
      noteSettings(next);
      const same = next.policy.digest === digest();
      if (degraded !== undefined || !same) await apply(next.policy);
      degraded = undefined;
      age.current();
    } catch (failure) {
      const fault = Fault.from(failure, 'config');
      const before = degraded;
      degraded = fault.describe();
      if (!stop.signal.aborted) age.failed(degraded);
      if (again && degraded === before) return;
      log.log('error', 'config', degraded, { kept: policy.get()?.generation });
      recordEvent('policy-rejected', detail(fault));
    }
  };
  const apply = async (next: Policy): Promise<void> => {
    await proxy.prepare(next);
    generation = next.generation;
    policy.set(next);
    recordEvent('policy-loaded', summaryOf(next));
  };
  const now = (): Promise<void> => (chain = chain.then(() => load()));
  const most = parts.config.sidecar.maxStale;
  const age = staleness({
    clock,
    readiness: parts.readiness,
    most,
    again: () => void (chain = chain.then(() => load(true))),
  });

  watchConfig(paths, { signal: stop.signal, clock, onChange: now, also: () => sources });
  return {
    async now() {
      await reopen(audit, log);
      await now();
    },
    status: () => ({ policy: generation, policyDigest: digest(), degraded, stale: age.seconds() }),
    async [Symbol.asyncDispose]() {
      stop.abort(new Fault('shutting-down', 'the sidecar is stopping'));
      age.end();
      await chain;
    },
  };
}

function summaryOf({ generation, digest, destinations }: Policy): Record<string, string | number> {
  return { generation, digest, destinations: destinations.length };
}

async function reopen(audit: Parts['audit'], log: Parts['log']): Promise<void> {
  try {
    await audit.reopen();
  } catch (failure) {
    log.log('error', 'audit', Fault.from(failure, 'audit-unavailable').describe());
  }
}

function warnOfNone(policy: Policy, log: Parts['log']): void {
  if (policy.destinations.length !== 0) return;
  log.log('warn', 'config', 'there is no Destination document, so every request is refused', {
    hint: 'write one, or name the folder that holds them by -c',
  });
}

/**
 * Says once for each change of the settings that it counts at the next start, and each time that
 * nothing is allowed.
 */
function settingsNoter({ config, log }: Parts): (next: Config) => void {
  let settings = JSON.stringify(config.sidecar);
  warnOfNone(config.policy, log);
  return ({ sidecar, policy }) => {
    warnOfNone(policy, log);
    const newest = JSON.stringify(sidecar);
    if (newest === settings) return;
    settings = newest;
    log.log(
      'warn',
      'config',
      'settings of the Sidecar document changed: they take effect at the next start',
    );
  };
}

/** The first line alone: the rest is in the log. */
function detail(fault: Fault): LifecycleRecord['detail'] {
  return { code: fault.code, problem: (fault.message.split('\n', 1)[0] ?? '').slice(0, 512) };
}
