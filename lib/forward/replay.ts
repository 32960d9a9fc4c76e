/**
 * When a request is sent again, and the body that can be:
 * - any request of which it is certain that the upstream did not process it, while its body is
 *   whole;
 * - one of an idempotent method without a body, once, whose connection had served before and ended
 *   without a byte of an answer (RFC 9110 section 9.2.2, RFC 9112 section 9.3.1).
 * Whoever asks sees to it that nothing is sent again for an agent that has gone, or out of time.
 */
import { isUnprocessed, isUntouched } from '../http/failures.ts';
import type { Body, Fields } from '../http/message.ts';
import { http2Limits } from '../http2/limits.ts';
import type { Destination } from '../policy/protocols/index.ts';
import { CountedBody } from '../exchange/counted-body.ts';

const REPLAYED = http2Limits().replayBytes;

class ReplayBody implements Body {
  readonly length: number | undefined;
  readonly #body: Body;
  readonly #limit: number;
  /** Undefined once there is more than may be kept. */
  #kept: (Buffer | 'end')[] | undefined = [];
  #bytes = 0;
  #at = 0;
  #waiting: Promise<void> | undefined;

  constructor(body: Body, limit: number) {
    this.length = body.length;
    this.#body = body;
    this.#limit = limit;
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
    if (this.#bytes > this.#limit) this.#kept = undefined;
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
export function repeatable(
  body: Body | Buffer | undefined,
  { http2 }: Destination,
): Body | Buffer | undefined {
  return http2 === true && body !== undefined && !Buffer.isBuffer(body)
    ? new ReplayBody(body, REPLAYED)
    : body;
}

/** Times that one request is sent, whatever the reasons. */
const MAX_ATTEMPTS = 3;

/** RFC 9110 section 9.2.2; TRACE is never sent. */
const IDEMPOTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE']);

/**
 * True if a request may be sent twice without being done twice: an idempotent one without a body.
 */
export function isIdempotent(method: string, body: Body | Buffer | undefined): boolean {
  return body === undefined && IDEMPOTENT.has(method);
}

/** The attempts of one request. */
export class Attempts {
  readonly #method: string;
  readonly #body: Body | Buffer | undefined;
  #made = 0;
  #guessed = false;

  constructor(method: string, body: Body | Buffer | undefined) {
    this.#method = method;
    this.#body = body;
  }

  /**
   * True to send it again after this failure, on a connection that was `fresh`. A body is then
   * at its begin.
   */
  again(failure: unknown, fresh: boolean): boolean {
    this.#made += 1;
    if (this.#made >= MAX_ATTEMPTS) return false;
    if (isUnprocessed(failure)) return isWhole(this.#body);
    if (fresh || this.#guessed || !isUntouched(failure)) return false;
    this.#guessed = true;
    return isIdempotent(this.#method, this.#body);
  }
}

/** True if all of it can be sent, again or for the first time; from its begin. */
function isWhole(body: Body | Buffer | undefined): boolean {
  if (body === undefined || Buffer.isBuffer(body)) return true;
  if (body instanceof ReplayBody) return body.rewind();
  return body instanceof CountedBody && body.bytes === 0 && !body.ended;
}
