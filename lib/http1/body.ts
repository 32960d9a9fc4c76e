/**
 * The body of a received message, decoded as it is pulled (RFC 9112 sections 6 and 7). Chunked is
 * strict: 1*HEXDIG CRLF, data, CRLF; extensions are ignored in an answer, as a recipient must
 * (section 7.1.1), and refused in a request, where readers differ on their end; trailers are
 * bounded and may not name what frames, routes or authenticates. Data is handed on in the buffers
 * it was read in, and not touched once handed on.
 */
import type { Code } from '../base/fault.ts';
import { Fault } from '../base/fault.ts';
import { REQUEST, RESPONSE, malformed, parseTrailers, tooLarge } from '../http/field-lines.ts';
import { CR, LF, OBS_TEXT, SEMICOLON, VALUE, classes } from '../http/grammar.ts';
import type { ReadBuffer } from './read-buffer.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Body, Fields, Framing } from '../http/message.ts';
import { release } from './sockets.ts';

const NO_FIELDS: Fields = Object.freeze([]);
const SETTLED = Promise.resolve();

/** The body of a message that has none. */
export const NO_BODY: Body = Object.freeze({
  length: 0,
  poll: () => 'end',
  ready: () => SETTLED,
  trailers: () => NO_FIELDS,
  cancel: () => {},
});

/** Who reads the body: told when it is complete, and when it is given up. */
export interface BodyOwner {
  readonly side: 'request' | 'response';
  /** The last byte was taken. */
  bodyEnded(): void;
  /** Nobody wants the rest. */
  bodyRefused(reason: Fault): void;
  /** Somebody began to wait for bytes, or stopped. */
  bodyWaiting(waiting: boolean): void;
}

type Step = 'data' | 'data-cr' | 'data-lf' | 'size' | 'extension' | 'size-lf' | 'trailers' | 'end';

/** Whether any byte of a body is to come. */
export function hasBody(framing: Framing): boolean {
  return framing.kind === 'length' ? framing.length > 0 : framing.kind !== 'none';
}

export class IncomingBody implements Body {
  readonly length: number | undefined;
  /** Whether anyone has asked for it. */
  started = false;
  readonly #input: ReadBuffer;
  readonly #owner: BodyOwner;
  readonly #limits: HttpLimits;
  readonly #chunked: boolean;
  #step: Step;
  /** Bytes left of the body, or of the chunk. */
  #left: number;
  #digits = 0;
  /** Bytes of the extensions of this chunk. */
  #extension = 0;
  #trailers = NO_FIELDS;
  #fault: Fault | undefined;
  /** The last poll found nothing, and nothing has come since. */
  #dry = false;
  #waiter: { resolve(): void; reject(reason: Fault): void } | undefined;

  constructor(framing: Framing, input: ReadBuffer, owner: BodyOwner, limits: HttpLimits) {
    this.length = framing.kind === 'length' ? framing.length : undefined;
    this.#chunked = framing.kind === 'chunked';
    this.#step = this.#chunked ? 'size' : 'data';
    this.#left = this.#chunked ? 0 : (this.length ?? Infinity);
    this.#input = input;
    this.#owner = owner;
    this.#limits = limits;
  }

  get complete(): boolean {
    return this.#step === 'end';
  }

  /** Whether all the rest has been received, though it was not taken. */
  get atHand(): boolean {
    return this.complete || (!this.#chunked && this.#input.unread >= this.#left);
  }

  poll(): Buffer | 'end' | 'later' {
    this.started = true;
    if (this.#fault !== undefined) throw this.#fault;
    if (this.#step === 'end') return 'end';
    const piece = this.#chunked ? this.#nextOfChunks() : this.#next();
    if (piece !== 'later') return piece;
    if (this.#input.ended) {
      if (this.#left === Infinity && !this.#input.broken) return this.#end();
      throw this.fail(this.#cut());
    }
    this.#dry = true;
    return 'later';
  }

  ready(): Promise<void> {
    if (this.#fault !== undefined) return Promise.reject(this.#fault);
    if (!this.#dry) return SETTLED;
    if (this.#waiter !== undefined) throw new TypeError('somebody waits for this body already');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiter = { resolve, reject };
    this.#owner.bodyWaiting(true);
    this.#input.resume();
    return promise;
  }

  trailers(): Fields {
    return this.#trailers;
  }

  spent(piece: Buffer): void {
    release(piece, this.#input.socket);
  }

  cancel(reason: Error): void {
    if (this.#fault !== undefined || this.complete) return;
    this.#owner.bodyRefused(this.fail(Fault.from(reason, 'aborted')));
  }

  /** Whether the rest is so little that it is taken off the connection when nobody wants it. */
  get short(): boolean {
    return this.#fault === undefined && !this.#chunked && this.#left <= this.#limits.skippedBytes;
  }

  /** Takes and drops what is at hand. */
  skip(): void {
    this.#left -= this.#input.take(this.#left).length;
    if (this.#left === 0) this.#end();
  }

  /** Bytes or the end have arrived. False where nobody waits for them. */
  wake(): boolean {
    this.#dry = false;
    const waiter = this.#waiter;
    if (waiter === undefined) return false;
    this.#waiter = undefined;
    this.#owner.bodyWaiting(false);
    waiter.resolve();
    return true;
  }

  /**
   * Nothing more will come; does nothing to a complete body. The first reason stays; returns it.
   */
  fail(reason: Fault): Fault {
    if (this.complete) return reason;
    this.#fault ??= reason;
    const waiter = this.#waiter;
    if (waiter !== undefined) {
      this.#waiter = undefined;
      this.#owner.bodyWaiting(false);
      waiter.reject(this.#fault);
    }
    return this.#fault;
  }

  #cut(): Fault {
    const code: Code = this.#owner.side === 'request' ? 'client-gone' : 'upstream-cut';
    return new Fault(
      code,
      `the connection was closed before the ${this.#owner.side} body was complete`,
    );
  }

  #end(): 'end' {
    this.#step = 'end';
    this.#owner.bodyEnded();
    return 'end';
  }

  #next(): Buffer | 'end' | 'later' {
    if (this.#left === 0) return this.#end();
    if (this.#input.unread === 0) return 'later';
    const piece = this.#input.take(this.#left);
    this.#left -= piece.length;
    // At once, not at the next poll: whoever has the last byte may let the connection be used
    // again.
    if (this.#left === 0) this.#end();
    return piece;
  }

  /**
   * The data of all chunks at hand as one piece, moved together in the buffer it came in, over
   * framing that was read already: otherwise a peer that sends a byte a chunk would cost a write
   * for each.
   */
  #nextOfChunks(): Buffer | 'end' | 'later' {
    const input = this.#input;
    const { bytes } = input;
    let start = -1;
    let end = -1;
    while (input.unread > 0) {
      if (this.#step === 'data') {
        const from = input.at;
        input.at += Math.min(this.#left, input.unread);
        this.#left -= input.at - from;
        if (this.#left === 0) this.#step = 'data-cr';
        if (start < 0) start = end = from;
        else bytes.copyWithin(end, from, input.at);
        end += input.at - from;
      } else if (this.#step === 'trailers') {
        if (start >= 0) break;
        return this.#takeTrailers();
      } else this.#framingByte(bytes[input.at++] as number);
    }
    return start < 0 ? 'later' : bytes.subarray(start, end);
  }

  #framingByte(byte: number): void {
    if (this.#step === 'size') {
      if (byte === CR && this.#digits > 0) this.#step = 'size-lf';
      else if (byte === SEMICOLON && this.#digits > 0 && this.#owner.side === 'response')
        this.#step = 'extension';
      else this.#digit(byte);
    } else if (this.#step === 'extension') {
      this.#extensionByte(byte);
    } else if (this.#step === 'size-lf') {
      if (byte !== LF) throw this.#malformed('a chunk size without LF');
      this.#step = this.#left === 0 ? 'trailers' : 'data';
    } else if (this.#step === 'data-cr') {
      if (byte !== CR) throw this.#malformed('a chunk longer than its size');
      this.#step = 'data-lf';
    } else {
      if (byte !== LF) throw this.#malformed('a chunk without LF at its end');
      this.#step = 'size';
      this.#digits = this.#extension = 0;
    }
  }

  #extensionByte(byte: number): void {
    if (byte === CR) this.#step = 'size-lf';
    else if ((classes(byte) & (VALUE | OBS_TEXT)) === 0)
      throw this.#malformed('a chunk extension with a control character');
    else if (++this.#extension > this.#limits.chunkExtensionBytes)
      throw this.#malformed(
        `a chunk extension of more than ${this.#limits.chunkExtensionBytes} bytes`,
      );
  }

  #digit(byte: number): void {
    const value =
      byte >= 48 && byte <= 57
        ? byte - 48
        : (byte | 32) >= 97 && (byte | 32) <= 102
          ? (byte | 32) - 87
          : -1;
    if (value < 0)
      throw this.#malformed(
        'a chunk size with something other than hexadecimal digits; extensions are not ' +
          'served in a request',
      );
    this.#digits++;
    // Thirteen digits hold 2^52 - 1.
    if (this.#digits > 13) throw this.#malformed('a chunk size of more than 13 digits');
    this.#left = this.#left * 16 + value;
  }

  #takeTrailers(): 'end' | 'later' {
    const input = this.#input;
    const { side } = this.#owner;
    try {
      if (input.bytes[input.at] === CR) {
        if (input.unread === 1) return 'later';
        if (input.bytes[input.at + 1] !== LF)
          throw this.#malformed('a CR without LF after the last chunk');
        input.at += 2;
        return this.#end();
      }
      const rules = side === 'request' ? REQUEST : RESPONSE;
      const trailers = input.takeBlock(
        (text) => parseTrailers(text, side, this.#limits),
        this.#limits.trailerBytes,
        (most) => tooLarge(rules, `a trailer section of more than ${most} bytes`),
      );
      if (trailers === undefined) return 'later';
      this.#trailers = trailers;
      return this.#end();
    } catch (failure) {
      throw this.fail(Fault.from(failure, 'internal'));
    }
  }

  #malformed(problem: string): Fault {
    const fault = malformed(this.#owner.side === 'request' ? REQUEST : RESPONSE, problem);
    return this.fail(
      new Fault(fault.code, `the ${this.#owner.side} body is malformed: ${problem}`),
    );
  }
}
