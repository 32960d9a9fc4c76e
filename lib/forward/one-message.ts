/**
 * The content of a gRPC call that is read whole: one message and then the end, or none at all.
 * The schema, which says if a method streams, is not known here: what sends more than one
 * message is no unary call, and is found to be none when the second one begins.
 */
import { Fault } from '../base/fault.ts';
import type { Body, Fields } from '../http/message.ts';
import { MESSAGE_PREFIX } from '../policy/protocols/grpc-rules.ts';

/** There is more than one message. */
export class MoreMessages extends Error {
  override readonly name = 'MoreMessages';
}

export class OneMessage implements Body {
  readonly length: number | undefined;
  readonly #body: Body;
  readonly #prefix: number[] = [];
  #seen = 0;

  constructor(body: Body) {
    this.#body = body;
    this.length = body.length;
  }

  /** @throws MoreMessages; Fault `malformed` for a message that is not complete */
  poll(): Buffer | 'end' | 'later' {
    const piece = this.#body.poll();
    if (piece === 'end') this.#ended();
    else if (piece !== 'later') this.#see(piece);
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

  /** Bytes of the message with its prefix; undefined while that is not complete. */
  get #whole(): number | undefined {
    if (this.#prefix.length < MESSAGE_PREFIX) return undefined;
    return MESSAGE_PREFIX + Buffer.from(this.#prefix).readUInt32BE(1);
  }

  #see(piece: Buffer): void {
    this.#seen += piece.length;
    for (const byte of piece.subarray(0, MESSAGE_PREFIX - this.#prefix.length))
      this.#prefix.push(byte);
    const whole = this.#whole;
    if (whole !== undefined && this.#seen > whole)
      throw new MoreMessages('a second message begins');
  }

  #ended(): void {
    if (this.#seen === 0 || this.#seen === this.#whole) return;
    const hint = 'a message is one byte, four bytes of its length, and so many bytes';
    throw new Fault('malformed', 'the gRPC call ends within a message', { hint, at: 'body' });
  }
}
