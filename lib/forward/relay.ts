/** One permitted request between its client and its upstream, and what an abort ends of it. */
import type { Fault } from '../base/fault.ts';
import type { Abortable, Exchange } from '../exchange/exchange.ts';
import type { ClientConnection, RequestOptions } from '../http/client.ts';
import type { Fields, ResponseHead } from '../http/message.ts';
import type { ServerExchange } from '../http/server-exchange.ts';
import type { ForwardContext } from './context.ts';
import type { EventStream } from './event-stream.ts';

/** Trailers that tell why an answer ends; undefined where nobody is told. */
export type Trailers = (reason: Fault, exchange: Exchange) => (() => Fields) | undefined;

export class Relay implements Abortable, RequestOptions {
  readonly exchange: Exchange;
  readonly request: ServerExchange;
  readonly context: ForwardContext;
  /** Carries the request at the moment. */
  connection: ClientConnection | undefined;
  /** The answer, where it is a stream of events. */
  events: EventStream | undefined;
  #answering = false;
  readonly #trailers: Trailers | undefined;

  constructor(
    exchange: Exchange,
    request: ServerExchange,
    context: ForwardContext,
    trailers?: Trailers,
  ) {
    this.exchange = exchange;
    this.request = request;
    this.context = context;
    this.#trailers = trailers;
  }

  /** Begins the answer, which an abort then cuts; returns the upstream's fields that pass. */
  answer({ status, fields }: ResponseHead): string[] {
    this.exchange.throwIfAborted();
    this.#answering = true;
    this.exchange.status = status;
    return this.context.fields.response(fields);
  }

  /**
   * Breaks off both sides: an agent that does not read keeps the answer waiting, whatever happens
   * to the upstream.
   */
  abort(reason: Fault): void {
    const inOrder = this.events?.end(reason) === true;
    this.connection?.destroy(reason);
    if (this.#answering && !inOrder)
      this.request.abort(reason, this.#trailers?.(reason, this.exchange));
  }

  onInform(status: number, fields: Fields): void {
    // 100 is answered here (RFC 9110 section 10.1.1); the others are for the agent.
    if (status !== 100 && !this.request.answered)
      this.request.inform(status, this.context.fields.response(fields));
  }
}
