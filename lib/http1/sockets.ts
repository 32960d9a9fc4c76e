/** Ending sockets. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Destroys a socket so that the peer can tell it from an orderly end: by a reset where the transport has one (TCP). TLS has none, there the missing close_notify
 * tells it; neither have Unix sockets, where only the framing does.
 */
export function resetSocket(socket: Duplex): void {
  const tcp = socket instanceof Socket && !('encrypted' in socket) && socket.remoteFamily !== undefined;
  if (tcp) socket.resetAndDestroy();
  else socket.destroy();
}
