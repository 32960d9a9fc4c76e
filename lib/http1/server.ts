/**
 * The server's side of a connection, as one explicit state machine. Requests are answered in order,
 * one at a time; what is sent ahead waits in the socket.
 *
 *   idle ──head──► busy ──answer and handler done──► idle | lingering
 *   idle ──bad head, time out──► lingering
 *   busy ──upgrade──► handed-over
 *   any ──reset, time out──► closed
 *
 * A connection that we close lingers: our side is ended, what still comes is discarded within
 * bounds, so that the client can read the answer (RFC 9112 section 9.6).
 */
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { REQUEST, longHead, malformed } from '../http/field-lines.ts';
import { CR, LF } from '../http/grammar.ts';
import { type HttpLimits, timeHint } from '../http/limits.ts';
import { type OutgoingResponse, type RequestHead, fieldOf } from '../http/message.ts';
import type { Connection, HandedOver, ServerExchange } from '../http/server-exchange.ts';
import { type BodyOwner, IncomingBody, hasBody } from './body.ts';
import { Exchange, type Line } from './exchange.ts';
import { parseRequestHead } from './head.ts';
import { ReadBuffer } from './read-buffer.ts';
import { responseText } from './serialise.ts';
import { resetSocket } from './sockets.ts';
import { Watchdog } from './watchdog.ts';
import { Writer } from './writer.ts';

export interface ServeOptions {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  /**
   * Once aborted, idle connections are closed and each answer is the last of its connection;
   * `lastCall`: that alone.
   */
  readonly draining: AbortSignal;
  readonly lastCall?: AbortSignal | undefined;
  /**
   * Called once a request. A rejection before an answer is answered by `refuse`; after it, it cuts
   * the connection.
   */
  handle(exchange: ServerExchange): Promise<void>;
  /** What to answer to what could not be parsed or handled; the connection is closed after it. */
  refuse(
    fault: Fault,
    connection: Connection,
  ): { readonly head: OutgoingResponse; readonly body: Buffer };
  /**
   * Takes a connection over that begins with the preface of HTTP/2 (RFC 9113 section 3.4); without
   * it such a connection is malformed.
   */
  preface?(handed: HandedOver): void;
}

/**
 * Serves a connection, half-open allowed, until it is closed or handed over; never rejects. The
 * socket must not have been read from.
 */
export function serveConnection(socket: Duplex, options: ServeOptions): Promise<void> {
  return new Promise((resolve) => new ServerConnection(socket, options, resolve).start());
}

export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

let connections = 0;

type State = 'idle' | 'busy' | 'lingering' | 'handed-over' | 'closed';

class ServerConnection implements Connection, Line, BodyOwner {
  readonly id = ++connections;
  readonly side = 'request';
  readonly major = 1;
  readonly remote: string;
  readonly local: string;
  bodyPause: number;
  readonly output: Writer;
  readonly #input: ReadBuffer;
  readonly #socket: Duplex;
  readonly #options: ServeOptions;
  readonly #done: () => void;
  readonly #reading: Watchdog;
  readonly #writing: Watchdog;
  #state: State = 'idle';
  #exchange: Exchange | undefined;
  #body: IncomingBody | undefined;
  /**
   * Of the exchange under way: its answer is sent, its handler has settled, its answer said close.
   */
  #responded = false;
  #handled = false;
  #close = false;
  /** A client that ends its side has gone. */
  #untilEnd = false;
  /** The answer is sent, and what is left of the request's body is taken off. */
  #skipping = false;
  /** An empty line has come before the request. */
  #blank = false;
  /** A part of a head was received, and its time runs. */
  #headBegun = false;
  /** What came first was looked at. */
  #prefaced = false;
  #lingered = 0;
  #reason: Fault | undefined;
  #controller: AbortController | undefined;

  constructor(socket: Duplex, options: ServeOptions, done: () => void) {
    this.#socket = socket;
    this.#options = options;
    this.#done = done;
    this.bodyPause = options.limits.bodyIdleMs;
    this.#input = new ReadBuffer(socket);
    this.#reading = new Watchdog(options.clock, () => this.#readTimeout());
    this.#writing = new Watchdog(options.clock, () =>
      this.reset(
        new Fault(
          'client-gone',
          'the client does not read what it asked for',
          timeHint('writeTimeout'),
        ),
      ),
    );
    this.output = new Writer(socket, (full) =>
      full ? this.#writing.set(options.limits.writeIdleMs) : this.#writing.clear(),
    );
    const net = socket instanceof Socket ? socket : undefined;
    this.remote = net?.remoteAddress === undefined ? '' : `${net.remoteAddress}:${net.remotePort}`;
    this.local = net?.localAddress === undefined ? '' : `${net.localAddress}:${net.localPort}`;
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  get gone(): boolean {
    return this.#reason !== undefined || this.#input.ended;
  }

  get bytesRead(): number {
    return this.#input.received;
  }

  get bytesWritten(): number {
    return this.output.sent;
  }

  get closing(): boolean {
    return this.#options.draining.aborted || this.#options.lastCall?.aborted === true;
  }

  start(): void {
    const socket = this.#socket;
    socket.allowHalfOpen = true;
    socket.on('data', this.#onData).on('end', this.#onEnd).on('drain', this.#onDrain);
    socket.on('error', this.#onError).on('close', this.#onClose);
    this.#options.draining.addEventListener('abort', this.#onDraining);
    this.#reading.set(this.#options.limits.keepAliveMs);
    if (socket.destroyed) this.#onClose();
    else if (this.#options.draining.aborted) this.#linger();
  }

  responded(close: boolean): void {
    this.#responded = true;
    this.#close = close;
    this.#settle();
  }

  reset(reason: Fault): void {
    this.#gone(reason);
    resetSocket(this.#socket);
  }

  handOver(): HandedOver {
    this.#state = 'handed-over';
    this.#socket.pause();
    this.#socket.off('data', this.#onData).off('end', this.#onEnd).off('drain', this.#onDrain);
    this.#socket.off('error', this.#onError).off('close', this.#onClose);
    this.#release();
    return { socket: this.#socket, early: this.#input.takeAll() };
  }

  bodyEnded(): void {
    this.#reading.clear();
  }

  bodyRefused(): void {
    // The connection is closed after the answer, as the body is not complete.
  }

  bodyWaiting(waiting: boolean): void {
    if (waiting) this.#reading.set(this.bodyPause);
    else this.#reading.clear();
  }

  readonly #parse = (text: string): RequestHead | undefined =>
    parseRequestHead(text, this.#options.limits);

  readonly #onData = (chunk: Buffer): void => {
    this.#input.give(chunk);
    if (this.#state === 'idle') {
      if (this.#prefaced || !this.#isPreface()) this.#read();
    } else if (this.#skipping) this.#settle();
    else if (this.#state === 'busy') {
      if (this.#body?.wake() !== true) this.#input.pause();
    } else this.#discard();
  };

  readonly #onEnd = (): void => {
    this.#input.ended = true;
    if (this.#state === 'idle') this.#read();
    else if (this.#skipping) this.#linger();
    else if (this.#state === 'busy' && this.#body !== undefined && !this.#body.atHand) {
      const fault = new Fault(
        'client-gone',
        'the client ended the connection before its request was complete',
      );
      this.#body.fail(fault);
      this.#leave(fault);
    } else if (this.#state === 'busy' && this.#untilEnd) this.#left();
  };

  #left(): void {
    this.#leave(
      new Fault('client-gone', 'the client ended the connection before the answer was complete'),
    );
  }

  #leave(fault: Fault): void {
    this.#reason ??= fault;
    this.#controller?.abort(fault);
  }

  untilEnd(): void {
    this.#untilEnd = true;
    if (this.#input.ended) this.#left();
    else this.#input.resume();
  }

  readonly #onDrain = (): void => this.output.wake();

  readonly #onError = (cause: Error): void => {
    this.#gone(new Fault('client-gone', 'the connection from the client failed', { cause }));
  };

  readonly #onClose = (): void => {
    this.#gone(new Fault('client-gone', 'the client closed the connection'));
    this.#state = 'closed';
    this.#release();
  };

  readonly #onDraining = (): void => {
    if (this.#state === 'idle' && this.#input.unread === 0) this.#linger();
  };

  /** Tells everybody on this connection that it is over. The first reason stays. */
  #gone(reason: Fault): void {
    this.#reason ??= reason;
    this.#body?.fail(this.#reason);
    this.output.fail(this.#reason);
    this.#controller?.abort(this.#reason);
  }

  #release(): void {
    this.#reading.stop();
    this.#writing.stop();
    this.#options.draining.removeEventListener('abort', this.#onDraining);
    this.#done();
  }

  /**
   * Whether the connection begins with the preface of HTTP/2, as far as it has come; when it is
   * whole the connection is handed over.
   */
  #isPreface(): boolean {
    const options = this.#options;
    const { bytes, at, unread } = this.#input;
    const most = Math.min(unread, PREFACE.length);
    if (options.preface === undefined || bytes.compare(PREFACE, 0, most, at, at + most) !== 0) {
      this.#prefaced = true;
      return false;
    }
    if (unread >= PREFACE.length) options.preface(this.handOver());
    else if (!this.#headBegun) {
      this.#headBegun = true;
      this.#reading.set(options.limits.headMs);
    }
    return true;
  }

  /**
   * One empty line before a request is ignored (RFC 9112 section 2.2). False: what has come may be
   * the begin of one.
   */
  #skipBlankLine(): boolean {
    const { bytes, at, unread } = this.#input;
    if (this.#blank || bytes[at] !== CR) return true;
    if (unread === 1) return this.#input.ended;
    if (bytes[at + 1] === LF) {
      this.#blank = true;
      this.#input.at += 2;
    }
    return true;
  }

  #read(): void {
    if (this.#input.unread > 0 && !this.#skipBlankLine()) return;
    const { limits } = this.#options;
    let head: RequestHead | undefined;
    try {
      head = this.#input.takeBlock(this.#parse, limits.headBytes, overHead);
      if (head === undefined && this.#input.ended && this.#input.unread > 0)
        throw malformed(REQUEST, 'it was not complete when the client ended');
    } catch (failure) {
      this.#refuse(Fault.from(failure, 'internal'));
      return;
    }
    if (head !== undefined) this.#begin(head);
    else if (this.#input.ended) this.#linger();
    else if (!this.#headBegun && this.#input.unread > 0) {
      this.#headBegun = true;
      this.#reading.set(limits.headMs);
    }
  }

  #begin(head: RequestHead): void {
    this.#state = 'busy';
    this.#headBegun = this.#blank = this.#responded = this.#handled = this.#close = false;
    this.#reading.clear();
    this.#body = hasBody(head.framing)
      ? new IncomingBody(head.framing, this.#input, this, this.#options.limits)
      : undefined;
    this.#untilEnd = false;
    this.bodyPause = this.#options.limits.bodyIdleMs;
    this.#exchange = new Exchange(head, this.#body, this);
    try {
      this.#options.handle(this.#exchange).then(this.#onHandled, this.#onFailed);
    } catch (failure) {
      this.#onFailed(failure);
    }
  }

  readonly #onHandled = (): void => {
    this.#handled = true;
    if (this.#exchange?.answered === true) this.#settle();
    else this.#refuse(new Fault('internal', 'the request was handled without an answer'));
  };

  readonly #onFailed = (failure: unknown): void => {
    const fault = Fault.from(failure, 'internal');
    this.#handled = true;
    if (this.#exchange?.answered !== true) this.#refuse(fault);
    else if (this.#responded) this.#settle();
    else this.reset(fault);
  };

  /** Goes on to the next request once the answer is sent and the handler has settled. */
  #settle(): void {
    if (this.#state !== 'busy' || !this.#responded || !this.#handled) return;
    const input = this.#input;
    const body = this.#body;
    // Bytes after a refused upgrade may be of the other protocol already (RFC 9931).
    const optimistic =
      input.unread > 0 &&
      body === undefined &&
      fieldOf(this.#exchange?.head.fields ?? [], 'upgrade') !== undefined;
    if (body !== undefined && !body.complete && (body.short || body.atHand)) body.skip();
    if (
      body?.complete === false &&
      !this.#close &&
      body.short &&
      this.#reason === undefined &&
      !input.ended
    ) {
      this.#skip();
      return;
    }
    this.#skipping = false;
    this.#exchange = this.#body = undefined;
    const over =
      this.#close || optimistic || this.#reason !== undefined || body?.complete === false;
    if (over || (this.closing && input.unread === 0)) {
      this.#linger();
      return;
    }
    this.#state = 'idle';
    this.#reading.set(this.#options.limits.keepAliveMs);
    if (input.unread > 0 || input.ended) this.#read();
    if (this.#state === 'idle') input.resume();
  }

  #skip(): void {
    if (!this.#skipping) this.#reading.set(this.#options.limits.lingerMs);
    this.#skipping = true;
    this.#input.resume();
  }

  #refuse(fault: Fault): void {
    try {
      const { head, body } = this.#options.refuse(fault, this);
      this.output.joined(responseText(head, body.length, true), body);
    } catch (failure) {
      this.reset(Fault.from(failure, 'internal'));
      return;
    }
    this.#body?.fail(fault);
    this.#exchange = this.#body = undefined;
    this.#linger();
  }

  #linger(): void {
    this.#skipping = false;
    if (this.#socket.destroyed) return;
    this.#state = 'lingering';
    this.#reading.set(this.#options.limits.lingerMs);
    this.#socket.end();
    this.#input.resume();
    this.#discard();
  }

  #discard(): void {
    this.#lingered += this.#input.takeAll().length;
    if (this.#lingered <= this.#options.limits.lingerBytes) return;
    // Who still writes is held up first and so comes to read: a reset at once would overtake the
    // answer.
    this.#input.pause();
    this.#reading.set(this.#options.limits.farewellMs);
  }

  #readTimeout(): void {
    if (this.#state === 'lingering') this.#socket.destroy();
    else if (this.#skipping) this.#linger();
    else if (this.#state === 'busy')
      this.#body?.fail(
        new Fault('request-timeout', 'the request body stopped coming', timeHint('bodyTimeout')),
      );
    else if (this.#input.unread > 0)
      this.#refuse(
        new Fault(
          'request-timeout',
          'the request head did not come in time',
          timeHint('headersTimeout'),
        ),
      );
    else this.#linger();
  }
}

const overHead = (most: number): Fault => longHead(REQUEST, most);
