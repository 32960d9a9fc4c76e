/**
 * A connection from a client as its exchanges see it: what they are told of it and how they use it.
 * The states of the connection are its owner's (server.ts).
 */
import type { Fault } from '../base/fault.ts';
import { LazyAbort } from '../http/lazy-abort.ts';
import type { Connection, HandedOver } from '../http/server-exchange.ts';
import type { BodyOwner, IncomingBody } from './body.ts';
import type { Line } from './exchange.ts';
import { addressesOf, resetSocket } from './sockets.ts';
import type { Transport } from './transport.ts';
import type { Writer } from './writer.ts';

export interface LineOwner {
  /** No other request is taken, whatever an exchange says. */
  readonly closing: boolean;
  /** The answer is sent; `last`: it said that the connection ends. */
  onAnswered(last: boolean): void;
  onUpgrade(): HandedOver;
  /** The end of the client's side is to abort the exchange under way. */
  onAbortOnEnd(): void;
}

let connections = 0;

export class ServerLine implements Connection, Line, BodyOwner {
  readonly id = ++connections;
  readonly side = 'request';
  readonly major = 1;
  readonly remote: string;
  readonly local: string;
  readonly output: Writer;
  bodyPause = Infinity;
  /** The body of the request under way. */
  body: IncomingBody | undefined;
  readonly #transport: Transport;
  readonly #owner: LineOwner;
  readonly #abort = new LazyAbort();

  constructor(transport: Transport, owner: LineOwner) {
    this.#transport = transport;
    this.#owner = owner;
    this.output = transport.output;
    ({ remote: this.remote, local: this.local } = addressesOf(transport.socket));
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get aborted(): boolean {
    return this.#abort.reason !== undefined;
  }

  get gone(): boolean {
    return this.aborted || this.#transport.input.ended;
  }

  get closing(): boolean {
    return this.#owner.closing;
  }

  get bytesRead(): number {
    return this.#transport.input.received;
  }

  get bytesWritten(): number {
    return this.output.sent;
  }

  responded(last: boolean): void {
    this.#owner.onAnswered(last);
  }

  handOver(): HandedOver {
    return this.#owner.onUpgrade();
  }

  untilEnd(): void {
    this.#owner.onAbortOnEnd();
  }

  bodyEnded(): void {
    this.#transport.reading.clear();
  }

  bodyRefused(): void {
    // The connection is closed after the answer, as the body is not complete.
  }

  bodyWaiting(waiting: boolean): void {
    if (waiting) this.#transport.reading.set(this.bodyPause);
    else this.#transport.reading.clear();
  }

  reset(reason: Fault): void {
    this.fail(reason);
    resetSocket(this.#transport.socket);
  }

  /** Aborts what is under way; what was sent so far goes on its way. */
  abort(reason: Fault): void {
    this.#abort.abort(reason);
  }

  /** Ends both directions with the first reason that was given. */
  fail(fault: Fault): void {
    const reason = this.#abort.abort(fault);
    this.body?.fail(reason);
    this.output.fail(reason);
  }
}
