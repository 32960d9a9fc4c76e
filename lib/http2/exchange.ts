/**
 * One stream of a connection from a client as a request that waits for its answer. A reset stream
 * is to its exchange what a closed connection is in HTTP/1.1.
 */
import { type ServerHttp2Stream, constants } from 'node:http2';
import { Fault } from '../base/fault.ts';
import { LazyAbort } from '../http/lazy-abort.ts';
import { timeHint } from '../http/limits.ts';
import type { Body, Fields, OutgoingResponse, RequestHead } from '../http/message.ts';
import type { Connection, HandedOver, ServerExchange } from '../http/server-exchange.ts';
import { NO_BODY, hasBody } from '../http1/body.ts';
import { Watchdog } from '../http1/watchdog.ts';
import { StreamBody } from './body.ts';
import type { StreamSeen } from './frames.ts';
import type { Http2Options } from './options.ts';
import { grouped, trailersFrame } from './sent-fields.ts';
import { StreamWriter } from './writer.ts';

/** What a stream knows of the connection that it belongs to. */
export interface ConnectionInfo {
  readonly id: number;
  readonly remote: string;
  readonly local: string;
  /** A frame to send before the one that resets the stream. */
  lastWords(id: number, frame: Buffer): void;
}

interface StreamContext {
  readonly connection: ConnectionInfo;
  readonly options: Http2Options;
  readonly seen: StreamSeen;
}

export class StreamExchange implements ServerExchange, Connection {
  readonly id: number;
  readonly remote: string;
  readonly local: string;
  readonly major = 2;
  readonly head: RequestHead;
  readonly body: Body;
  answered = false;
  readonly #stream: ServerHttp2Stream;
  readonly #incoming: StreamBody | undefined;
  readonly #output: StreamWriter;
  readonly #writing: Watchdog;
  readonly #connectionInfo: ConnectionInfo;
  readonly #options: Http2Options;
  readonly #abort = new LazyAbort();
  /** Header blocks that were sent; interim heads that were given to the engine. */
  #heads = 0;
  #informs = 0;
  /** Resets the stream once its head has gone. */
  #destroyAfterHead: (() => void) | undefined;

  constructor(
    stream: ServerHttp2Stream,
    head: RequestHead,
    { connection, options, seen }: StreamContext,
  ) {
    this.#connectionInfo = connection;
    this.id = connection.id;
    this.remote = connection.remote;
    this.local = connection.local;
    this.head = head;
    this.#stream = stream;
    const { limits, clock } = options;
    this.#options = options;
    this.#writing = new Watchdog(clock, () =>
      this.abort(
        new Fault(
          'client-gone',
          'the client does not read what it asked for',
          timeHint('writeTimeout'),
        ),
      ),
    );
    this.#output = new StreamWriter(stream, (full) =>
      full ? this.#writing.set(limits.writeIdleMs) : this.#writing.clear(),
    );
    if (hasBody(head.framing)) {
      const length = head.framing.kind === 'length' ? head.framing.length : undefined;
      this.#incoming = new StreamBody(stream, {
        side: 'request',
        length,
        limits,
        clock,
        idleMs: limits.bodyIdleMs,
        ended: () => seen.ended,
        // It is reset once the answer is sent, or by whoever gives the exchange up.
        refused: () => {},
      });
    } else stream.resume();
    this.body = this.#incoming ?? NO_BODY;
    stream.on('error', this.#onError);
    stream.on('close', this.#onClose);
  }

  get connection(): Connection {
    return this;
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get bodyPause(): number {
    return this.#incoming?.pause ?? Infinity;
  }

  set bodyPause(ms: number) {
    if (this.#incoming !== undefined) this.#incoming.pause = ms;
  }

  get gone(): boolean {
    return this.#abort.reason !== undefined || this.#stream.destroyed;
  }

  /** Of content: heads are the connection's. */
  get bytesRead(): number {
    return this.#incoming?.bytes ?? 0;
  }

  get bytesWritten(): number {
    return this.#output.sent;
  }

  /** A client that goes away resets its stream. */
  untilEnd(): void {}

  inform(status: number, fields: Fields): void {
    if (this.answered) throw new TypeError('an interim answer after the answer');
    if (status < 100 || status > 199 || status === 101)
      throw new TypeError(`status ${status} is not interim`);
    if (this.#stream.destroyed) return;
    this.#informs++;
    this.#stream.additionalHeaders(grouped([':status', String(status), ...fields]));
  }

  async respond(head: OutgoingResponse, body?: Buffer | Body): Promise<void> {
    if (this.answered) throw new TypeError('this exchange was answered already');
    if (head.status < 200)
      throw new TypeError(`status ${head.status} is not an answer; use inform`);
    this.answered = true;
    try {
      await this.#send(head, body);
    } catch (failure) {
      const fault = Fault.from(failure, 'internal');
      discard(body, fault);
      this.#reset(fault);
      throw fault;
    }
    if (this.#isBodiless(head.status))
      discard(body, new Fault('aborted', 'this answer has no body'));
    // The rest of the request is not wanted (RFC 9113 section 8.1).
    if (this.#incoming?.complete === false) {
      this.#stream.close(constants.NGHTTP2_NO_ERROR);
      this.#incoming.drop();
    }
  }

  abort(reason: Fault, trailers?: () => Fields): void {
    const answering = this.answered;
    this.answered = true;
    if (this.#output.finished || this.#abort.reason !== undefined) return;
    if (trailers === undefined || !answering) {
      this.#reset(reason);
      return;
    }
    const stream = this.#stream;
    const id = stream.id ?? 0;
    this.#gone(reason);
    this.#connectionInfo.lastWords(id, trailersFrame(id, trailers()));
    if (this.#heads > this.#informs) {
      stream.destroy(reason);
      return;
    }
    const { clock, limits } = this.#options;
    const cancel = clock.after(limits.farewellMs, () => this.#destroyAfterHead?.());
    this.#destroyAfterHead = () => {
      this.#destroyAfterHead = undefined;
      cancel();
      stream.destroy(reason);
    };
  }

  /** A header block was handed to the socket. */
  sentHead(): void {
    this.#heads++;
    // Not inside the engine, which is sending.
    if (this.#destroyAfterHead !== undefined && this.#heads > this.#informs)
      setImmediate(this.#destroyAfterHead);
  }

  /** The answer was ended. */
  sentEnd(): void {
    this.#output.sentEnd();
  }

  upgrade(): HandedOver {
    throw new TypeError('a stream of HTTP/2 is not upgraded');
  }

  /** The engine has dropped a field of the request's trailers. */
  poison(reason: Fault): void {
    this.#incoming?.cancel(reason);
  }

  async #send(head: OutgoingResponse, body: Buffer | Body | undefined): Promise<void> {
    if (this.#abort.reason !== undefined) throw this.#abort.reason;
    const stream = this.#stream;
    const first =
      body === undefined || Buffer.isBuffer(body) || this.#isBodiless(head.status)
        ? undefined
        : body.poll();
    const bytes =
      Buffer.isBuffer(body) && body.length > 0 && !this.#isBodiless(head.status) ? body : undefined;
    const ended = first === 'end' || (first === undefined && bytes === undefined);
    const trailers = head.trailers === true && !ended;
    stream.respond(this.#fields(head, body), {
      endStream: ended,
      waitForTrailers: trailers,
      sendDate: false,
    } as object);
    if (ended) await this.#output.ended();
    else if (bytes !== undefined) await this.#output.end(bytes);
    else await this.#output.send(body as Body, first as Buffer | 'later', trailers);
  }

  #fields({ status, fields, length }: OutgoingResponse, body: Buffer | Body | undefined): string[] {
    const raw = [':status', String(status), ...fields];
    const known = length ?? (Buffer.isBuffer(body) ? body.length : undefined);
    if (known !== undefined && status !== 204 && status !== 304)
      raw.push('content-length', String(known));
    return raw;
  }

  #isBodiless(status: number): boolean {
    return this.head.method === 'HEAD' || status === 204 || status === 304;
  }

  #reset(reason: Fault): void {
    this.#gone(reason);
    // Not `close`, which would send an orderly end first.
    this.#stream.destroy(reason);
  }

  /** Ends what runs on this stream with the first reason that was given. */
  #gone(reason: Fault): void {
    const first = this.#abort.abort(reason);
    this.#writing.stop();
    this.#incoming?.fail(first);
    this.#output.fail(first);
  }

  readonly #onError = (cause: Error): void => {
    // What the engine finds wrong on an open stream, above all content that is longer than
    // Content-Length says; it ends the connection with it.
    if ('code' in cause && cause.code === 'ERR_HTTP2_ERROR') this.#gone(against(cause));
  };

  readonly #onClose = (): void => {
    this.#writing.stop();
    if (!this.#output.finished || this.#incoming?.complete === false)
      this.#gone(
        this.#stream.rstCode === constants.NGHTTP2_PROTOCOL_ERROR ? against(undefined) : gaveUp(),
      );
  };
}

/**
 * The engine resets a stream whose content is shorter than Content-Length says with PROTOCOL_ERROR.
 */
function against(cause: Error | undefined): Fault {
  const text = 'what the client sent is against RFC 9113 section 8.1.1';
  return new Fault('malformed', text, cause === undefined ? {} : { cause });
}

function gaveUp(): Fault {
  return new Fault('client-gone', 'the client gave the stream up');
}

function discard(body: Buffer | Body | undefined, reason: Fault): void {
  if (body !== undefined && !Buffer.isBuffer(body)) body.cancel(reason);
}
