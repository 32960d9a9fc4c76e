/** An embedded Workload API with identities for an agent and one upstream, and that upstream. */
import { join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDemoUpstream } from '../../lib/dev/upstream.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { shortFolder } from '../support/folder.ts';

export interface World extends AsyncDisposable {
  readonly folder: string;
  readonly endpoint: string;
  /** `127.0.0.1:port` of spiffe://dev.local/crm. */
  readonly upstream: string;
  connections(): number;
}

export async function startWorld(
  t: Parameters<typeof shortFolder>[0],
  service: 'api' | 'echo' = 'api',
): Promise<World> {
  const folder = shortFolder(t);
  const api = await startDevWorkloadApi({
    socket: join(folder, 'identity', 'w.sock'),
    domain: await createDevTrustDomain({ name: 'dev.local', clock: systemClock }),
    identities: [{ id: '/agent' }, { id: '/crm' }],
  });
  const upstream = await startDemoUpstream({
    endpoint: api.endpoint,
    select: { spiffeId: parseSpiffeId('spiffe://dev.local/crm') },
    callers: ['spiffe://dev.local/agent'],
    service,
    clock: systemClock,
  });
  return {
    folder,
    endpoint: api.endpoint,
    upstream: upstream.address,
    connections: () => upstream.connections(),
    async [Symbol.asyncDispose]() {
      await upstream[Symbol.asyncDispose]();
      await api[Symbol.asyncDispose]();
    },
  };
}
