/**
 * The frames that the engine sends, looked through on their way out: what was really said on a
 * stream, and when. A stream's last words go out here, before the frame that resets it.
 */
import { DATA, END_STREAM, GOAWAY, HEAD_BYTES, HEADERS, RST_STREAM } from './frames.ts';

export interface SentWatcher {
  /** A header block begins on the stream: an interim head, its head, its trailers. */
  sentHead(id: number): void;
  /** The stream was ended in order. */
  sentEnd(id: number): void;
  /** The stream is reset; the frame to send before, if there is one. */
  sentReset(id: number): Buffer | undefined;
  /** The connection is ended for an error. */
  sentGoaway(code: number): void;
}

/** A frame that goes out before the byte at `at`. */
export interface Insertion {
  readonly at: number;
  readonly frame: Buffer;
}

/** As much of a GOAWAY as says why (RFC 9113 section 6.8). */
const GOAWAY_BYTES = 8;

export class SentFrames {
  readonly #watcher: SentWatcher;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #have = 0;
  /** Of the payload of the frame under way. */
  #left = 0;

  constructor(watcher: SentWatcher) {
    this.#watcher = watcher;
  }

  /** What is to be inserted into these bytes, or undefined. */
  read(bytes: Buffer): Insertion[] | undefined {
    let insertions: Insertion[] | undefined;
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, bytes.length - at);
        this.#left -= taken;
        at += taken;
        continue;
      }
      const taken = bytes.copy(this.#head, this.#have, at, at + HEAD_BYTES - this.#have);
      this.#have += taken;
      at += taken;
      if (this.#have < HEAD_BYTES) return insertions;
      this.#have = 0;
      this.#left = this.#head.readUIntBE(0, 3);
      const frame = this.#told(bytes, at);
      if (frame !== undefined) (insertions ??= []).push({ at: at - HEAD_BYTES, frame });
    }
    return insertions;
  }

  #told(bytes: Buffer, at: number): Buffer | undefined {
    const type = this.#head[3];
    const ends = ((this.#head[4] as number) & END_STREAM) !== 0;
    if (type === DATA) {
      if (ends) this.#watcher.sentEnd(this.#stream);
    } else if (type === HEADERS) {
      this.#watcher.sentHead(this.#stream);
      if (ends) this.#watcher.sentEnd(this.#stream);
    } else if (type === RST_STREAM) {
      const frame = this.#watcher.sentReset(this.#stream);
      // The engine writes such a frame in one piece; nothing can be put into half of one.
      if (at >= HEAD_BYTES) return frame;
    } else if (type === GOAWAY && bytes.length >= at + GOAWAY_BYTES) {
      this.#watcher.sentGoaway(bytes.readUInt32BE(at + 4));
    }
    return undefined;
  }

  get #stream(): number {
    return this.#head.readUInt32BE(5) & 0x7fffffff;
  }
}
