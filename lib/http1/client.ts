/**
 * The client's side of a connection: one request at a time. States:
 *
 *   idle ──request──► waiting ──head──► receiving ──end of body──► idle
 *   waiting ──101, 2xx to CONNECT──► handed-over
 *   any ──error, cut, bytes nobody asked for──► closed
 *
 * After an answer that comes before the request is sent the rest is not sent, and the connection
 * is not used again. A connection that says anything while idle, or more than one answer, is
 * destroyed (RFC 9112 section 9.2).
 */
import type { Duplex } from 'node:stream';
import { type Clock, systemClock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { reasonOf } from '../base/signal.ts';
import type { ClientConnection, ClientResponse, RequestOptions } from '../http/client.ts';
import { unprocessed, unread, untouched } from '../http/failures.ts';
import { RESPONSE, longHead, malformed } from '../http/field-lines.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Body, OutgoingRequest, ResponseHead } from '../http/message.ts';
import type { HandedOver } from '../http/server-exchange.ts';
import { type BodyOwner, IncomingBody, NO_BODY, hasBody } from './body.ts';
import { parseResponseHead } from './head.ts';
import { KeepAlive } from './keep-alive.ts';
import { RequestSender, type SenderOwner, checkBody } from './request-sender.ts';
import { requestText } from './serialise.ts';
import { resetSocket } from './sockets.ts';
import { Transport, type TransportOwner } from './transport.ts';
import { checkSwitch } from './upgrade.ts';

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

class Client implements ClientConnection, BodyOwner, TransportOwner, SenderOwner {
  readonly socket: Duplex;
  readonly side = 'response';
  readonly #limits: HttpLimits;
  readonly #transport: Transport;
  readonly #sender: RequestSender;
  readonly #keepAlive: KeepAlive;
  #state: State = 'idle';
  #asked: Asked | undefined;
  #body: IncomingBody | undefined;
  #informs = 0;
  /** Received before this request was sent. */
  #before = 0;
  #reason: Fault | undefined;

  constructor(socket: Duplex, limits: HttpLimits, clock: Clock) {
    this.socket = socket;
    this.#limits = limits;
    this.#keepAlive = new KeepAlive(clock);
    this.#transport = new Transport(socket, this, limits, clock);
    this.#sender = new RequestSender(this.#transport, this);
    this.#transport.start();
    // One that another connection has handed over is paused.
    socket.resume();
  }

  get reusable(): boolean {
    if (this.#state !== 'idle' || this.#transport.input.ended || this.socket.destroyed)
      return false;
    return this.#keepAlive.lasts;
  }

  get idleSince(): number {
    return this.#keepAlive.idleSince;
  }

  get endedEarly(): boolean {
    return this.#keepAlive.endedEarly;
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
    this.#before = this.#transport.input.received;
    return new Promise((resolve, reject) => {
      signal?.addEventListener('abort', this.#onAbort);
      if (options.headMs !== undefined) this.#transport.reading.set(options.headMs);
      const sent = this.#sender.send(text, head, body);
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
    if (waiting && idle !== undefined) this.#transport.reading.set(idle);
    else this.#transport.reading.clear();
  }

  onReceived(): void {
    if (this.#state === 'waiting') this.#read();
    else if (this.#state === 'receiving') {
      if (this.#body?.wake() !== true) this.#transport.input.pause();
    } else if (this.#state === 'idle')
      this.#fail(malformed(RESPONSE, 'bytes that no request asked for'));
  }

  onEnded(): void {
    if (this.#state === 'receiving') this.#body?.wake();
    else
      this.#onLost(
        this.#sender.unsent ?? lost('the upstream closed the connection before it answered'),
      );
  }

  onFailed(cause: Error): void {
    this.#onLost(new Fault('upstream-cut', 'the connection to the upstream failed', { cause }));
  }

  onClosed(): void {
    this.#onLost(lost('the connection to the upstream was closed'));
  }

  onReadTimeout(): void {
    const hint = 'look at the upstream';
    this.#fail(new Fault('upstream-timeout', 'the upstream did not answer in time', { hint }));
  }

  onWriteTimeout(): void {
    this.#fail(unread());
  }

  /** The upstream has closed: what it said before is read, to its end. */
  onUnsent(fault: Fault): void {
    if (this.#state === 'closed') return;
    this.#keepAlive.forbid();
    this.#transport.input.broken = true;
    this.#transport.output.fail(fault);
    if (this.#state === 'waiting') this.#transport.reading.set(this.#limits.lingerMs);
  }

  onUploadFailed(fault: Fault): void {
    this.#fail(fault);
  }

  readonly #onAbort = (): void => {
    const signal = this.#asked?.options.signal;
    if (signal !== undefined) this.#fail(reasonOf(signal));
  };

  /** The server has ended the connection. An untouched request may be tried again. */
  #onLost(fault: Fault): void {
    const isUntouched =
      this.#state === 'waiting' &&
      this.#keepAlive.hasServed &&
      this.#transport.input.received === this.#before;
    if (this.#state === 'idle' || isUntouched) this.#keepAlive.ended();
    this.#fail(isUntouched ? untouched(fault) : fault);
  }

  #fail(reason: Fault): void {
    if (this.#state === 'closed' || this.#state === 'handed-over') return;
    const asked = this.#asked;
    const idle = this.#state === 'idle';
    this.#state = 'closed';
    this.#reason = reason;
    this.#release();
    this.#body?.fail(reason);
    this.#transport.output.fail(reason);
    if (idle) this.socket.destroy();
    else resetSocket(this.socket);
    asked?.reject(reason);
  }

  /** Ends what belongs to the exchange under way. */
  #release(): void {
    this.#asked?.options.signal?.removeEventListener('abort', this.#onAbort);
    this.#asked = undefined;
    if (this.#state === 'idle') return;
    this.#transport.stop();
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
    return this.#transport.input.takeBlock(this.#parse, this.#limits.headBytes, overHead);
  }

  readonly #parse = (text: string): ResponseHead | undefined =>
    parseResponseHead(text, this.#asked?.head.method ?? '', this.#limits);

  #answered(asked: Asked, head: ResponseHead): void {
    const tunnel = asked.head.method === 'CONNECT' && head.status >= 200 && head.status < 300;
    if (head.status === 101) checkSwitch(asked.head.upgrade, head.fields);
    this.#transport.reading.clear();
    const { resolve, sent } = asked;
    if (tunnel || head.status === 101) {
      resolve({ head, body: NO_BODY, sent, upgraded: this.#handOver() });
      return;
    }
    this.#keepAlive.answered(head);
    if (!hasBody(head.framing)) {
      this.#ended();
      resolve({ head, body: NO_BODY, sent, upgraded: undefined });
      return;
    }
    this.#state = 'receiving';
    this.#body = new IncomingBody(head.framing, this.#transport.input, this, this.#limits);
    resolve({ head, body: this.#body, sent, upgraded: undefined });
  }

  #handOver(): HandedOver {
    this.#state = 'handed-over';
    const handed = this.#transport.handOver();
    this.#release();
    return handed;
  }

  /** The answer is complete. */
  #ended(): void {
    const upload = this.#sender.stop();
    this.#state = 'idle';
    this.#release();
    this.#transport.reading.clear();
    this.#keepAlive.completed();
    if (upload !== undefined) {
      const early = new Fault('aborted', 'the upstream answered before the request was sent');
      upload.cancel(early);
      this.#fail(early);
    } else if (this.#transport.input.unread > 0)
      this.#fail(malformed(RESPONSE, 'bytes after the end of the answer'));
    else if (!this.#keepAlive.allowed || this.#transport.input.ended) {
      if (this.#keepAlive.allowed) this.#keepAlive.ended();
      this.#fail(lost('the upstream ended the connection after its answer'));
    } else this.#transport.input.resume();
  }
}

const lost = (message: string): Fault => new Fault('upstream-cut', message);

const overHead = (most: number): Fault => longHead(RESPONSE, most);
