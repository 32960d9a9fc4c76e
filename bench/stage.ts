/**
 * What every measurement stands on: a folder, the embedded development identity, the certificates
 * of the others, and where everything listens.
 */
import { X509Certificate } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '../lib/base/clock.ts';
import { disposer } from '../lib/base/dispose.ts';
import { certificatesPem } from '../lib/interception/issue.ts';
import { createDevTrustDomain, type DevTrustDomain } from '../lib/dev/domain.ts';
import { type DevWorkloadApi, startDevWorkloadApi } from '../lib/dev/workload-api.ts';
import { parseSpiffeId } from '../lib/spiffe/id.ts';
import { freePort } from './machine.ts';
import { AGENT_ID, type Places, UPSTREAM_ID, writeIdentities } from './programs.ts';

const HOUR_MS = 3_600_000;

export interface Stage extends AsyncDisposable {
  readonly places: Places;
  readonly workloadApi: DevWorkloadApi;
  /** Serials of the SVIDs that the Workload API gave out so far, in order. */
  readonly serials: readonly string[];
}

/** The folder's name ends with `label`, and the folder is gone once disposed of. */
export async function setStage(label: string): Promise<Stage> {
  const opened = disposer();
  const folder = await mkdtemp(join(tmpdir(), `chaperone-${label}-`));
  opened.defer(() => rm(folder, { recursive: true, force: true }));
  const domain = await createDevTrustDomain({ name: 'bench.local', clock: systemClock });
  const issued = (id: string) => domain.issue(parseSpiffeId(id), HOUR_MS);
  const ca = certificatesPem(domain.current().x509.map(({ certificate }) => certificate));
  await writeIdentities(folder, ca, {
    upstream: await issued(UPSTREAM_ID),
    agent: await issued(AGENT_ID),
  });
  const serials: string[] = [];
  const noting: DevTrustDomain = {
    ...domain,
    async issue(id, ttl) {
      const svid = await domain.issue(id, ttl);
      serials.push(new X509Certificate(svid.certificatesPem).serialNumber);
      return svid;
    },
  };
  const socket = join(folder, 'identity', 'workload.sock');
  const workloadApi = opened.use(
    await startDevWorkloadApi({ socket, domain: noting, identities: [{ id: AGENT_ID }] }),
  );
  const envoy = process.env['BENCH_ENVOY'] ?? 'envoy';
  const places: Places = {
    folder,
    upstreamPort: await freePort(),
    envoy,
    endpoint: workloadApi.endpoint,
  };
  return {
    places,
    workloadApi,
    serials,
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}
