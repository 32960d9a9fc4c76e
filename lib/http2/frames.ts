/**
 * What a client's frames (RFC 9113 section 4) say that the engine behind does not: it refuses
 * malformed streams and drops fields without a word, and its bounds on floods have no name. Bytes
 * are only read here, never changed. Rules:
 * - a frame that ends the connection is not handed on;
 * - a header block with a field that is not allowed taints its stream: the engine will not show the
 *   field, so the request is refused by its id;
 * - what carries no content is bounded by a bucket, so that a flood ends the connection and a busy
 *   client never meets the bound.
 */
import { Fault } from '../base/fault.ts';
import { PREFACE } from '../http1/request-head.ts';
import { fieldsOfBlock } from './hpack.ts';
import type { Http2Limits } from './limits.ts';

/** What the frames of a stream have said so far. */
export interface StreamSeen {
  /** Fields of its head. */
  readonly fields: number;
  /** Bytes of content. */
  content: number;
  /** The client has said END_STREAM: nothing else is an end (RFC 9113 section 8.1). */
  ended: boolean;
}

export interface FrameWatcher {
  /** A stream begins: its whole header block was seen. */
  opened(id: number, seen: StreamSeen): void;
  /** The first content, or the end, of a stream that did not end with its head. */
  moved(id: number): void;
  /** A header block of the stream, its first or its trailers, holds what is not allowed. */
  tainted(id: number, what: 'name' | 'value'): void;
  /** Somebody waits for the rest of a header block, or no longer. */
  blockOpen(open: boolean): void;
}

export const DATA = 0;
export const HEADERS = 1;
const PRIORITY = 2;
export const RST_STREAM = 3;
const SETTINGS = 4;
const PING = 6;
export const GOAWAY = 7;
const WINDOW_UPDATE = 8;
const CONTINUATION = 9;
export const END_HEADERS = 0x4;
export const END_STREAM = 0x1;
const PADDED = 0x8;
const WITH_PRIORITY = 0x20;
export const HEAD_BYTES = 9;

export class Frames {
  readonly #limits: Http2Limits;
  readonly #watcher: FrameWatcher;
  readonly #resets: Bucket;
  readonly #idle: Bucket;
  readonly #head = Buffer.alloc(HEAD_BYTES);
  /** Bytes of the preface still to come, then of the frame's head that are there. */
  #preface = PREFACE.length;
  #have = 0;
  /** The payload of the frame under way, and what of it is still to come. */
  #size = 0;
  #left = 0;
  /** The header block under way. */
  #block: Buffer[] = [];
  #blockBytes = 0;
  #blockFrames = 0;
  #blockOf = 0;
  #blockEnds = false;
  #collecting = false;
  #last = 0;
  /** Streams that the client has not ended yet. */
  readonly #open = new Map<number, StreamSeen>();
  readonly #late = new Set<number>();

  constructor(limits: Http2Limits, watcher: FrameWatcher, monotonic: () => number) {
    this.#limits = limits;
    this.#watcher = watcher;
    this.#resets = new Bucket(limits.resets, monotonic);
    this.#idle = new Bucket(limits.idleFrames, monotonic);
  }

  /** Reads what came; throws the Fault for what must end the connection. */
  read(bytes: Buffer): void {
    let at = 0;
    if (this.#preface > 0) {
      at = Math.min(this.#preface, bytes.length);
      this.#preface -= at;
    }
    while (at < bytes.length) {
      if (this.#left === 0 && this.#have < HEAD_BYTES) {
        const taken = bytes.copy(this.#head, this.#have, at, at + HEAD_BYTES - this.#have);
        this.#have += taken;
        at += taken;
        if (this.#have < HEAD_BYTES) return;
        this.#begin();
      }
      const taken = Math.min(this.#left, bytes.length - at);
      if (this.#collecting && taken > 0) this.#block.push(bytes.subarray(at, at + taken));
      this.#left -= taken;
      at += taken;
      if (this.#left > 0) return;
      if (this.#collecting) this.#fragmentEnded();
      else if (this.#type === DATA) this.#dataEnded();
      this.#have = 0;
    }
  }

  /** We have reset the stream: what the client still sends on it is no fault of its own. */
  reset(id: number): void {
    if (!this.#open.delete(id)) return;
    this.#late.add(id);
    if (this.#late.size > MAX_LATE)
      for (const oldest of this.#late) return void this.#late.delete(oldest);
  }

  get #type(): number {
    return this.#head[3] as number;
  }

  get #flags(): number {
    return this.#head[4] as number;
  }

  get #stream(): number {
    return this.#head.readUInt32BE(5) & 0x7fffffff;
  }

  #begin(): void {
    this.#size = this.#left = this.#head.readUIntBE(0, 3);
    const type = this.#type;
    this.#collecting = type === HEADERS || type === CONTINUATION;
    if (this.#collecting) {
      this.#fragmentBegins();
      return;
    }
    if (type === RST_STREAM) {
      if (!this.#resets.take()) throw flood('resets its streams too often');
      this.#open.delete(this.#stream);
    } else if (type !== WINDOW_UPDATE && type !== GOAWAY && !this.#carries(type)) {
      if (!this.#idle.take()) throw flood(`sends too many ${NAMES.get(type) ?? 'unknown'} frames`);
    }
  }

  #dataEnded(): void {
    const id = this.#stream;
    const seen = this.#open.get(id);
    if (seen === undefined) return;
    const first = seen.content === 0;
    seen.content += this.#size;
    this.#ends(id, seen, (this.#flags & END_STREAM) !== 0);
    if (seen.ended || (first && seen.content > 0)) this.#watcher.moved(id);
  }

  #ends(id: number, seen: StreamSeen, ended: boolean): void {
    if (!ended) return;
    seen.ended = true;
    this.#open.delete(id);
  }

  #carries(type: number): boolean {
    return type === DATA && (this.#left > 0 || (this.#flags & END_STREAM) !== 0);
  }

  #fragmentBegins(): void {
    if (this.#type === HEADERS) {
      this.#block = [];
      this.#blockBytes = this.#blockFrames = 0;
      this.#blockOf = this.#stream;
      this.#blockEnds = (this.#flags & END_STREAM) !== 0;
    }
    this.#blockFrames++;
    this.#blockBytes += this.#left;
    if (this.#blockFrames > this.#limits.blockFrames)
      throw flood('spreads a header block over too many frames');
    if (this.#blockBytes > this.#limits.blockBytes)
      throw flood('sends a header block that is too large');
  }

  #fragmentEnded(): void {
    this.#collecting = false;
    const ended = (this.#flags & END_HEADERS) !== 0;
    if (this.#type === HEADERS) this.#block = [unpadded(Buffer.concat(this.#block), this.#flags)];
    this.#watcher.blockOpen(!ended);
    if (!ended) return;
    const block = Buffer.concat(this.#block);
    this.#block = [];
    const id = this.#blockOf;
    const fields = fieldsOfBlock(block);
    if (typeof fields !== 'number') this.#watcher.tainted(id, fields);
    if (id % 2 === 0) return;
    if (id <= this.#last) this.#trailersEnded(id);
    else this.#opened(id, typeof fields === 'number' ? fields : 0);
  }

  #opened(id: number, fields: number): void {
    this.#last = id;
    const seen = { fields, content: 0, ended: this.#blockEnds };
    if (!seen.ended) this.#open.set(id, seen);
    this.#watcher.opened(id, seen);
  }

  /** RFC 9113 section 5.1.1: a stream that was ended, or passed over, is not opened again. */
  #trailersEnded(id: number): void {
    const seen = this.#open.get(id);
    if (seen === undefined) {
      if (this.#late.has(id)) return;
      throw new Fault('malformed', 'the client sends a head on a stream that was closed before', {
        hint: 'use a client that keeps to RFC 9113 section 5.1.1',
      });
    }
    this.#ends(id, seen, this.#blockEnds);
    this.#watcher.moved(id);
  }
}

/** Streams that we have reset whose trailers may still be on their way. */
const MAX_LATE = 256;

const NAMES: ReadonlyMap<number, string> = new Map([
  [DATA, 'empty DATA'],
  [PRIORITY, 'PRIORITY'],
  [SETTINGS, 'SETTINGS'],
  [PING, 'PING'],
]);

/** The fragment in the payload of a HEADERS frame (RFC 9113 section 6.2). */
function unpadded(payload: Buffer, flags: number): Buffer {
  const padded = (flags & PADDED) !== 0;
  const from = (padded ? 1 : 0) + ((flags & WITH_PRIORITY) === 0 ? 0 : 5);
  return payload.subarray(from, Math.max(from, payload.length - (padded ? (payload[0] ?? 0) : 0)));
}

/** So many at once, and a tenth of that a second. */
class Bucket {
  readonly #most: number;
  readonly #monotonic: () => number;
  #left: number;
  #at: number;

  constructor(most: number, monotonic: () => number) {
    this.#most = this.#left = most;
    this.#monotonic = monotonic;
    this.#at = monotonic();
  }

  take(): boolean {
    if (this.#left < 1) {
      const now = this.#monotonic();
      this.#left = Math.min(this.#most, this.#left + ((now - this.#at) / 10_000) * this.#most);
      this.#at = now;
    }
    this.#left -= 1;
    return this.#left >= 0;
  }
}

function flood(what: string): Fault {
  return new Fault('too-many', `the client ${what}`, {
    hint: 'use a client that keeps to one request a stream',
  });
}
