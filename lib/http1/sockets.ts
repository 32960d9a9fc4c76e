/** Ending sockets. */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';

/**
 * Destroys a socket so that the peer can tell it from an orderly end: by a reset where the
 * transport has one (TCP). TLS has none, there the missing close_notify tells it; neither have Unix
 * sockets, where only the framing does.
 */
export function resetSocket(socket: Duplex): void {
  const tcp =
    socket instanceof Socket && !('encrypted' in socket) && socket.remoteFamily !== undefined;
  // While the end of our side is on its way the engine cannot reset (libuv: UV_EINVAL), and the
  // socket would never close.
  const ending = socket.writableEnded && !socket.writableFinished;
  if (tcp && !ending) socket.resetAndDestroy();
  else socket.destroy();
}

/** `address:port` of both ends; empty where the transport has none. */
export function addressesOf(socket: Duplex): { readonly remote: string; readonly local: string } {
  if (!(socket instanceof Socket)) return { remote: '', local: '' };
  const { remoteAddress, remotePort, localAddress, localPort } = socket;
  return {
    remote: remoteAddress === undefined ? '' : `${remoteAddress}:${remotePort}`,
    local: localAddress === undefined ? '' : `${localAddress}:${localPort}`,
  };
}

type Sent = (error?: Error | null) => void;

/**
 * Tells `failed` of a write that fails, where the engine would destroy the socket and drop what the
 * peer said before it stopped reading. Nothing can be sent any more; what was received still comes.
 */
export function keepReadable(socket: Duplex, failed: (cause: Error) => void): void {
  const write = socket._write.bind(socket);
  const writev = socket._writev?.bind(socket);
  const guarded =
    (done: Sent): Sent =>
    (error) => {
      if (error !== undefined && error !== null) failed(error);
      done();
    };
  socket._write = (chunk, encoding, done) => write(chunk, encoding, guarded(done));
  if (writev !== undefined) socket._writev = (chunks, done) => writev(chunks, guarded(done));
}

/** Below this the collector is in no hurry either. */
const WORTH_RELEASING = 4096;

/**
 * Frees the memory of what a socket gave us and another has sent, at once: left to the collector,
 * bodies and tunnels would cost it a full collection for every few dozen MB. Only a chunk that is
 * all of its memory and was read by `from`, a socket of the engine's, so that nothing else can be
 * looking at it; it is empty afterwards.
 */
export function release(chunk: Buffer, from: Duplex): void {
  const { buffer, byteLength } = chunk;
  if (!(from instanceof Socket)) return;
  if (
    byteLength >= WORTH_RELEASING &&
    byteLength === buffer.byteLength &&
    buffer instanceof ArrayBuffer
  )
    buffer.transfer(0);
}

/**
 * Ends a socket so that the other side sees a cut: a TCP reset where there is TCP, no close_notify
 * where there is TLS.
 */
export function abortSocket(socket: Duplex): void {
  // The error a reset may still cause has nobody to tell.
  socket.on('error', () => {});
  if (!socket.destroyed) resetSocket(socket);
}
