/** The sockets that were accepted and are open. */
import type { Socket } from 'node:net';
import { abortSocket } from '../http1/sockets.ts';

export class SocketSet {
  readonly #sockets = new Set<Socket>();
  #waiting: (() => void)[] = [];

  /** Until it closes, of which `onClose` is told. */
  add(socket: Socket, onClose: () => void): void {
    this.#sockets.add(socket);
    // Whoever serves the socket listens too; before that, an error has nobody to tell.
    socket.on('error', () => {});
    socket.once('close', () => {
      onClose();
      this.#delete(socket);
    });
  }

  /** Settles when no socket is left. */
  empty(): Promise<void> {
    return this.#sockets.size === 0
      ? Promise.resolve()
      : new Promise((resolve) => this.#waiting.push(resolve));
  }

  cutAll(): void {
    for (const socket of this.#sockets) abortSocket(socket);
  }

  #delete(socket: Socket): void {
    this.#sockets.delete(socket);
    if (this.#sockets.size > 0) return;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
