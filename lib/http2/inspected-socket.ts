/** A client's socket whose bytes are looked through (frames.ts) before the engine gets them. */
import { Duplex } from 'node:stream';

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Frames } from './frames.ts';
import type { SentFrames } from './sent-frames.ts';

export interface ScreenedOptions {
  readonly socket: Duplex;
  readonly frames: Frames;
  readonly sent: SentFrames;
  /** A frame ends the connection: it was not handed on, and nothing more will be. */
  readonly refused: (fault: Fault) => void;
  readonly clock: Clock;
  /** How long after its end the client may still read. */
  readonly lingerMs: number;
}

export class InspectedSocket extends Duplex {
  readonly #options: ScreenedOptions;
  #over = false;

  constructor(options: ScreenedOptions) {
    super({ allowHalfOpen: true, emitClose: true });
    this.#options = options;
    const { socket } = options;
    socket
      .on('data', this.#onData)
      .on('end', this.#onGone)
      .on('close', this.#onGone)
      .on('error', this.#onGone);
    socket.pause();
  }

  override _read(): void {
    this.#options.socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#written(this.#send(chunk), done);
  }

  override _writev(
    chunks: readonly { readonly chunk: Buffer }[],
    done: (error?: Error | null) => void,
  ): void {
    const { socket } = this.#options;
    socket.cork();
    let more = true;
    for (const { chunk } of chunks) more = this.#send(chunk);
    socket.uncork();
    this.#written(more, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#options.socket.end();
    done();
  }

  /**
   * What was written is still sent, and what still comes is discarded, so that the client can read
   * why (RFC 9113 section 5.4.1).
   */
  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { socket, clock, lingerMs } = this.#options;
    this.#over = true;
    if (socket.readableEnded || socket.destroyed) socket.destroy();
    else {
      socket.end();
      socket.resume();
      const cancel = clock.after(lingerMs, () => socket.destroy());
      socket.once('close', cancel);
    }
    done(error);
  }

  #send(chunk: Buffer): boolean {
    const { sent, socket } = this.#options;
    let from = 0;
    for (const { at, frame } of sent.read(chunk) ?? []) {
      socket.write(chunk.subarray(from, at));
      socket.write(frame);
      from = at;
    }
    return socket.write(from === 0 ? chunk : chunk.subarray(from));
  }

  #written(more: boolean, done: (error?: Error | null) => void): void {
    const { socket } = this.#options;
    if (more || socket.destroyed) done();
    else socket.once('drain', done);
  }

  readonly #onData = (chunk: Buffer): void => {
    if (this.#over) return;
    try {
      this.#options.frames.read(chunk);
    } catch (failure) {
      this.#over = true;
      this.#options.refused(Fault.from(failure, 'internal'));
      return;
    }
    if (!this.push(chunk)) this.#options.socket.pause();
  };

  /** A client that has ended its side reads no answer that anyone could tell from a cut. */
  readonly #onGone = (): void => {
    this.#options.socket.destroy();
    this.destroy();
  };
}
