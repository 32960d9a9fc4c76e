/**
 * A body on its way through: its bytes are counted, and it is refused past its limit without what
 * lies beyond having been sent.
 */
import { Fault } from '../base/fault.ts';
import type { ClientResponse } from '../http/client.ts';
import type { Body, Fields } from '../http/message.ts';

export class CountedBody implements Body {
  readonly length: number | undefined;
  /** Bytes handed on. */
  bytes = 0;
  ended = false;
  readonly #body: Body;
  readonly #count: (bytes: number) => void;
  readonly #limit: number;
  readonly #tooLarge: (limit: number) => Fault;

  constructor(
    body: Body,
    count: (bytes: number) => void,
    limit = Infinity,
    tooLarge = bodyTooLarge,
  ) {
    this.length = body.length;
    this.#body = body;
    this.#count = count;
    this.#limit = limit;
    this.#tooLarge = tooLarge;
  }

  poll(): Buffer | 'end' | 'later' {
    const piece = this.#body.poll();
    if (piece === 'end') this.ended = true;
    else if (piece !== 'later') {
      this.bytes += piece.length;
      if (this.bytes > this.#limit) throw this.#tooLarge(this.#limit);
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

  spent(piece: Buffer): void {
    this.#body.spent?.(piece);
  }

  cancel(reason: Error): void {
    this.#body.cancel(reason);
  }
}

export function bodyTooLarge(limit: number): Fault {
  const hint = 'the limit is limits.body of the destination';
  return new Fault('body-too-large', `the request body is longer than ${limit} bytes`, { hint });
}

/**
 * An answer whose body is longer than it may be fails at once where it says so, and at the limit
 * where it does not. Throws a Fault `response-too-large`.
 */
export function boundedAnswer(response: ClientResponse, limit: number | undefined): ClientResponse {
  if (limit === undefined || response.upgraded !== undefined) return response;
  const { body } = response;
  if ((body.length ?? 0) > limit) throw responseTooLarge(limit);
  return { ...response, body: new CountedBody(body, () => {}, limit, responseTooLarge) };
}

function responseTooLarge(limit: number): Fault {
  const hint = 'the limit is limits.response of the destination';
  return new Fault(
    'response-too-large',
    `the answer of the upstream is longer than ${limit} bytes`,
    { hint },
  );
}
