/** Destinations that are shown our identity, and those that need one. */
import type { Destination } from '../policy/protocols/index.ts';

/** True if connections of this mode carry our SVID. */
export function showsIdentity({ tls }: Destination): boolean {
  return tls.mode === 'mtls' || tls.mode === 'web-mtls';
}

/** True if nothing can be sent without an identity: shown, or spoken for by a credential. */
export function needsIdentity(destination: Destination): boolean {
  return showsIdentity(destination) || destination.credential !== undefined;
}
