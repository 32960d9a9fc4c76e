/**
 * A real development Workload API on a socket of its own, and a source of identity that follows it,
 * both closed by the test's end.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { systemClock, type Clock } from '../../lib/base/clock.ts';
import { createDevTrustDomain, type DevTrustDomain } from '../../lib/dev/domain.ts';
import {
  startDevWorkloadApi,
  type DevWorkloadApi,
  type DevWorkloadApiOptions,
} from '../../lib/dev/workload-api.ts';
import type { IdentityNote } from '../../lib/identity/notes.ts';
import {
  startIdentity,
  type IdentityOptions,
  type IdentitySource,
} from '../../lib/identity/source.ts';
import type { Identity, IdentityState } from '../../lib/spiffe/identity.ts';
import { until } from '../support/until.ts';

export function trustDomain(name = 'example.org'): Promise<DevTrustDomain> {
  return createDevTrustDomain({ name, clock: systemClock });
}

export async function folder(t: Test): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'chaperone-id-'));
  t.teardown(() => rm(made, { recursive: true, force: true }));
  return made;
}

export async function workloadApiServer(
  t: Test,
  options: Partial<DevWorkloadApiOptions> = {},
): Promise<DevWorkloadApi> {
  const server = await startDevWorkloadApi({
    socket: join(await folder(t), 'api.sock'),
    domain: options.domain ?? (await trustDomain()),
    identities: [{ id: '/agent' }],
    ...options,
  });
  t.teardown(() => server[Symbol.asyncDispose]());
  return server;
}

export interface Followed extends IdentitySource {
  readonly notes: readonly IdentityNote[];
  /** Every state there was, in order. */
  readonly history: readonly IdentityState[];
  ready(): Promise<Identity>;
  /** Waits until the state is as asked. */
  reaches(what: string, probe: (state: IdentityState) => boolean): Promise<IdentityState>;
}

/**
 * Back-offs are a tenth of a percent of what they would be at most: retries come at once, in order.
 */
const HARDLY_ANY = 0.999;

export function follow(
  t: Test,
  endpoint: string,
  options: Partial<IdentityOptions> = {},
): Followed {
  const notes: IdentityNote[] = [];
  const history: IdentityState[] = [];
  const source = startIdentity({
    endpoint,
    select: {},
    clock: systemClock,
    onNote: (note) => notes.push(note),
    random: () => HARDLY_ANY,
    ...options,
  });
  const ended = new AbortController();
  source.states.follow((state) => history.push(state), ended.signal);
  t.teardown(async () => {
    ended.abort();
    await source[Symbol.asyncDispose]();
  });
  return {
    ...source,
    notes,
    history,
    ready: () => source.firstUpdate(AbortSignal.timeout(5000)),
    reaches: (what, probe) =>
      until(what, () => {
        const state = source.states.get();
        return state !== undefined && probe(state) ? state : undefined;
      }),
  };
}

/** The system's clock, set forward or back at will: a machine that slept. */
export function shiftedClock(): Clock & { shift(ms: number): void } {
  let offset = 0;
  return {
    ...systemClock,
    now: () => systemClock.now() + offset,
    shift: (ms) => void (offset += ms),
  };
}

/** What an act throws. */
export function thrown(act: () => unknown): unknown {
  try {
    return act();
  } catch (failure) {
    return failure;
  }
}
