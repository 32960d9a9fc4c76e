/**
 * The body of a stream of HTTP/2, pulled like that of a message of HTTP/1.1. What is not pulled is
 * not read, so that the window of its stream closes: a peer sends no more ahead than that, and no
 * stream holds up another.
 */
import type { Http2Stream } from 'node:http2';

import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { parseTrailers } from '../http/field-lines.ts';
import { timeHint, type HttpLimits } from '../http/limits.ts';
import type { Body, Fields } from '../http/message.ts';

const NO_FIELDS: Fields = Object.freeze([]);
const SETTLED = Promise.resolve();

export interface StreamBodyOptions {
  readonly side: 'request' | 'response';
  readonly length: number | undefined;
  readonly limits: HttpLimits;
  readonly clock: Clock;
  /** Something must come each time this long after it was waited for; milliseconds. */
  readonly idleMs: number | undefined;
  /**
   * Whether the peer has said END_STREAM. The engine ends what it reads from a stream that was
   * reset with NO_ERROR, too, and only END_STREAM ends a message (RFC 9113 section 8.1).
   */
  readonly ended: () => boolean;
  /** What was at hand when END_STREAM came: taken first. */
  readonly rest?: Buffer[];
  /** Nobody wants the rest. */
  readonly refused: (reason: Fault) => void;
  /** All of it was taken. */
  readonly completed?: () => void;
}

export class StreamBody implements Body {
  readonly length: number | undefined;
  /** Bytes handed on. */
  bytes = 0;
  /** Something must come each time so many milliseconds after it was waited for. */
  pause: number | undefined;
  complete = false;
  readonly #stream: Http2Stream;
  readonly #options: StreamBodyOptions;
  #trailers = NO_FIELDS;
  #fault: Fault | undefined;
  #listening = false;
  /** Nothing is left to come. */
  #whole = false;
  /** The last poll found nothing, and nothing has come since. */
  #dry = false;
  #waiter: { resolve(): void; reject(reason: Fault): void } | undefined;
  #cancel: (() => void) | undefined;

  constructor(stream: Http2Stream, options: StreamBodyOptions) {
    this.#stream = stream;
    this.#options = options;
    this.length = options.length;
    this.pause = options.idleMs;
    stream.on('trailers', this.#onTrailers);
    stream.on('end', this.#onEnd);
  }

  poll(): Buffer | 'end' | 'later' {
    if (this.#fault !== undefined) throw this.#fault;
    if (this.complete) return 'end';
    if (!this.#listening) {
      this.#listening = true;
      this.#stream.on('readable', this.#wake);
    }
    const piece: unknown = this.#options.rest?.shift() ?? this.#stream.read();
    if (Buffer.isBuffer(piece)) {
      this.bytes += piece.length;
      return piece;
    }
    if (this.#whole) return this.#complete();
    this.#dry = true;
    return 'later';
  }

  ready(): Promise<void> {
    if (this.#fault !== undefined) return Promise.reject(this.#fault);
    if (!this.#dry) return SETTLED;
    if (this.#waiter !== undefined) throw new TypeError('somebody waits for this body already');
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiter = { resolve, reject };
    const { pause } = this;
    if (pause !== undefined && pause < Infinity)
      this.#cancel = this.#options.clock.after(pause, this.#idle);
    return promise;
  }

  trailers(): Fields {
    return this.#trailers;
  }

  cancel(reason: Error): void {
    if (this.#fault !== undefined || this.complete) return;
    this.#options.refused(this.fail(Fault.from(reason, 'aborted')));
  }

  /** What was received and not read is dropped, as it would keep the stream open. */
  drop(): void {
    this.#stream.off('readable', this.#wake);
    this.#stream.resume();
  }

  /** The stream is over: a cut, unless all of the body has come. */
  over(reason: Fault): void {
    if (this.#options.rest === undefined || !this.#options.ended()) this.fail(reason);
    else this.#finish();
  }

  /**
   * Nothing more will come; does nothing to a complete body. The first reason stays; returns it.
   */
  fail(reason: Fault): Fault {
    if (this.complete) return reason;
    this.#fault ??= reason;
    const waiter = this.#take();
    waiter?.reject(this.#fault);
    return this.#fault;
  }

  #take(): { resolve(): void; reject(reason: Fault): void } | undefined {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    this.#cancel?.();
    this.#cancel = undefined;
    return waiter;
  }

  readonly #wake = (): void => {
    this.#dry = false;
    this.#take()?.resolve();
  };

  readonly #idle = (): void => {
    const { side } = this.#options;
    const code = side === 'request' ? 'request-timeout' : 'upstream-timeout';
    const options = side === 'request' ? timeHint('bodyTimeout') : {};
    this.cancel(new Fault(code, `the ${side} body stopped coming`, options));
  };

  readonly #onEnd = (): void => {
    if (this.#stream.rstCode === 0 && this.#options.ended()) this.#finish();
  };

  #finish(): void {
    if (this.#fault !== undefined) return;
    this.#whole = true;
    if ((this.#options.rest?.length ?? 0) === 0) this.#complete();
    this.#wake();
  }

  #complete(): 'end' {
    if (!this.complete) {
      this.complete = true;
      this.#options.completed?.();
    }
    return 'end';
  }

  readonly #onTrailers = (_headers: unknown, _flags: number, raw?: readonly string[]): void => {
    const { side, limits } = this.#options;
    try {
      let text = '';
      for (let i = 0; raw !== undefined && i < raw.length; i += 2)
        text += `${raw[i]}: ${raw[i + 1]}\r\n`;
      this.#trailers = parseTrailers(`${text}\r\n`, side, limits) ?? NO_FIELDS;
    } catch (failure) {
      this.cancel(Fault.from(failure, 'internal'));
    }
  };
}
