/**
 * One request and its answer on a server connection. Whether the connection can be used again is
 * said in the answer's head, from what is known then: a body that nobody has begun to read and that
 * is not at hand will not be waited for.
 */
import { Fault } from '../base/fault.ts';
import type { Body, Fields, OutgoingResponse, RequestHead } from '../http/message.ts';
import type { Connection, HandedOver, ServerExchange } from '../http/server-exchange.ts';
import { type IncomingBody, NO_BODY } from './body.ts';
import { type SendFraming, informText, responseText } from './serialise.ts';
import type { Writer } from './writer.ts';

/** What an exchange needs of its connection. */
export interface Line {
  readonly output: Writer;
  /** The connection will not take another request, whatever this exchange says. */
  readonly closing: boolean;
  /** The answer is sent; `close` was said in it. */
  responded(close: boolean): void;
  reset(reason: Fault): void;
  handOver(): HandedOver;
}

export class Exchange implements ServerExchange {
  readonly head: RequestHead;
  readonly body: Body;
  readonly connection: Connection;
  answered = false;
  readonly #incoming: IncomingBody | undefined;
  readonly #line: Line;

  constructor(
    head: RequestHead,
    incoming: IncomingBody | undefined,
    connection: Connection & Line,
  ) {
    this.head = head;
    this.body = incoming ?? NO_BODY;
    this.connection = connection;
    this.#incoming = incoming;
    this.#line = connection;
  }

  inform(status: number, fields: Fields): void {
    if (this.answered) throw new TypeError('an interim answer after the answer');
    const text = informText(status, fields);
    if (this.head.minor === 1) this.#line.output.text(text);
  }

  async respond(head: OutgoingResponse, body?: Buffer | Body): Promise<void> {
    if (this.answered) throw new TypeError('this exchange was answered already');
    const framing = this.#framing(head, body);
    const close = this.#closes(head, framing) || (body !== this.body && this.#leavesBody());
    const text = responseText(head, framing, close);
    this.answered = true;
    const { output } = this.#line;
    try {
      if (body === undefined || this.#isBodiless(head.status)) output.text(text);
      else if (Buffer.isBuffer(body)) output.joined(text, body);
      else {
        const sending = output.send(text, body, { framing, trailers: head.trailers === true });
        if (sending !== undefined) await sending;
      }
      if (output.socket.writableNeedDrain) await output.drained();
    } catch (failure) {
      const fault = Fault.from(failure, 'internal');
      discard(body, fault);
      this.#line.reset(fault);
      throw fault;
    }
    if (this.#isBodiless(head.status))
      discard(body, new Fault('aborted', 'this answer has no body'));
    this.#line.responded(close);
  }

  abort(reason: Fault): void {
    this.answered = true;
    this.#line.reset(reason);
  }

  upgrade(head: OutgoingResponse): HandedOver {
    const switching = head.status === 101 && head.upgrade !== undefined;
    if (this.answered || !(switching || this.#isTunnel(head.status)))
      throw new TypeError('this answer does not upgrade the connection');
    if (this.#incoming !== undefined)
      throw new TypeError('a request with a body cannot be upgraded');
    const text = responseText(head, 'none', false);
    this.answered = true;
    this.#line.output.text(text);
    return this.#line.handOver();
  }

  #isTunnel(status: number): boolean {
    return this.head.method === 'CONNECT' && status >= 200 && status < 300;
  }

  /** RFC 9110 section 6.4.1. */
  #isBodiless(status: number): boolean {
    return this.head.method === 'HEAD' || status === 204 || status === 304;
  }

  #framing({ status, length }: OutgoingResponse, body: Buffer | Body | undefined): SendFraming {
    if (status < 200 || this.#isTunnel(status))
      throw new TypeError(`status ${status} is not an answer; use inform or upgrade`);
    if (Buffer.isBuffer(body)) {
      if (length !== undefined && length !== body.length)
        throw new TypeError('the length said is not that of the body');
    }
    if (status === 204 || status === 304) return 'none';
    const known = length ?? (Buffer.isBuffer(body) ? body.length : undefined);
    if (this.head.method === 'HEAD') return known ?? 'none';
    if (body === undefined) {
      if ((known ?? 0) > 0) throw new TypeError('a length was said and no body given');
      return 0;
    }
    return known ?? (this.head.minor === 1 ? 'chunked' : 'until-close');
  }

  #closes(head: OutgoingResponse, framing: SendFraming): boolean {
    if (
      head.close === true ||
      !this.head.keepAlive ||
      this.#line.closing ||
      framing === 'until-close'
    )
      return true;
    // A refused CONNECT leaves bytes that were meant for the tunnel; they must never be read as a
    // request (RFC 9931).
    return this.head.method === 'CONNECT';
  }

  /** Whether more is to come than is taken off the connection, or a client may never send it. */
  #leavesBody(): boolean {
    const incoming = this.#incoming;
    if (incoming === undefined || incoming.complete) return false;
    return this.head.expectContinue || !(incoming.short || incoming.atHand);
  }
}

function discard(body: Buffer | Body | undefined, reason: Fault): void {
  if (body !== undefined && !Buffer.isBuffer(body)) body.cancel(reason);
}
