/**
 * What a connection has received and nobody has taken yet. At most one buffer is held: while nobody
 * waits for more, the socket is paused, so that what a peer sends ahead is bounded. Heads and
 * trailer sections are taken here, whole or not at all.
 */
import type { Duplex } from 'node:stream';

import type { Fault } from '../base/fault.ts';
import { LF } from '../http/grammar.ts';
import { release } from './sockets.ts';

const NOTHING = Buffer.alloc(0);
const BLANK_LINE = Buffer.from('\r\n\r\n');

export class ReadBuffer {
  readonly socket: Duplex;
  bytes: Buffer = NOTHING;
  /** Where in `bytes` the first byte stands that was not taken. */
  at = 0;
  /** Bytes received in all. */
  received = 0;
  /** The peer has ended its side. */
  ended = false;
  /** The end is no orderly one: what lasts until it is not complete. */
  broken = false;
  #paused = false;
  /** Up to where a block that is not complete was looked through. */
  #scanned = 0;

  constructor(socket: Duplex) {
    this.socket = socket;
  }

  get unread(): number {
    return this.bytes.length - this.at;
  }

  give(chunk: Buffer): void {
    this.received += chunk.length;
    if (this.at === this.bytes.length) this.bytes = chunk;
    else this.#append(chunk);
    this.#scanned = Math.max(this.#scanned - this.at, 0);
    this.at = 0;
  }

  #append(chunk: Buffer): void {
    const { at, bytes } = this;
    this.bytes = Buffer.concat([bytes.subarray(at), chunk]);
    release(chunk, this.socket);
    // Of what was taken from in part, somebody may still have the first part.
    if (at === 0) release(bytes, this.socket);
  }

  /** All bytes at hand up to `most`. */
  take(most: number): Buffer {
    const { at, bytes } = this;
    const end = Math.min(bytes.length, at + most);
    this.at = end;
    if (at > 0 || end < bytes.length) return bytes.subarray(at, end);
    // Given away whole: whoever has it may release it.
    this.bytes = NOTHING;
    this.at = 0;
    return bytes;
  }

  /** Whatever is left, for those who take the socket over. */
  takeAll(): Buffer {
    return this.take(this.unread);
  }

  pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.socket.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.socket.resume();
  }

  /**
   * Takes a block that ends with an empty line and hands it to `parse` as latin1; undefined while
   * it is not complete. `parse` also sees the incomplete block, each time a line of it ends, so
   * that what is wrong is refused at once. Throws what `parse` throws, or `over(most)` for a block
   * longer than that.
   */
  takeBlock<T>(
    parse: (text: string) => T | undefined,
    most: number,
    over: (most: number) => Fault,
  ): T | undefined {
    const { at, bytes } = this;
    const from = Math.max(at, this.#scanned - 3);
    const blank = bytes.indexOf(BLANK_LINE, from);
    const length = blank < 0 ? Infinity : blank + 4 - at;
    if (length <= most) {
      this.#scanned = 0;
      this.at = at + length;
      return parse(bytes.toString('latin1', at, at + length));
    }
    const cut = bytes.length - at > most;
    const fresh = this.#scanned <= at || bytes.indexOf(LF, this.#scanned) >= 0;
    if (cut || fresh) parse(bytes.toString('latin1', at, Math.min(bytes.length, at + most)));
    if (cut) throw over(most);
    this.#scanned = bytes.length;
    return undefined;
  }
}
