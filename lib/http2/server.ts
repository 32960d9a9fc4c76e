/**
 * The server's side of a connection of HTTP/2, on the engine's node:http2 behind the same exchanges
 * as lib/http1: each stream is one request, judged and answered by itself. What the engine does in
 * silence is seen in the frames (frames.ts): a stream that it refuses, or from which it drops a
 * field, is a refused request with a record of its own.
 *
 *   serving ──draining, idle too long──► GOAWAY, what runs ends ──► closed
 *   any ──flood, malformed frames──► GOAWAY with a code, closed
 */
import {
  type ServerHttp2Session,
  type ServerHttp2Stream,
  constants,
  performServerHandshake,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import { timeHint } from '../http/limits.ts';
import type { Connection } from '../http/server-exchange.ts';
import { addressesOf } from '../http1/sockets.ts';
import { Watchdog } from '../http1/watchdog.ts';
import { type ConnectionInfo, StreamExchange } from './exchange.ts';
import { type FrameWatcher, Frames, type StreamSeen } from './frames.ts';
import { malformed, requestHead } from './head.ts';
import { InspectedSocket } from './inspected-socket.ts';
import { type Http2Limits, http2Limits } from './limits.ts';
import type { Http2Options } from './options.ts';
import { SentFrames, type SentWatcher } from './sent-frames.ts';

/**
 * Serves HTTP/2 on a connection that begins with the client's preface: a socket of prior knowledge,
 * or an accepted TLS socket whose ALPN chose `h2`. `early` are bytes that were read from it
 * already. The same `handle` and `refuse` serve lib/http1/server.ts: each exchange has a
 * `connection` of its own, with a signal that aborts when its stream ends before the answer.
 * Settles when the connection is closed; never rejects. The socket is owned from here.
 */
export function serveHttp2(socket: Duplex, options: Http2Options, early?: Buffer): Promise<void> {
  return new Promise((resolve) => new ServerConnection(socket, options, resolve).start(early));
}

/** The engine counts memory in these. */
const MEGABYTE = 1_000_000;

let connections = 0;

/** A request to be refused on its own stream, of which there is no exchange. */
interface Refusing {
  readonly stream: ServerHttp2Stream;
  readonly seen: StreamSeen;
}

class ServerConnection implements ConnectionInfo, FrameWatcher, SentWatcher {
  readonly id = ++connections;
  readonly remote: string;
  readonly local: string;
  readonly #socket: Duplex;
  readonly #options: Http2Options;
  readonly #http2: Http2Limits;
  readonly #frames: Frames;
  readonly #reading: Watchdog;
  readonly #session: ServerHttp2Session;
  readonly #exchanges = new Map<number, StreamExchange>();
  /** Streams whose head the engine has, of which it has not told yet. */
  readonly #unreported = new Map<number, StreamSeen>();
  readonly #tainted = new Map<number, 'name' | 'value'>();
  readonly #refusing = new Map<number, Refusing>();
  /** Requests that are read once it is known whether content follows their head. */
  readonly #undecided = new Map<number, () => void>();
  readonly #lastWords = new Map<number, Buffer>();
  /** The newest stream was opened while as many were open as may be. */
  #crowded = false;
  #blockOpen = false;
  #goingAway = false;
  #closed = false;

  constructor(socket: Duplex, options: Http2Options, done: () => void) {
    this.#socket = socket;
    this.#options = options;
    ({ remote: this.remote, local: this.local } = addressesOf(socket));
    const { limits, clock } = options;
    const http2 = (this.#http2 = options.http2 ?? http2Limits());
    this.#reading = new Watchdog(clock, () => this.#idle());
    const frames = (this.#frames = new Frames(http2, this, () => clock.monotonic()));
    const inspected = new InspectedSocket({
      socket,
      frames,
      sent: new SentFrames(this),
      refused: (fault) => this.#violated(fault),
      clock,
      lingerMs: limits.lingerMs,
    });
    socket.once('close', done);
    inspected.on('error', () => {});
    this.#session = performServerHandshake(inspected, {
      settings: {
        maxConcurrentStreams: http2.streams,
        initialWindowSize: http2.windowBytes,
        maxHeaderListSize: limits.headBytes,
        enableConnectProtocol: false,
      },
      // Somewhat more than is served, so that a head over the limit is told of and answered.
      maxHeaderListPairs: limits.fieldCount + 64,
      maxSendHeaderBlockLength: 4 * limits.headBytes,
      maxSessionMemory: http2.sessionBytes / MEGABYTE,
      maxSessionRejectedStreams: http2.refusedStreams,
      // Ours comes first and has a name.
      maxSessionInvalidFrames: http2.idleFrames * 2,
    });
  }

  start(early: Buffer | undefined): void {
    const session = this.#session;
    session.setLocalWindowSize(this.#http2.connectionWindowBytes);
    session.on('stream', this.#onStream);
    session.on('error', () => {});
    session.on('close', this.#onClose);
    this.#options.draining.addEventListener('abort', this.#onDraining);
    this.#reading.set(this.#options.limits.keepAliveMs);
    if (early !== undefined && early.length > 0) this.#socket.unshift(early);
    if (this.#options.draining.aborted) this.#onDraining();
  }

  opened(id: number, seen: StreamSeen): void {
    const open = this.#exchanges.size + this.#unreported.size + this.#undecided.size;
    this.#crowded = open >= this.#http2.streams;
    this.#unreported.set(id, seen);
  }

  moved(id: number): void {
    const decide = this.#undecided.get(id);
    // Not before the engine has these bytes.
    if (decide !== undefined) setImmediate(decide);
  }

  lastWords(id: number, frame: Buffer): void {
    this.#lastWords.set(id, frame);
  }

  sentHead(id: number): void {
    this.#exchanges.get(id)?.sentHead();
  }

  sentEnd(id: number): void {
    this.#exchanges.get(id)?.sentEnd();
    const refusing = this.#refusing.get(id);
    if (refusing === undefined) return;
    this.#refusing.delete(id);
    // Not inside the engine, which is sending. The rest of the request is not wanted.
    if (!refusing.seen.ended) setImmediate(() => refusing.stream.close(constants.NGHTTP2_NO_ERROR));
  }

  sentReset(id: number): Buffer | undefined {
    this.#frames.reset(id);
    // Of a stream that the engine never told of.
    this.#refuseUnseen(id, 'it is against RFC 9113 section 8.1.1');
    const frame = this.#lastWords.get(id);
    this.#lastWords.delete(id);
    return frame;
  }

  /** What the engine ends the connection for is told here alone, where no stream was in it. */
  sentGoaway(code: number): void {
    if (code === constants.NGHTTP2_NO_ERROR || this.#goingAway) return;
    this.#goingAway = true;
    if (this.#unreported.size > 0) this.#refuseUnreported();
    else
      this.#options.refuse(malformed('the connection is against RFC 9113'), this.#asConnection());
  }

  tainted(id: number, what: 'name' | 'value'): void {
    const exchange = this.#exchanges.get(id);
    if (exchange === undefined) this.#tainted.set(id, what);
    else exchange.poison(malformed(`a trailer's ${what} holds what it may not`));
  }

  blockOpen(open: boolean): void {
    this.#blockOpen = open;
    if (open) this.#reading.set(this.#options.limits.headMs);
    else this.#restartIdleTimer();
  }

  readonly #onStream = (
    stream: ServerHttp2Stream,
    _headers: unknown,
    _flags: number,
    raw: readonly string[],
  ): void => {
    const id = stream.id ?? 0;
    const seen = this.#unreported.get(id);
    stream.on('error', () => {});
    // It was reset before, and that was told.
    if (seen === undefined) return;
    this.#unreported.delete(id);
    if (seen.ended || seen.content > 0 || !WITHOUT_CONTENT.has(methodIn(raw)))
      this.#begin(stream, raw, seen);
    else this.#undecide(stream, raw, seen);
  };

  /** A GET says with the frame after its head whether it has content. */
  #undecide(stream: ServerHttp2Stream, raw: readonly string[], seen: StreamSeen): void {
    const id = stream.id ?? 0;
    const { clock, limits } = this.#options;
    const begin = (): void => {
      if (!this.#undecided.delete(id)) return;
      cancel();
      this.#begin(stream, raw, seen);
    };
    const cancel = clock.after(limits.headMs, () => {
      const late = new Fault(
        'request-timeout',
        'it did not come in time whether a GET has content',
      );
      if (this.#undecided.delete(id)) this.#refuse({ stream, seen }, late);
    });
    this.#reading.clear();
    this.#undecided.set(id, begin);
    stream.once('close', begin);
  }

  #begin(stream: ServerHttp2Stream, raw: readonly string[], seen: StreamSeen): void {
    const id = stream.id ?? 0;
    const { limits, scheme } = this.#options;
    const taint = this.#tainted.get(id);
    this.#tainted.delete(id);
    let exchange: StreamExchange;
    try {
      if (stream.destroyed || stream.closed) throw over(stream.rstCode);
      if (taint !== undefined) throw malformed(`a field's ${taint} holds what it may not`);
      if (seen.fields !== raw.length / 2) throw malformed('a field holds what it may not');
      const head = requestHead({ raw, ended: seen.ended && seen.content === 0 }, scheme, limits);
      exchange = new StreamExchange(stream, head, {
        connection: this,
        options: this.#options,
        seen,
      });
    } catch (failure) {
      this.#refuse({ stream, seen }, Fault.from(failure, 'internal'));
      return;
    }
    this.#exchanges.set(id, exchange);
    this.#reading.clear();
    stream.once('close', () => this.#ended(id));
    ignore(this.#handle(exchange), 'it never rejects');
  }

  async #handle(exchange: StreamExchange): Promise<void> {
    let fault = new Fault('internal', 'the request was handled without an answer');
    try {
      await this.#options.handle(exchange);
    } catch (failure) {
      fault = Fault.from(failure, 'internal');
    }
    if (exchange.answered) return;
    const { head, body } = this.#options.refuse(fault, exchange);
    ignore(exchange.respond(head, body), 'the client is gone');
  }

  /** Answers a request that is not handed on, and gives its stream up. */
  #refuse(refusing: Refusing, fault: Fault): void {
    const { head, body } = this.#options.refuse(fault, this.#asConnection());
    const { stream } = refusing;
    const id = stream.id ?? 0;
    try {
      this.#refusing.set(id, refusing);
      stream.once('close', () => this.#refusing.delete(id));
      stream.respond(
        [':status', String(head.status), ...head.fields, 'content-length', String(body.length)],
        {
          sendDate: false,
        } as object,
      );
      stream.end(body);
      stream.resume();
    } catch {
      // The stream is reset already: there is nobody to tell.
      this.#refusing.delete(id);
    }
    this.#restartIdleTimer();
  }

  #asConnection(): Connection {
    const { id, remote, local } = this;
    return {
      id,
      remote,
      local,
      major: 2,
      signal: NEVER,
      gone: true,
      bodyPause: Infinity,
      bytesRead: 0,
      bytesWritten: 0,
      untilEnd() {},
    };
  }

  #refuseUnseen(id: number, why: string): void {
    if (!this.#unreported.delete(id)) return;
    this.#tainted.delete(id);
    this.#options.refuse(
      this.#crowded ? crowded(this.#http2.streams) : malformed(why),
      this.#asConnection(),
    );
  }

  #refuseUnreported(): void {
    for (const id of this.#unreported.keys())
      this.#refuseUnseen(id, 'the connection ended with it, as it is no HTTP/2');
  }

  #ended(id: number): void {
    this.#exchanges.delete(id);
    this.#restartIdleTimer();
  }

  #restartIdleTimer(): void {
    if (this.#exchanges.size === 0 && this.#undecided.size === 0 && !this.#closed)
      this.#reading.set(this.#options.limits.keepAliveMs);
    else this.#reading.clear();
  }

  #violated(fault: Fault): void {
    this.#goingAway = true;
    this.#options.refuse(fault, this.#asConnection());
    // Said first: what ending the streams says comes after it.
    if (this.#session.destroyed) return;
    const code =
      fault.code === 'malformed'
        ? constants.NGHTTP2_PROTOCOL_ERROR
        : constants.NGHTTP2_ENHANCE_YOUR_CALM;
    this.#session.goaway(code);
    this.#session.destroy(fault, code);
  }

  #idle(): void {
    if (this.#blockOpen)
      this.#violated(
        new Fault(
          'request-timeout',
          'a header block was not complete in time',
          timeHint('headersTimeout'),
        ),
      );
    else this.#goAway();
  }

  /** GOAWAY; what runs is finished. */
  #goAway(): void {
    this.#goingAway = true;
    if (!this.#session.destroyed) this.#session.close();
  }

  readonly #onDraining = (): void => this.#goAway();

  readonly #onClose = (): void => {
    this.#closed = true;
    this.#reading.stop();
    // Behind a GOAWAY of ours nothing is looked at, which the client knows (RFC 9113 section 6.8).
    if (!this.#goingAway) this.#refuseUnreported();
    this.#options.draining.removeEventListener('abort', this.#onDraining);
  };
}

/** RFC 9110 section 9.3: content has no meaning in them. */
const WITHOUT_CONTENT: ReadonlySet<string> = new Set(['GET', 'HEAD', 'TRACE']);

function methodIn(raw: readonly string[]): string {
  for (let i = 0; i < raw.length; i += 2) if (raw[i] === ':method') return raw[i + 1] ?? '';
  return '';
}

function crowded(most: number): Fault {
  return new Fault('too-many', `the client opens more than ${most} streams at one time`, {
    hint: 'keep to SETTINGS_MAX_CONCURRENT_STREAMS, or open another connection',
  });
}

/** Of a stream that is over before anybody looks at it. */
function over(code: number): Fault {
  if (code === constants.NGHTTP2_CANCEL || code === constants.NGHTTP2_NO_ERROR)
    return new Fault('client-gone', 'the client gave the stream up at once');
  return malformed('what follows it is against RFC 9113 section 8.1.1');
}

/** Of a request that never became an exchange. */
const NEVER = new AbortController().signal;
