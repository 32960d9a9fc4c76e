/** Which destinations are shown our identity, and which need one. */
import type { Destination } from '../policy/protocols/index.ts';

/** Whether connections of this mode carry our SVID. */
export function showsIdentity({ tls }: Destination): boolean {
  return tls.mode === 'mtls' || tls.mode === 'web-mtls';
}

/** Whether nothing can be sent without an identity: it is shown, or a credential speaks for it. */
export function needsIdentity(destination: Destination): boolean {
  return showsIdentity(destination) || destination.credential !== undefined;
}
