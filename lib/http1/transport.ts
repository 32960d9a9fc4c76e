/**
 * A socket as both sides of HTTP/1.1 use it: what was received and not taken, what is sent, and a
 * limit in time for each. Its owner hears of every event; the events of a socket that was handed
 * over are no longer ours.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { HandedOver } from '../http/server-exchange.ts';
import { ReadBuffer } from './read-buffer.ts';
import { Watchdog } from './watchdog.ts';
import { Writer } from './writer.ts';

export interface TransportOwner {
  /** Bytes were added to the input. */
  onReceived(): void;
  /** The peer has ended its side. */
  onEnded(): void;
  onFailed(cause: Error): void;
  onClosed(): void;
  onReadTimeout(): void;
  onWriteTimeout(): void;
}

export class Transport {
  readonly socket: Duplex;
  readonly input: ReadBuffer;
  readonly output: Writer;
  /** The time for what is awaited of the peer. */
  readonly reading: Watchdog;
  readonly #writing: Watchdog;
  readonly #owner: TransportOwner;

  constructor(socket: Duplex, owner: TransportOwner, limits: HttpLimits, clock: Clock) {
    this.socket = socket;
    this.#owner = owner;
    this.input = new ReadBuffer(socket);
    this.reading = new Watchdog(clock, () => owner.onReadTimeout());
    const writing = (this.#writing = new Watchdog(clock, () => owner.onWriteTimeout()));
    this.output = new Writer(socket, (full) =>
      full ? writing.set(limits.writeIdleMs) : writing.clear(),
    );
  }

  /** Half-open is allowed from here. */
  start(): void {
    this.socket.allowHalfOpen = true;
    this.socket.on('data', this.#onData).on('end', this.#onEnd).on('drain', this.#onDrain);
    this.socket.on('error', this.#onError).on('close', this.#onClose);
  }

  /** Stops both limits for good. */
  stop(): void {
    this.reading.stop();
    this.#writing.stop();
  }

  handOver(): HandedOver {
    this.socket.pause();
    this.socket.off('data', this.#onData).off('end', this.#onEnd).off('drain', this.#onDrain);
    this.socket.off('error', this.#onError).off('close', this.#onClose);
    this.stop();
    return { socket: this.socket, early: this.input.takeAll() };
  }

  readonly #onData = (chunk: Buffer): void => {
    this.input.give(chunk);
    this.#owner.onReceived();
  };

  readonly #onEnd = (): void => {
    this.input.ended = true;
    this.#owner.onEnded();
  };

  readonly #onDrain = (): void => this.output.wake();
  readonly #onError = (cause: Error): void => this.#owner.onFailed(cause);
  readonly #onClose = (): void => this.#owner.onClosed();
}
