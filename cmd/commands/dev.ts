/** `chaperone dev`: the embedded Workload API alone, until SIGINT or SIGTERM. It attests nobody and says so. */
import { systemClock } from '../../lib/base/clock.ts';
import { parseDuration } from '../../lib/config/scalars.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import type { Io } from '../io.ts';
import { processSignals } from '../signals.ts';

export interface DevOptions {
  readonly socket: string;
  readonly trustDomain: string;
  readonly id?: readonly string[];
  readonly ttl: string;
}

export async function dev(options: DevOptions, io: Io): Promise<void> {
  const { id: ids = ['/agent'] } = options;
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
    `serving ${api.endpoint} for ${ids.map((id) => (id.startsWith('/') ? `spiffe://${domain.name}${id}` : id)).join(', ')}`,
  );
  io.out(`export SPIFFE_ENDPOINT_SOCKET=${api.endpoint}`);
  await signals.stop;
}
