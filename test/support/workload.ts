/** A trust domain with its Workload API, and upstreams that have identities of it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { disposer } from '../../lib/base/dispose.ts';
import { type DevTrustDomain, createDevTrustDomain } from '../../lib/dev/domain.ts';
import { type DemoUpstream, startDemoUpstream } from '../../lib/dev/upstream.ts';
import { type DevWorkloadApi, startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';

export interface TestWorkload<Name extends string = 'crm'> extends AsyncDisposable {
  /** Removed in the end; its path is short enough for Unix sockets. */
  readonly folder: string;
  readonly domain: DevTrustDomain;
  /** Hands out the identities of the agent and of the upstreams. */
  readonly api: DevWorkloadApi;
  readonly endpoint: string;
  readonly upstreams: Readonly<Record<Name, DemoUpstream>>;
}

export interface TestWorkloadOptions<Name extends string> {
  /** Default dev.local. */
  readonly trustDomain?: string;
  /** What each upstream serves; the SPIFFE ID of each is its name. Default the API, as `crm`. */
  readonly upstreams?: Readonly<Record<Name, 'api' | 'echo'>>;
  /** Lifetime of SVIDs in milliseconds; default one hour. */
  readonly ttl?: number;
  /** Of the authority; upstreams keep the system's. */
  readonly clock?: Clock;
}

export async function testWorkload<Name extends string = 'crm'>(
  options: TestWorkloadOptions<Name> = {},
): Promise<TestWorkload<Name>> {
  const { trustDomain = 'dev.local', ttl = 3_600_000, clock = systemClock } = options;
  const services: Readonly<Record<string, 'api' | 'echo'>> = options.upstreams ?? { crm: 'api' };
  const opened = disposer();
  const folder = await mkdtemp(join(tmpdir(), 'chap-'));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const domain = await createDevTrustDomain({ name: trustDomain, clock });
  const api = opened.use(
    await startDevWorkloadApi({
      socket: join(folder, 'identity', 'w.sock'),
      domain,
      identities: ['agent', ...Object.keys(services)].map((name) => ({ id: `/${name}` })),
      ttl,
      clock,
    }),
  );
  const upstreams: Record<string, DemoUpstream> = {};
  for (const [name, service] of Object.entries(services))
    upstreams[name] = opened.use(
      await startDemoUpstream({
        endpoint: api.endpoint,
        select: { spiffeId: parseSpiffeId(`spiffe://${trustDomain}/${name}`) },
        callers: [`spiffe://${trustDomain}/agent`],
        service,
        clock: systemClock,
      }),
    );
  return {
    folder,
    domain,
    api,
    endpoint: api.endpoint,
    upstreams: upstreams as Record<Name, DemoUpstream>,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}
