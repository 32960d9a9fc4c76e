/** Parts of every request to an upstream, those of the sidecar itself included. */
import type { CredentialProvider } from '../credentials/provider.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { FieldRules } from '../exchange/headers.ts';
import type { Fields } from '../http/message.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { Identity } from '../spiffe/identity.ts';
import type { Upstreams } from '../upstream/pools.ts';

export interface Outbound {
  readonly upstreams: Upstreams;
  readonly fields: FieldRules;
  readonly credentials: CredentialProvider;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Throws the Fault for an exchange that what changed since its authorization forbids. */
  readonly reauthorize: (exchange: Exchange) => void;
}

/** The fields with the credential of the destination in place of whatever the agent sent. */
export async function withCredential(
  fields: Fields,
  exchange: Exchange,
  {
    destination,
    identity,
  }: { readonly destination: Destination; readonly identity?: Identity | undefined },
  { credentials, now }: Pick<Outbound, 'credentials' | 'now'>,
): Promise<Fields> {
  const { credential: policy, timeouts } = destination;
  if (policy === undefined || identity === undefined) return fields;
  exchange.enter('connect', timeouts.connect, now());
  const need = { policy, identity };
  const credential = await credentials.obtain(need, exchange.task?.id, exchange.signal);
  exchange.credential = credential.kind;
  return credential.apply(fields);
}
