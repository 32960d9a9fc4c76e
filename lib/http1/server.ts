/**
 * The server's side of a connection, over the states of server-state.ts. Requests are answered in
 * order, one at a time; what is sent ahead waits in the socket. A connection that we close lingers
 * (linger.ts).
 */
import type { Duplex } from 'node:stream';
import { Fault } from '../base/fault.ts';
import { timeHint } from '../http/limits.ts';
import { type RequestHead, fieldOf } from '../http/message.ts';
import type { HandedOver } from '../http/server-exchange.ts';
import { IncomingBody, hasBody } from './body.ts';
import { Exchange } from './exchange.ts';
import { parseRequestHead } from './head.ts';
import { Linger } from './linger.ts';
import { prefaceIn, takeBlankLine, takeRequestHead } from './request-head.ts';
import { responseText } from './serialise.ts';
import type { ServeOptions } from './serve-options.ts';
import { type LineOwner, ServerLine } from './server-line.ts';
import {
  AWAITING_HEAD,
  AWAITING_PREFACE,
  type ServerEvent,
  type ServerState,
  isSettled,
  next,
} from './server-state.ts';
import { Transport, type TransportOwner } from './transport.ts';

/**
 * Serves a connection, half-open allowed, until it is closed or handed over; never rejects. The
 * socket must not have been read from.
 */
export function serveConnection(socket: Duplex, options: ServeOptions): Promise<void> {
  return new Promise((resolve) => new ServerConnection(socket, options, resolve).start());
}

class ServerConnection implements LineOwner, TransportOwner {
  readonly #options: ServeOptions;
  readonly #done: () => void;
  readonly #transport: Transport;
  readonly #linger: Linger;
  readonly #line: ServerLine;
  readonly #parse: (text: string) => RequestHead | undefined;
  #state: ServerState;
  #exchange: Exchange | undefined;

  constructor(socket: Duplex, options: ServeOptions, done: () => void) {
    const { limits, clock } = options;
    this.#options = options;
    this.#done = done;
    this.#transport = new Transport(socket, this, limits, clock);
    this.#line = new ServerLine(this.#transport, this);
    this.#linger = new Linger(this.#transport, limits);
    this.#parse = (text) => parseRequestHead(text, limits);
    this.#state = options.preface === undefined ? AWAITING_HEAD : AWAITING_PREFACE;
  }

  get closing(): boolean {
    return this.#options.draining.aborted || this.#options.lastCall?.aborted === true;
  }

  start(): void {
    const { draining, limits } = this.#options;
    this.#transport.start();
    draining.addEventListener('abort', this.#onDraining);
    this.#transport.reading.set(limits.keepAliveMs);
    if (this.#transport.socket.destroyed) this.onClosed();
    else if (draining.aborted) this.#close();
  }

  onAnswered(last: boolean): void {
    this.#apply(last ? 'answered-last' : 'answered');
    this.#settle();
  }

  onUpgrade(): HandedOver {
    this.#apply('hand-over');
    const handed = this.#transport.handOver();
    this.#release();
    return handed;
  }

  onAbortOnEnd(): void {
    this.#apply('abort-on-end');
    if (this.#transport.input.ended) this.#line.abort(endedEarly('the answer'));
    else this.#transport.input.resume();
  }

  onReceived(): void {
    const state = this.#state;
    if (state.kind === 'busy') {
      if (this.#line.body?.wake() !== true) this.#transport.input.pause();
    } else if (state.kind === 'skipping') this.#settle();
    else if (state.kind !== 'idle') this.#linger.discard();
    else if (state.awaiting === 'preface') this.#readPreface();
    else this.#read();
  }

  onEnded(): void {
    const state = this.#state;
    if (state.kind === 'idle') this.#read();
    else if (state.kind === 'skipping') this.#close();
    else if (state.kind !== 'busy') return;
    else if (this.#line.body !== undefined && !this.#line.body.atHand) {
      const fault = endedEarly('its request');
      this.#line.body.fail(fault);
      this.#line.abort(fault);
    } else if (state.abortOnEnd) this.#line.abort(endedEarly('the answer'));
  }

  onFailed(cause: Error): void {
    this.#line.fail(new Fault('client-gone', 'the connection from the client failed', { cause }));
  }

  onClosed(): void {
    this.#line.fail(new Fault('client-gone', 'the client closed the connection'));
    this.#apply('close');
    this.#transport.stop();
    this.#release();
  }

  onWriteTimeout(): void {
    this.#line.reset(stalled('writeTimeout', 'the client does not read what it asked for'));
  }

  onReadTimeout(): void {
    const { kind } = this.#state;
    if (kind === 'lingering') this.#transport.socket.destroy();
    else if (kind === 'busy')
      this.#line.body?.fail(stalled('bodyTimeout', 'the request body stopped coming'));
    else if (kind === 'idle' && this.#transport.input.unread > 0)
      this.#refuse(stalled('headersTimeout', 'the request head did not come in time'));
    else this.#close();
  }

  readonly #onDraining = (): void => {
    if (this.#state.kind === 'idle' && this.#transport.input.unread === 0) this.#close();
  };

  #apply(event: ServerEvent): void {
    this.#state = next(this.#state, event);
  }

  #release(): void {
    this.#options.draining.removeEventListener('abort', this.#onDraining);
    this.#done();
  }

  #readPreface(): void {
    const found = prefaceIn(this.#transport.input);
    if (found === 'whole') this.#options.preface?.(this.onUpgrade());
    else if (found === 'part') this.#awaitRest();
    else {
      this.#apply('not-preface');
      this.#read();
    }
  }

  /** A head has begun: its time runs. */
  #awaitRest(): void {
    if (this.#state.kind !== 'idle' || this.#state.partial) return;
    this.#apply('part');
    this.#transport.reading.set(this.#options.limits.headMs);
  }

  #read(): void {
    const { input } = this.#transport;
    if (this.#state.kind === 'idle' && !this.#state.blankLine) {
      const blank = takeBlankLine(input);
      if (blank === 'part') return;
      if (blank === 'taken') this.#apply('blank-line');
    }
    let head: RequestHead | undefined;
    try {
      head = takeRequestHead(input, this.#parse, this.#options.limits.headBytes);
    } catch (failure) {
      this.#refuse(Fault.from(failure, 'internal'));
      return;
    }
    if (head !== undefined) this.#begin(head);
    else if (input.ended) this.#close();
    else if (input.unread > 0) this.#awaitRest();
  }

  #begin(head: RequestHead): void {
    const { limits } = this.#options;
    const { input, reading } = this.#transport;
    this.#apply('head');
    reading.clear();
    this.#line.body = hasBody(head.framing)
      ? new IncomingBody(head.framing, input, this.#line, limits)
      : undefined;
    this.#line.bodyPause = limits.bodyIdleMs;
    this.#exchange = new Exchange(head, this.#line.body, this.#line);
    try {
      this.#options.handle(this.#exchange).then(this.#onHandled, this.#onRejected);
    } catch (failure) {
      this.#onRejected(failure);
    }
  }

  readonly #onHandled = (): void => {
    this.#apply('handled');
    if (this.#exchange?.answered === true) this.#settle();
    else this.#refuse(new Fault('internal', 'the request was handled without an answer'));
  };

  readonly #onRejected = (failure: unknown): void => {
    const fault = Fault.from(failure, 'internal');
    this.#apply('handled');
    if (this.#exchange?.answered !== true) this.#refuse(fault);
    else if (isSettled(this.#state)) this.#settle();
    else this.#line.reset(fault);
  };

  /** Goes on to the next request once the answer is sent and the handler has settled. */
  #settle(): void {
    const state = this.#state;
    if (!isSettled(state)) return;
    const { input, reading } = this.#transport;
    const body = this.#line.body;
    if (body !== undefined && !body.complete && (body.short || body.atHand)) body.skip();
    const last = (state.kind === 'busy' && state.answer === 'sent-last') || this.#line.aborted;
    if (body?.complete === false && body.short && !last && !input.ended) {
      this.#skip();
      return;
    }
    // Bytes after a refused upgrade may be of the other protocol already (RFC 9931).
    const optimistic = input.unread > 0 && body === undefined && asksUpgrade(this.#exchange);
    this.#exchange = this.#line.body = undefined;
    const over = last || optimistic || body?.complete === false;
    if (over || (this.closing && input.unread === 0)) {
      this.#close();
      return;
    }
    this.#apply('next');
    reading.set(this.#options.limits.keepAliveMs);
    if (input.unread > 0 || input.ended) this.#read();
    if (this.#state.kind === 'idle') input.resume();
  }

  #skip(): void {
    const { input, reading } = this.#transport;
    if (this.#state.kind !== 'skipping') reading.set(this.#options.limits.lingerMs);
    this.#apply('skip');
    input.resume();
  }

  #refuse(fault: Fault): void {
    try {
      const { head, body } = this.#options.refuse(fault, this.#line);
      this.#line.output.joined(responseText(head, body.length, true), body);
    } catch (failure) {
      this.#line.reset(Fault.from(failure, 'internal'));
      return;
    }
    this.#line.body?.fail(fault);
    this.#exchange = this.#line.body = undefined;
    this.#close();
  }

  #close(): void {
    if (this.#transport.socket.destroyed) return;
    this.#apply('linger');
    this.#linger.start();
  }
}

function asksUpgrade(exchange: Exchange | undefined): boolean {
  return exchange !== undefined && fieldOf(exchange.head.fields, 'upgrade') !== undefined;
}

function endedEarly(unfinished: string): Fault {
  return new Fault(
    'client-gone',
    `the client ended the connection before ${unfinished} was complete`,
  );
}

function stalled(setting: Parameters<typeof timeHint>[0], problem: string): Fault {
  return new Fault(
    setting === 'writeTimeout' ? 'client-gone' : 'request-timeout',
    problem,
    timeHint(setting),
  );
}
