/**
 * What one side of a stream sends: the pieces of a body, no more of them taken while the window is
 * closed, then trailers or the end.
 */
import type { Http2Stream } from 'node:http2';

import { Fault } from '../base/fault.ts';
import type { Body, Fields } from '../http/message.ts';

export class StreamWriter {
  /** Bytes of content handed to the engine. */
  sent = 0;
  /** The whole of it was sent. */
  finished = false;
  readonly #stream: Http2Stream;
  /** Told when a write waits for the peer to read, and when it no longer does. */
  readonly #full: (full: boolean) => void;
  /** We have ended it. */
  #ending = false;
  #fault: Fault | undefined;
  #body: Body | undefined;
  #waiter: { resolve(): void; reject(reason: Fault): void } | undefined;

  constructor(stream: Http2Stream, full: (full: boolean) => void) {
    this.#stream = stream;
    this.#full = full;
    stream.on('drain', this.#wake);
  }

  /** Takes the engine's word for the end: where nobody sees the frames that it sends. */
  trusting(): this {
    this.#stream.on('finish', this.#onFinish);
    return this;
  }

  /** END_STREAM was handed to the socket. */
  sentEnd(): void {
    this.finished = true;
    this.#wake();
  }

  /** The head that ends the stream was handed to the engine: settles when it was sent. */
  async ended(): Promise<void> {
    if (!this.finished) await this.#wait();
  }

  /**
   * Sends what is left of a body whose next piece was taken already. Settles when the peer's window
   * has let all of it go.
   */
  async send(body: Body, next: Buffer | 'end' | 'later', trailers: boolean): Promise<void> {
    this.#body = body;
    try {
      await this.#pump(body, next);
    } finally {
      this.#body = undefined;
    }
    if (trailers) {
      const fields = body.trailers();
      this.#stream.once('wantTrailers', () => this.#trail(fields));
    }
    await this.end();
  }

  /** Ends this side, after a last piece. */
  async end(last?: Buffer): Promise<void> {
    if (this.#fault !== undefined) throw this.#fault;
    this.sent += last?.length ?? 0;
    this.#ending = true;
    this.#stream.end(last);
    await this.ended();
  }

  /** The stream is closed: an orderly end may be told of in no other way. */
  closed(): void {
    this.#onFinish();
  }

  get failed(): boolean {
    return this.#fault !== undefined;
  }

  /**
   * Nothing more can be sent; the body being sent is cancelled, unless it will be sent again. The
   * first reason stays.
   */
  fail(reason: Fault, again = false): void {
    if (this.finished) return;
    this.#fault ??= reason;
    if (!again) this.#body?.cancel(this.#fault);
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(this.#fault);
  }

  async #pump(body: Body, first: Buffer | 'end' | 'later'): Promise<void> {
    let piece = first;
    while (piece !== 'end') {
      if (piece === 'later') {
        await body.ready();
        if (this.#fault !== undefined) throw this.#fault;
      } else {
        const said = body.length;
        this.sent += piece.length;
        if (said !== undefined && this.sent > said)
          throw new Fault('internal', `the body to send is not as long as was said: ${said} bytes`);
        if (this.#fault !== undefined) throw this.#fault;
        if (piece.length > 0 && !this.#stream.write(piece)) await this.#wait();
      }
      piece = body.poll();
    }
  }

  async #wait(): Promise<void> {
    if (this.#fault !== undefined) throw this.#fault;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiter = { resolve, reject };
    this.#full(true);
    try {
      await promise;
    } finally {
      this.#full(false);
    }
  }

  #trail(fields: Fields): void {
    const headers: Record<string, string[]> = Object.create(null) as Record<string, string[]>;
    for (let i = 0; i < fields.length; i += 2)
      (headers[fields[i] ?? ''] ??= []).push(fields[i + 1] ?? '');
    try {
      this.#stream.sendTrailers(headers);
    } catch (failure) {
      // The stream was reset meanwhile, or a field appears twice that may not: a cut, as the end
      // without them would be a lie.
      this.fail(Fault.from(failure, 'upstream-malformed', 'the trailers cannot be sent on'));
    }
  }

  readonly #wake = (): void => {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.resolve();
  };

  readonly #onFinish = (): void => {
    // The engine ends a stream that is reset, too.
    if (this.#ending && this.#stream.rstCode === 0) this.sentEnd();
  };
}
