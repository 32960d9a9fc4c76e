/**
 * One request on a connection to an upstream, as a stream of its own. What the upstream did not
 * process (RFC 9113 sections 6.8 and 8.7: it refused the stream, or its GOAWAY names an earlier
 * one) may be sent again, whatever its method; a connection that was cut says no such thing.
 */
import { type ClientHttp2Stream, constants } from 'node:http2';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import type { ClientResponse, RequestOptions } from '../http/client.ts';
import { isUnprocessed, unprocessed, unread, untouched } from '../http/failures.ts';
import { RESPONSE, malformed } from '../http/field-lines.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Body, OutgoingRequest } from '../http/message.ts';
import { NO_BODY } from '../http1/body.ts';
import { Watchdog } from '../http1/watchdog.ts';
import { StreamBody } from './body.ts';
import { informHead, responseHead } from './response.ts';
import { StreamWriter } from './writer.ts';

/** What a stream needs to know of its connection. */
export interface Trunk {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  /** The last stream that the upstream will process, once it has said so. */
  readonly last: number;
  /** Why the connection ended, when it has. */
  readonly cause: Error | undefined;
  /** It has carried an answer before. */
  readonly proven: boolean;
  /** An answer has begun. */
  answered(): void;
  /** The stream is over. */
  ended(stream: RequestStream): void;
}

const AGAINST_PROTOCOL: ReadonlySet<number> = new Set([
  constants.NGHTTP2_PROTOCOL_ERROR,
  constants.NGHTTP2_FLOW_CONTROL_ERROR,
  constants.NGHTTP2_FRAME_SIZE_ERROR,
  constants.NGHTTP2_COMPRESSION_ERROR,
]);

export class RequestStream {
  readonly #stream: ClientHttp2Stream;
  readonly #head: OutgoingRequest;
  readonly #options: RequestOptions;
  readonly #trunk: Trunk;
  readonly #output: StreamWriter;
  readonly #writing: Watchdog;
  readonly #answer = Promise.withResolvers<ClientResponse>();
  #state: 'waiting' | 'answered' | 'over' = 'waiting';
  #body: StreamBody | undefined;
  #sent: Promise<void> = Promise.resolve();
  #informs = 0;
  #reason: Fault | undefined;
  /** What the engine found wrong. */
  #cause: Error | undefined;
  /** The upstream has said END_STREAM; what was at hand then. */
  #ended = false;
  readonly #rest: Buffer[] = [];

  constructor(
    stream: ClientHttp2Stream,
    head: OutgoingRequest,
    { options, trunk }: { options: RequestOptions; trunk: Trunk },
  ) {
    this.#stream = stream;
    this.#head = head;
    this.#options = options;
    this.#trunk = trunk;
    const { clock, limits } = trunk;
    this.#writing = new Watchdog(clock, () => this.destroy(unread()));
    this.#output = new StreamWriter(stream, (full) =>
      full ? this.#writing.set(limits.writeIdleMs) : this.#writing.clear(),
    ).trusting();
    this.#watchEnd(stream);
    stream.on('headers', this.#onInform);
    stream.on('response', this.#onResponse);
    // What it means is asked when it is closed.
    stream.on('error', (cause: Error) => (this.#cause = cause));
    stream.on('close', this.#onClose);
  }

  get answer(): Promise<ClientResponse> {
    return this.#answer.promise;
  }

  /**
   * Learns of END_STREAM where the engine does: it ends the reading side while the stream is open,
   * and that of a stream that was reset once it is closed. What was received is taken out at once,
   * as the engine drops it when a reset follows.
   */
  #watchEnd(stream: ClientHttp2Stream): void {
    const push = stream.push.bind(stream);
    stream.push = (chunk: unknown, encoding?: BufferEncoding) => {
      if (chunk === null && !stream.closed && !stream.destroyed) {
        this.#ended = true;
        const rest: unknown = stream.read();
        if (Buffer.isBuffer(rest)) this.#rest.push(rest);
      }
      return push(chunk, encoding);
    };
  }

  /** Sends what follows the head. */
  send(body: Buffer | Body | undefined): void {
    if (body === undefined) return;
    this.#sent = Buffer.isBuffer(body) ? this.#output.end(body) : this.#upload(body);
    ignore(this.#sent, 'whoever asked may be content with the answer');
  }

  /** Resets the stream; nothing of it is used any more. */
  destroy(reason: Fault): void {
    if (this.#state === 'over') return;
    this.#reason ??= reason;
    // `close` would end a request that is not complete in good order first.
    if (this.#stream.writableEnded) this.#stream.close(constants.NGHTTP2_CANCEL);
    // What was received and not read would keep the stream, and with it the connection, for ever.
    this.#stream.destroy(this.#stream.closed ? undefined : this.#reason);
    this.#over();
  }

  /** Nothing more is asked of it: a stream that is complete is left to close by itself. */
  release(reason: Fault): void {
    if (this.#state === 'answered' && this.#body?.complete !== false && this.#stream.writableEnded)
      return;
    this.destroy(reason);
  }

  async #upload(body: Body): Promise<void> {
    try {
      await this.#output.send(body, body.poll(), false);
    } catch (failure) {
      const fault = Fault.from(failure, 'upstream-cut');
      // The answer is complete, or the stream is over already: the rest of the request is not
      // wanted, which is no failure.
      if (this.#state !== 'over' && !this.#output.failed) this.destroy(fault);
      throw fault;
    }
  }

  readonly #onInform = (_headers: unknown, _flags: number, raw?: readonly string[]): void => {
    try {
      if (++this.#informs > this.#trunk.limits.informs)
        throw malformed(RESPONSE, `more than ${this.#trunk.limits.informs} interim answers`);
      const { status, fields } = informHead(raw ?? [], this.#trunk.limits);
      this.#options.onInform(status, fields);
    } catch (failure) {
      this.destroy(Fault.from(failure, 'internal'));
    }
  };

  readonly #onResponse = (_headers: unknown, flags: number, raw?: readonly string[]): void => {
    const { limits, clock } = this.#trunk;
    const stream = this.#stream;
    if (this.#state !== 'waiting') return;
    try {
      const ended = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      const head = responseHead(raw ?? [], ended, limits);
      this.#state = 'answered';
      this.#trunk.answered();
      if (ended) {
        stream.resume();
        this.#finish();
        this.#answer.resolve({ head, body: NO_BODY, sent: this.#sent, upgraded: undefined });
        return;
      }
      const length =
        head.framing.kind === 'length' && this.#head.method !== 'HEAD'
          ? head.framing.length
          : undefined;
      this.#body = new StreamBody(stream, {
        side: 'response',
        length,
        limits,
        clock,
        idleMs: this.#options.bodyIdleMs,
        ended: () => this.#ended,
        rest: this.#rest,
        refused: (reason) => this.destroy(reason),
        completed: () => this.#finish(),
      });
      this.#answer.resolve({ head, body: this.#body, sent: this.#sent, upgraded: undefined });
    } catch (failure) {
      this.destroy(Fault.from(failure, 'internal'));
    }
  };

  /** The answer is complete: the rest of the request is not wanted. */
  #finish(): void {
    if (this.#output.finished || this.#stream.writableEnded) return;
    this.#output.fail(new Fault('aborted', 'the upstream answered before the request was sent'));
    this.#stream.destroy();
  }

  readonly #onClose = (): void => {
    this.#output.closed();
    this.#over();
  };

  #over(): void {
    if (this.#state === 'over') return;
    const waiting = this.#state === 'waiting';
    this.#state = 'over';
    this.#writing.stop();
    // An interim answer is a part of an answer: what began to answer has read the request.
    const reason = this.#reason ?? this.#why(waiting && this.#informs === 0);
    const again = waiting && isUnprocessed(reason);
    // A request that will be sent again keeps its body.
    if (!this.#output.finished) this.#output.fail(reason, again);
    if (this.#reason === undefined) this.#body?.over(reason);
    else this.#body?.fail(reason);
    if (waiting) this.#answer.reject(reason);
    this.#trunk.ended(this);
  }

  #why(silent: boolean): Fault {
    const { rstCode, id } = this.#stream;
    const { last, cause, proven } = this.#trunk;
    if (silent && (id === undefined || id > last || rstCode === constants.NGHTTP2_REFUSED_STREAM))
      return unprocessed('the upstream did not process the request', cause);
    // We reset a stream with such a code for what the upstream sent, and so does it for what it
    // holds against us.
    if (AGAINST_PROTOCOL.has(rstCode) || isOfEngine(cause ?? this.#cause))
      return malformed(RESPONSE, 'it is against RFC 9113', cause ?? this.#cause);
    if (cause !== undefined) {
      const fault = new Fault('upstream-cut', 'the connection to the upstream failed', { cause });
      return silent && proven ? untouched(fault) : fault;
    }
    if (silent && proven && rstCode === constants.NGHTTP2_CANCEL)
      return untouched(new Fault('upstream-cut', 'the connection to the upstream was closed'));
    return new Fault('upstream-cut', `the upstream reset the stream (code ${rstCode})`);
  }
}

/** Bytes that the engine cannot read as HTTP/2. */
function isOfEngine(cause: Error | undefined): boolean {
  return cause !== undefined && 'code' in cause && cause.code === 'ERR_HTTP2_ERROR';
}
