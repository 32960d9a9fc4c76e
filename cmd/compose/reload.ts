/**
 * Reload: read all, bind what is new, then swap; or keep the last good policy and say so. One at a time, in order. Settings of the Sidecar document other
 * than its policy take effect at the next start, and a change of them is pointed out.
 */
import { setImmediate as turn } from 'node:timers/promises';
import type { LifecycleRecord } from '../../lib/audit/record.ts';
import { Fault } from '../../lib/base/fault.ts';
import { loadConfig } from '../../lib/config/load.ts';
import { watchConfig } from '../../lib/config/watch.ts';
import type { Policy } from '../../lib/policy/model.ts';
import type { Proxy } from '../../lib/proxy/proxy.ts';
import type { Parts } from '../compose.ts';

export interface Reload extends AsyncDisposable {
  now(): Promise<void>;
  status(): { readonly policy: number; readonly policyDigest: string; readonly degraded: string | undefined };
}

export interface ReloadOptions {
  readonly paths: readonly string[];
  readonly parts: Parts;
  readonly proxy: Proxy;
}

export function reloader({ paths, parts, proxy }: ReloadOptions): Reload {
  const { policy, audit, log, clock, tell } = parts;
  const stop = new AbortController();
  let generation = parts.config.policy.generation;
  let settings = JSON.stringify(parts.config.sidecar);
  let sources = parts.config.sources;
  let degraded: string | undefined;
  let chain: Promise<void> = Promise.resolve();

  const load = async (): Promise<void> => {
    try {
      const next = await loadConfig(paths, { generation: generation + 1 });
      // What the policy is swapped by is a step of its own: requests have a turn before it.
      await turn();
      sources = next.sources;
      noteSettings(JSON.stringify(next.sidecar));
      const same = next.policy.digest === policy.get()?.digest;
      if (degraded !== undefined || !same) await apply(next.policy);
      degraded = undefined;
    } catch (failure) {
      const fault = Fault.from(failure, 'config');
      degraded = fault.describe();
      log.log('error', 'config', degraded, { kept: policy.get()?.generation });
      tell('policy-rejected', detail(fault));
    }
  };
  const apply = async (next: Policy): Promise<void> => {
    await proxy.prepare(next);
    generation = next.generation;
    policy.set(next);
    tell('policy-loaded', { generation, digest: next.digest, destinations: next.destinations.length });
  };
  const noteSettings = (newest: string): void => {
    if (newest === settings) return;
    settings = newest;
    log.log('warn', 'config', 'settings of the Sidecar document changed: they take effect at the next start');
  };
  const now = (): Promise<void> => (chain = chain.then(load));

  watchConfig(paths, { signal: stop.signal, clock, onChange: now, also: () => sources });
  return {
    async now() {
      try {
        await audit.reopen();
      } catch (failure) {
        log.log('error', 'audit', Fault.from(failure, 'audit-unavailable').describe());
      }
      await now();
    },
    status: () => ({ policy: generation, policyDigest: policy.get()?.digest ?? '', degraded }),
    async [Symbol.asyncDispose]() {
      stop.abort(new Fault('shutting-down', 'the sidecar is stopping'));
      await chain;
    },
  };
}

/** The first line alone: the rest is in the log. */
function detail(fault: Fault): LifecycleRecord['detail'] {
  return { code: fault.code, problem: (fault.message.split('\n', 1)[0] ?? '').slice(0, 512) };
}
