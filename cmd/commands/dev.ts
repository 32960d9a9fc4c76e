/**
 * `chaperone dev`: the embedded Workload API, until SIGINT or SIGTERM. It attests nobody and says
 * so. `--serve` puts the demo's API beside it: an mTLS upstream for those who have none at hand.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import { type Disposer, disposer } from '../../lib/base/dispose.ts';
import { Fault } from '../../lib/base/fault.ts';
import { parseDuration } from '../../lib/config/documents/scalars.ts';
import { createDevTrustDomain, type DevTrustDomain } from '../../lib/dev/domain.ts';
import { type DemoUpstream, startDemoUpstream } from '../../lib/dev/upstream.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import type { Io } from '../io.ts';
import { processSignals } from '../signals.ts';

export interface DevOptions {
  readonly socket: string;
  readonly trustDomain: string;
  readonly id?: readonly string[];
  readonly ttl: string;
  readonly serve?: readonly string[];
}

/** One of `--serve`. */
interface Served {
  /** Path of its SPIFFE ID. */
  readonly id: string;
  readonly port: number;
}

export async function dev(options: DevOptions, io: Io): Promise<void> {
  const served = (options.serve ?? []).map(servedOf);
  const ids = [...new Set(options.id ?? ['/agent'])];
  for (const id of ids) checkId(id);
  const ttl = parseDuration(options.ttl);
  const domain = await createDevTrustDomain({ name: options.trustDomain, clock: systemClock });
  using signals = processSignals(() => {});
  await using api = await startDevWorkloadApi({
    socket: options.socket,
    domain,
    identities: ids.map((id) => ({ id })),
    ttl,
    onNote: (text) => io.err(text),
  });
  io.out(
    `serving ${api.endpoint} for ` +
      `${ids.map((id) => (id.startsWith('/') ? `spiffe://${domain.name}${id}` : id)).join(', ')}`,
  );
  io.out(`export SPIFFE_ENDPOINT_SOCKET=${api.endpoint}`);
  await using opened = disposer();
  if (served.length > 0) await serveAll(served, { domain, ttl, io, opened });
  await signals.stop;
}

interface Serving {
  readonly domain: DevTrustDomain;
  readonly ttl: number;
  readonly io: Io;
  readonly opened: Disposer;
}

/**
 * What is served gets its SVIDs from a socket of its own, so that no caller of the other can be it.
 */
async function serveAll(
  served: readonly Served[],
  { domain, ttl, io, opened }: Serving,
): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'chaperone-dev-'));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const identities = served.map(({ id }) => ({ id }));
  const api = opened.use(
    await startDevWorkloadApi({ socket: join(folder, 'api.sock'), domain, identities, ttl }),
  );
  for (const one of served) {
    const { address } = opened.use(
      await serve(one, { endpoint: api.endpoint, domain: domain.name, io }),
    );
    io.out(`serving the demo's API as spiffe://${domain.name}${one.id} on ${address}`);
  }
}

function checkId(id: string): void {
  if (/^(?:\/|spiffe:\/\/)/.test(id)) return;
  throw new Fault('usage', `--id takes a path or a whole SPIFFE ID, not ${JSON.stringify(id)}`, {
    hint: `such as --id /${id}`,
  });
}

function serve(
  { id, port }: Served,
  { endpoint, domain, io }: { readonly endpoint: string; readonly domain: string; readonly io: Io },
): Promise<DemoUpstream> {
  return startDemoUpstream({
    endpoint,
    select: { spiffeId: parseSpiffeId(`spiffe://${domain}${id}`) },
    callers: [`spiffe://${domain}/**`],
    service: 'api',
    clock: systemClock,
    port,
    onNote: (text) => io.err(text),
    onRequest: ({ method, target, peer, status }) =>
      io.out(`${status} ${method} ${target} for ${peer.spiffeId}`),
  });
}

function servedOf(text: string): Served {
  const [, id = '', digits = ''] = /^(\/.+)=(\d{1,5})$/.exec(text) ?? [];
  const port = Number(digits);
  if (id === '' || port > 65_535)
    throw new Fault(
      'usage',
      `--serve takes a path of a SPIFFE ID and a port, not ${JSON.stringify(text)}`,
      {
        hint: 'such as --serve /crm=8443',
      },
    );
  return { id, port };
}
