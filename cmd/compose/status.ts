/** What `GET /status` of the admin socket says: how things stand, in one object. */
import type { AddressInfo } from 'node:net';
import { formatAuthority } from '../../lib/net/authority.ts';
import type { Identity } from '../../lib/spiffe/identity.ts';
import type { Parts, Services } from './parts.ts';

export type Status = Readonly<Record<string, unknown>>;

/** @param addresses the TCP listeners by name */
export function statusOf(
  { proxy, reload, identity }: Services,
  { readiness, config }: Parts,
  addresses: ReadonlyMap<string, AddressInfo>,
): Status {
  const state = identity.states.get();
  const current = state?.kind === 'current' ? state.identity : undefined;
  return {
    name: config.sidecar.name,
    pid: process.pid,
    ...readiness.report(),
    ...reload.status(),
    identity: current && identityWords(current),
    identityProblem: state?.problem,
    live: proxy.live(),
    agents: proxy.shares(),
    listening: Object.fromEntries(
      [...addresses].map(([name, at]) => [name, formatAuthority(at.address, at.port)]),
    ),
  };
}

function identityWords({ svid, generation }: Identity): Status {
  return {
    spiffeId: svid.id,
    generation,
    serial: svid.serial,
    expires: new Date(svid.notAfter).toISOString(),
  };
}
