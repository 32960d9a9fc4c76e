/**
 * The end of a connection that we close: our side is ended, and what still comes is discarded
 * within bounds, so that the client can read the answer (RFC 9112 section 9.6).
 */
import type { HttpLimits } from '../http/limits.ts';
import type { Transport } from './transport.ts';

export class Linger {
  readonly #transport: Transport;
  readonly #limits: HttpLimits;
  #discarded = 0;

  constructor(transport: Transport, limits: HttpLimits) {
    this.#transport = transport;
    this.#limits = limits;
  }

  start(): void {
    const { socket, input, reading } = this.#transport;
    reading.set(this.#limits.lingerMs);
    socket.end();
    input.resume();
    this.discard();
  }

  discard(): void {
    const { input, reading } = this.#transport;
    this.#discarded += input.takeAll().length;
    if (this.#discarded <= this.#limits.lingerBytes) return;
    // A client that still writes is held up first and so comes to read: a reset at once would
    // overtake the answer.
    input.pause();
    reading.set(this.#limits.farewellMs);
  }
}
