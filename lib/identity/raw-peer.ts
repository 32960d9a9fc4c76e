/**
 * Keeps the engine from describing a peer's certificates to itself. Before it asks whose name a
 * certificate has, it makes an object of every certificate of the chain, and ends the process at a
 * key on a curve that NIST has no name for (brainpool, secp256k1). Only the DER is needed.
 */
import type { TLSSocket } from 'node:tls';

/** To be called before the handshake is done; `checkServerIdentity` then gets `{ raw }` alone. */
export function rawPeerOnly(socket: TLSSocket): TLSSocket {
  const value = (): { readonly raw?: Buffer } => {
    const leaf = socket.getPeerX509Certificate();
    return leaf === undefined ? {} : { raw: leaf.raw };
  };
  return Object.defineProperty(socket, 'getPeerCertificate', { value });
}
