/**
 * The client's side of a connection: one request at a time. States:
 *
 *   idle ──request──► waiting ──head──► receiving ──end of body──► idle
 *   waiting ──101, 2xx to CONNECT──► handed-over
 *   any ──error, cut, bytes nobody asked for──► closed
 *
 * The answer may come before the request is sent; then the rest of the request is not sent and the
 * connection is not used again. So it does where the request cannot be sent any more: what the
 * upstream said before it stopped reading is read, and is the answer if it is one. A connection
 * that says anything while idle, or more than one answer, is destroyed (RFC 9112 section 9.2).
 */
import type { Duplex } from 'node:stream';
import { type Clock, systemClock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore, reasonOf } from '../base/signal.ts';
import type { ClientConnection, ClientResponse, RequestOptions } from '../http/client.ts';
import { isUntouched, unprocessed, unread, untouched } from '../http/failures.ts';
import { RESPONSE, longHead, malformed } from '../http/field-lines.ts';
import type { HttpLimits } from '../http/limits.ts';
import {
  type Body,
  type Fields,
  type OutgoingRequest,
  type ResponseHead,
  fieldOf,
} from '../http/message.ts';
import type { HandedOver } from '../http/server-exchange.ts';
import { type BodyOwner, IncomingBody, NO_BODY, hasBody } from './body.ts';
import { parseResponseHead } from './head.ts';
import { ReadBuffer } from './read-buffer.ts';
import { announced } from './reuse.ts';
import { requestText } from './serialise.ts';
import { keepReadable, resetSocket } from './sockets.ts';
import { Watchdog } from './watchdog.ts';
import { Writer } from './writer.ts';

/** Takes charge of a connected socket nobody has read from. */
export function clientConnection(
  socket: Duplex,
  limits: HttpLimits,
  clock: Clock = systemClock,
): ClientConnection {
  return new Client(socket, limits, clock);
}

type State = 'idle' | 'waiting' | 'receiving' | 'handed-over' | 'closed';

interface Asked {
  readonly head: OutgoingRequest;
  readonly options: RequestOptions;
  readonly sent: Promise<void>;
  readonly resolve: (response: ClientResponse) => void;
  readonly reject: (reason: Fault) => void;
}

class Client implements ClientConnection, BodyOwner {
  readonly socket: Duplex;
  readonly side = 'response';
  idleSince: number;
  readonly #limits: HttpLimits;
  readonly #clock: Clock;
  readonly #input: ReadBuffer;
  readonly #output: Writer;
  readonly #reading: Watchdog;
  readonly #writing: Watchdog;
  #state: State = 'idle';
  #asked: Asked | undefined;
  #body: IncomingBody | undefined;
  #upload: Body | undefined;
  /** Writes that fail are told here, and whether one has. */
  #guarded = false;
  #unsent: Fault | undefined;
  #served = 0;
  #informs = 0;
  /** Received before this request was sent. */
  #before = 0;
  #keepAlive = true;
  /** Milliseconds after an answer for which the server keeps the connection, as it says. */
  #kept = Infinity;
  endedEarly = false;
  #reason: Fault | undefined;

  constructor(socket: Duplex, limits: HttpLimits, clock: Clock) {
    this.socket = socket;
    this.#limits = limits;
    this.#clock = clock;
    this.idleSince = clock.monotonic();
    this.#input = new ReadBuffer(socket);
    this.#reading = new Watchdog(clock, () =>
      this.#fail(timeout('the upstream did not answer in time')),
    );
    this.#writing = new Watchdog(clock, () => this.#fail(unread()));
    this.#output = new Writer(socket, (full) =>
      full ? this.#writing.set(limits.writeIdleMs) : this.#writing.clear(),
    );
    socket.allowHalfOpen = true;
    socket.on('data', this.#onData).on('end', this.#onEnd).on('drain', this.#onDrain);
    socket.on('error', this.#onError).on('close', this.#onClose);
    // One that another connection has handed over is paused.
    socket.resume();
  }

  get reusable(): boolean {
    if (this.#state !== 'idle' || !this.#keepAlive || this.#input.ended || this.socket.destroyed)
      return false;
    return this.#kept === Infinity || this.#clock.monotonic() - this.idleSince < this.#kept;
  }

  request(
    head: OutgoingRequest,
    body: Buffer | Body | undefined,
    options: RequestOptions,
  ): Promise<ClientResponse> {
    if (this.#state !== 'idle' && this.#state !== 'closed')
      throw new TypeError('this connection is at another request');
    const text = requestText(head);
    checkBody(head, body);
    const { signal } = options;
    if (signal?.aborted === true) return Promise.reject(reasonOf(signal));
    if (!this.reusable)
      return Promise.reject(unprocessed('the connection to the upstream is closed', this.#reason));
    this.#state = 'waiting';
    this.#informs = 0;
    this.#before = this.#input.received;
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', this.#onAbort);
      if (options.headMs !== undefined) this.#reading.set(options.headMs);
      const sent = this.#send(text, head, body);
      this.#asked = { head, options, sent, resolve, reject };
    });
  }

  destroy(reason: Error): void {
    this.#fail(Fault.from(reason, 'aborted'));
  }

  bodyEnded(): void {
    this.#body = undefined;
    this.#ended();
  }

  bodyRefused(reason: Fault): void {
    this.#fail(reason);
  }

  bodyWaiting(waiting: boolean): void {
    const idle = this.#asked?.options.bodyIdleMs;
    if (waiting && idle !== undefined) this.#reading.set(idle);
    else this.#reading.clear();
  }

  #send(text: string, head: OutgoingRequest, body: Buffer | Body | undefined): Promise<void> {
    const { framing } = head;
    if (body !== undefined && !this.#guarded) {
      this.#guarded = true;
      keepReadable(this.socket, this.#onUnsent);
    }
    if (body === undefined || framing.kind === 'none') this.#output.text(text);
    else if (Buffer.isBuffer(body)) this.#output.joined(text, body);
    else return this.#stream(text, body, head);
    return SENT;
  }

  #stream(text: string, body: Body, head: OutgoingRequest): Promise<void> {
    const { framing } = head;
    this.#upload = body;
    const send = framing.kind === 'length' ? framing.length : framing.kind;
    const sending = { framing: send, trailers: head.trailers === true };
    const sent = Promise.try(() => this.#output.send(text, body, sending)).then(
      () => this.#uploaded(),
      (failure) => this.#uploadFailed(body, failure),
    );
    ignore(sent, 'whoever asked may be content with the answer');
    return sent;
  }

  #uploaded(): void {
    this.#upload = undefined;
  }

  #uploadFailed(body: Body, failure: unknown): void {
    const fault = Fault.from(failure, 'upstream-cut');
    const wanted = this.#upload === body;
    this.#upload = undefined;
    // The answer is complete: the rest of the request is not wanted, which is no failure.
    if (!wanted) return;
    body.cancel(fault);
    if (fault === this.#unsent) throw fault;
    this.#fail(fault);
    throw fault;
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#input.give(chunk);
    if (this.#state === 'waiting') this.#read();
    else if (this.#state === 'receiving') {
      if (this.#body?.wake() !== true) this.#input.pause();
    } else if (this.#state === 'idle')
      this.#fail(malformed(RESPONSE, 'bytes that no request asked for'));
  };

  readonly #onEnd = (): void => {
    this.#input.ended = true;
    if (this.#state === 'receiving') this.#body?.wake();
    else
      this.#leave(
        this.#lost(this.#unsent ?? cut('the upstream closed the connection before it answered')),
      );
  };

  readonly #onDrain = (): void => this.#output.wake();

  /** The upstream has closed: what it said before is read, to its end. */
  readonly #onUnsent = (cause: Error): void => {
    if (this.#unsent !== undefined || this.#state === 'closed') return;
    this.#unsent = new Fault('upstream-cut', 'the connection to the upstream failed', { cause });
    this.#keepAlive = false;
    this.#input.broken = true;
    this.#output.fail(this.#unsent);
    if (this.#state === 'waiting') this.#reading.set(this.#limits.lingerMs);
  };

  readonly #onError = (cause: Error): void => {
    this.#leave(
      this.#lost(new Fault('upstream-cut', 'the connection to the upstream failed', { cause })),
    );
  };

  readonly #onClose = (): void => {
    this.#leave(this.#lost(cut('the connection to the upstream was closed')));
  };

  readonly #onAbort = (): void => {
    const signal = this.#asked?.options.signal;
    if (signal !== undefined) this.#fail(reasonOf(signal));
  };

  /** The same Fault, or one that says that the request may be tried again. */
  #lost(fault: Fault): Fault {
    return this.#state === 'waiting' && this.#served > 0 && this.#input.received === this.#before
      ? untouched(fault)
      : fault;
  }

  /** The server has ended the connection. */
  #leave(reason: Fault): void {
    if (this.#state === 'idle' || isUntouched(reason)) this.#early();
    this.#fail(reason);
  }

  #early(): void {
    this.endedEarly = this.#served > 0 && this.#clock.monotonic() - this.idleSince < this.#kept;
  }

  #fail(reason: Fault): void {
    if (this.#state === 'closed' || this.#state === 'handed-over') return;
    const asked = this.#asked;
    const idle = this.#state === 'idle';
    this.#state = 'closed';
    this.#reason = reason;
    this.#release();
    this.#body?.fail(reason);
    this.#output.fail(reason);
    if (idle) this.socket.destroy();
    else resetSocket(this.socket);
    asked?.reject(reason);
  }

  /** Ends what belongs to the exchange under way. */
  #release(): void {
    this.#asked?.options.signal?.removeEventListener('abort', this.#onAbort);
    this.#asked = undefined;
    if (this.#state === 'idle') return;
    this.#reading.stop();
    this.#writing.stop();
  }

  #read(): void {
    const asked = this.#asked;
    if (asked === undefined) return;
    try {
      for (let head = this.#takeHead(); head !== undefined; head = this.#takeHead()) {
        if (head.status >= 200 || head.status === 101) {
          this.#answered(asked, head);
          return;
        }
        this.#informs++;
        if (this.#informs > this.#limits.informs)
          throw malformed(RESPONSE, `more than ${this.#limits.informs} interim answers`);
        asked.options.onInform(head.status, head.fields);
      }
    } catch (failure) {
      this.#fail(Fault.from(failure, 'internal'));
    }
  }

  #takeHead(): ResponseHead | undefined {
    return this.#input.takeBlock(this.#parse, this.#limits.headBytes, overHead);
  }

  readonly #parse = (text: string): ResponseHead | undefined =>
    parseResponseHead(text, this.#asked?.head.method ?? '', this.#limits);

  #answered(asked: Asked, head: ResponseHead): void {
    const tunnel = asked.head.method === 'CONNECT' && head.status >= 200 && head.status < 300;
    if (head.status === 101) checkSwitch(asked.head.upgrade, head.fields);
    this.#reading.clear();
    const { resolve, sent } = asked;
    if (tunnel || head.status === 101) {
      resolve({ head, body: NO_BODY, sent, upgraded: this.#handOver() });
      return;
    }
    this.#keepAlive &&= head.keepAlive;
    const said = announced(head.fields);
    if (said !== undefined) {
      this.#kept = said.ms;
      this.#keepAlive &&= said.more > 0;
    }
    if (!hasBody(head.framing)) {
      this.#ended();
      resolve({ head, body: NO_BODY, sent, upgraded: undefined });
      return;
    }
    this.#state = 'receiving';
    this.#body = new IncomingBody(head.framing, this.#input, this, this.#limits);
    resolve({ head, body: this.#body, sent, upgraded: undefined });
  }

  #handOver(): HandedOver {
    this.#state = 'handed-over';
    this.socket.pause();
    this.socket.off('data', this.#onData).off('end', this.#onEnd).off('drain', this.#onDrain);
    this.socket.off('error', this.#onError).off('close', this.#onClose);
    this.#release();
    return { socket: this.socket, early: this.#input.takeAll() };
  }

  /** The answer is complete. */
  #ended(): void {
    const upload = this.#upload;
    this.#upload = undefined;
    this.#served++;
    this.#state = 'idle';
    this.#release();
    this.#reading.clear();
    this.idleSince = this.#clock.monotonic();
    if (upload !== undefined) {
      const early = new Fault('aborted', 'the upstream answered before the request was sent');
      upload.cancel(early);
      this.#fail(early);
    } else if (this.#input.unread > 0)
      this.#fail(malformed(RESPONSE, 'bytes after the end of the answer'));
    else if (!this.#keepAlive || this.#input.ended) {
      if (this.#keepAlive) this.#early();
      this.#fail(cut('the upstream ended the connection after its answer'));
    } else this.#input.resume();
  }
}

const SENT = Promise.resolve();

function checkBody({ framing }: OutgoingRequest, body: Buffer | Body | undefined): void {
  const said = framing.kind === 'length' ? framing.length : 0;
  if (
    body === undefined
      ? hasBody(framing)
      : Buffer.isBuffer(body) && (framing.kind === 'chunked' || said !== body.length)
  ) {
    throw new TypeError('the body given and the framing said do not fit');
  }
}

/** RFC 9110 section 7.8: only the protocol that was asked for. */
function checkSwitch(asked: string | undefined, fields: Fields): void {
  if (asked === undefined || fieldOf(fields, 'upgrade')?.toLowerCase() !== asked.toLowerCase()) {
    throw malformed(RESPONSE, 'it switches to a protocol that was not asked for');
  }
}

const cut = (message: string): Fault => new Fault('upstream-cut', message);

function timeout(message: string): Fault {
  return new Fault('upstream-timeout', message, { hint: 'look at the upstream' });
}

const overHead = (most: number): Fault => longHead(RESPONSE, most);
