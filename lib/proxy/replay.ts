/** A request body of which the begin is kept, so that it can be sent again where an upstream says that it did not process the request. */
import type { Body, Fields } from '../http1/message.ts';
import { http2Limits } from '../http2/limits.ts';
import type { Destination } from '../policy/model.ts';

const REPLAYED = http2Limits().replayBytes;

export class ReplayBody implements Body {
  readonly length: number | undefined;
  readonly #body: Body;
  readonly #most: number;
  /** Undefined once there is more than may be kept. */
  #kept: (Buffer | 'end')[] | undefined = [];
  #bytes = 0;
  #at = 0;
  #waiting: Promise<void> | undefined;

  constructor(body: Body, most: number) {
    this.length = body.length;
    this.#body = body;
    this.#most = most;
  }

  poll(): Buffer | 'end' | 'later' {
    const kept = this.#kept?.[this.#at];
    if (kept !== undefined) {
      this.#at++;
      return kept;
    }
    const piece = this.#body.poll();
    if (piece === 'later' || this.#kept === undefined) return piece;
    this.#bytes += piece.length;
    if (this.#bytes > this.#most) this.#kept = undefined;
    else {
      this.#kept.push(piece);
      this.#at++;
    }
    return piece;
  }

  /** Whoever still waits for an attempt that failed shares it. */
  ready(): Promise<void> {
    if (this.#kept?.[this.#at] !== undefined) return Promise.resolve();
    return (this.#waiting ??= this.#body.ready().finally(() => (this.#waiting = undefined)));
  }

  trailers(): Fields {
    return this.#body.trailers();
  }

  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }

  /** Begins anew; false where that cannot be done any more. */
  rewind(): boolean {
    this.#at = 0;
    return this.#kept !== undefined;
  }
}

/** The begin of a body is kept where an upstream can say that it did not process a request. */
export function repeatable(body: Body | Buffer | undefined, { http2 }: Destination): Body | Buffer | undefined {
  return http2 === true && body !== undefined && !Buffer.isBuffer(body) ? new ReplayBody(body, REPLAYED) : body;
}

/** Whether all of it can be sent, again or for the first time; from its begin. */
export function isWhole(body: Body | Buffer | undefined): boolean {
  return body === undefined || Buffer.isBuffer(body) || (body instanceof ReplayBody && body.rewind());
}
