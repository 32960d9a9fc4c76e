/** A body on its way through: its bytes are counted, and it is refused past its limit without what lies beyond having been sent. */
import { Fault } from '../base/fault.ts';
import type { Body, Fields } from '../http1/message.ts';

export class CountedBody implements Body {
  readonly length: number | undefined;
  /** Bytes handed on. */
  bytes = 0;
  ended = false;
  readonly #body: Body;
  readonly #count: (bytes: number) => void;
  readonly #most: number;

  constructor(body: Body, count: (bytes: number) => void, most = Infinity) {
    this.length = body.length;
    this.#body = body;
    this.#count = count;
    this.#most = most;
  }

  poll(): Buffer | 'end' | 'later' {
    const piece = this.#body.poll();
    if (piece === 'end') this.ended = true;
    else if (piece !== 'later') {
      this.bytes += piece.length;
      if (this.bytes > this.#most) throw bodyTooLarge(this.#most);
      this.#count(piece.length);
    }
    return piece;
  }

  ready(): Promise<void> {
    return this.#body.ready();
  }

  trailers(): Fields {
    return this.#body.trailers();
  }

  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }
}

export function bodyTooLarge(most: number): Fault {
  const hint = 'the limit is limits.body of the destination';
  return new Fault('body-too-large', `the request body is longer than ${most} bytes`, { hint });
}
