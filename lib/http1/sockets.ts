/** Ending sockets. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Destroys a socket so that the peer can tell it from an orderly end: by a reset where the transport has one (TCP). TLS has none, there the missing close_notify
 * tells it; neither have Unix sockets, where only the framing does.
 */
export function resetSocket(socket: Duplex): void {
  const tcp = socket instanceof Socket && !('encrypted' in socket) && socket.remoteFamily !== undefined;
  // While the end of our side is on its way the engine cannot reset (libuv: UV_EINVAL), and the socket would never close.
  const ending = socket.writableEnded && !socket.writableFinished;
  if (tcp && !ending) socket.resetAndDestroy();
  else socket.destroy();
}
