/** A connection to an upstream, whichever version of HTTP it speaks. */
import type { Duplex } from 'node:stream';
import type { Body, Fields, OutgoingRequest, ResponseHead } from './message.ts';
import type { HandedOver } from './server-exchange.ts';

export interface ClientResponse {
  readonly head: ResponseHead;
  readonly body: Body;
  /**
   * Settles when the request is sent, or when its rest is not wanted; rejects with the Fault that
   * cut it. Its rejection needs no handler.
   */
  readonly sent: Promise<void>;
  /** After a 101 that was asked for, or 2xx to CONNECT. */
  readonly upgraded: HandedOver | undefined;
}

export interface RequestOptions {
  /**
   * Aborting destroys the connection, until the answer's body is complete. Whoever can call
   * `destroy` needs none.
   */
  readonly signal?: AbortSignal;
  /** Told each interim answer. */
  onInform(status: number, fields: Fields): void;
  /**
   * The final head must come this long after the call; otherwise Fault 'upstream-timeout'. No limit
   * by default.
   */
  readonly headMs?: number;
  /**
   * Something of the answer's body must come each time this long after it was waited for; otherwise
   * Fault 'upstream-timeout'. No limit by default.
   */
  readonly bodyIdleMs?: number;
}

export interface ClientConnection {
  readonly socket: Duplex;
  /** Whether another request can be sent on it now. */
  readonly reusable: boolean;
  /** Monotonic time of the end of the last exchange. */
  readonly idleSince: number;
  /**
   * The server has ended it unused, or without a byte of an answer, and sooner than it had
   * announced.
   */
  readonly endedEarly: boolean;
  /**
   * Sends a request and settles with the final answer's head. Rejects with a Fault: upstream-cut,
   * upstream-malformed, upstream-timeout, or the reason of the signal or of the request's body. See
   * `isUntouched` and `isUnprocessed` for when to try again.
   */
  request(
    head: OutgoingRequest,
    body: Buffer | Body | undefined,
    options: RequestOptions,
  ): Promise<ClientResponse>;
  destroy(reason: Error): void;
}
