/**
 * A connection of HTTP/2 to an upstream, on the engine's node:http2: many requests at once, each a
 * stream of its own. It takes no more requests once the upstream said GOAWAY, once it is told to
 * close, or while its places are taken. A request that times out makes it prove that it is alive,
 * so that a dead connection does not swallow one request after another.
 */
import { type ClientHttp2Session, connect } from 'node:http2';
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { ClientResponse, RequestOptions } from '../http/client.ts';
import { unprocessed } from '../http/failures.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Body, OutgoingRequest } from '../http/message.ts';
import type { Http2Limits } from './limits.ts';
import { RequestStream, type Trunk } from './request.ts';

export interface ClientSessionOptions {
  readonly limits: HttpLimits;
  readonly http2: Http2Limits;
  readonly clock: Clock;
  readonly scheme: 'http' | 'https';
  /** Told when a place is free again, and when the session is closed. */
  readonly onChange: () => void;
}

/** The engine counts memory in these. */
const MEGABYTE = 1_000_000;

/** How long a connection has to answer a PING that a time out made doubtful, in milliseconds. */
const PROOF_MS = 5000;

export class ClientSession implements Trunk {
  readonly socket: Duplex;
  readonly limits: HttpLimits;
  readonly clock: Clock;
  last = Infinity;
  cause: Error | undefined;
  proven = false;
  idleSince: number;
  readonly #options: ClientSessionOptions;
  readonly #session: ClientHttp2Session;
  readonly #streams = new Set<RequestStream>();
  #state: 'open' | 'closing' | 'closed' = 'open';
  #proving = false;

  constructor(socket: Duplex, options: ClientSessionOptions) {
    const { limits, http2, clock, scheme } = options;
    this.socket = socket;
    this.limits = limits;
    this.clock = clock;
    this.idleSince = clock.monotonic();
    this.#options = options;
    const session = connect(`${scheme}://upstream`, {
      createConnection: () => socket,
      settings: {
        enablePush: false,
        initialWindowSize: http2.windowBytes,
        maxHeaderListSize: limits.headBytes,
      },
      maxHeaderListPairs: limits.fieldCount + 8,
      maxSendHeaderBlockLength: 4 * limits.headBytes,
      maxSessionMemory: http2.sessionBytes / MEGABYTE,
    });
    session.once('connect', () => session.setLocalWindowSize(http2.connectionWindowBytes));
    session.on('error', (cause: Error) => (this.cause ??= cause));
    session.on('goaway', this.#onGoaway);
    session.on('close', this.#onClose);
    // An upstream that has ended its side answers nothing more.
    if ('allowHalfOpen' in socket) socket.allowHalfOpen = false;
    socket.on('error', (cause: Error) => (this.cause ??= cause));
    this.#session = session;
  }

  get active(): number {
    return this.#streams.size;
  }

  /** Whether another request can be sent now. */
  get open(): boolean {
    return (
      this.#state === 'open' &&
      !this.#session.closed &&
      !this.#session.destroyed &&
      !this.socket.destroyed
    );
  }

  get full(): boolean {
    const theirs = this.#session.remoteSettings.maxConcurrentStreams ?? Infinity;
    return this.#streams.size >= Math.min(theirs, this.#options.http2.sessionStreams);
  }

  get closed(): boolean {
    return this.#state === 'closed';
  }

  /**
   * Sends a request; see `ClientConnection.request`. `begun` is told of the stream, by which the
   * request can be given up.
   */
  request(
    head: OutgoingRequest,
    body: Buffer | Body | undefined,
    options: RequestOptions,
  ): { readonly stream: RequestStream | undefined; readonly answer: Promise<ClientResponse> } {
    try {
      const raw = rawHead(head, this.#options.scheme);
      const stream = new RequestStream(
        this.#session.request(raw, { endStream: body === undefined }),
        head,
        {
          options,
          trunk: this,
        },
      );
      this.#streams.add(stream);
      stream.send(body);
      return { stream, answer: stream.answer };
    } catch (failure) {
      return { stream: undefined, answer: Promise.reject(asFault(failure)) };
    }
  }

  answered(): void {
    this.proven = true;
  }

  ended(stream: RequestStream): void {
    this.#streams.delete(stream);
    this.idleSince = this.clock.monotonic();
    if (this.#state === 'closing' && this.#streams.size === 0) this.#session.close();
    this.#options.onChange();
  }

  /** Takes no more requests and closes when those under way have ended. */
  close(): void {
    if (this.#state !== 'open') return;
    this.#state = 'closing';
    if (this.#streams.size === 0) this.#session.close();
  }

  destroy(reason: Fault): void {
    this.#state = 'closed';
    for (const stream of this.#streams) stream.destroy(reason);
    this.#session.destroy();
    this.socket.destroy();
  }

  /** Ends the connection unless it answers in time. */
  prove(): void {
    if (this.#proving || !this.open) return;
    this.#proving = true;
    const cancel = this.clock.after(PROOF_MS, () =>
      this.destroy(new Fault('upstream-cut', 'the connection to the upstream is dead')),
    );
    this.#session.ping(() => {
      this.#proving = false;
      cancel();
    });
  }

  readonly #onGoaway = (_code: number, last: number): void => {
    this.last = Math.min(this.last, last);
    if (this.#state === 'open') this.#state = 'closing';
  };

  readonly #onClose = (): void => {
    this.#state = 'closed';
    this.socket.destroy();
    this.#options.onChange();
  };
}

/**
 * The head as a list of fields, pseudo-headers first: Host becomes `:authority` (RFC 9113 section
 * 8.3.1), framing becomes Content-Length.
 */
function rawHead(
  { method, target, fields, framing, upgrade }: OutgoingRequest,
  scheme: string,
): string[] {
  if (upgrade !== undefined) throw new TypeError('nothing is upgraded over HTTP/2');
  const raw = [':method', method, ':scheme', scheme, ':authority', '', ':path', target];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    if (name === 'host') raw[5] = value;
    else raw.push(name, value);
  }
  if (framing.kind === 'length') raw.push('content-length', String(framing.length));
  return raw;
}

function asFault(failure: unknown): Fault {
  if (failure instanceof Fault) return failure;
  const code = failure instanceof Error && 'code' in failure ? String(failure.code) : '';
  if (code === 'ERR_HTTP2_HEADER_SINGLE_VALUE')
    return new Fault('ambiguous', 'a field appears more than once that HTTP/2 sends once', {
      cause: failure,
    });
  if (code.startsWith('ERR_HTTP2_GOAWAY') || code === 'ERR_HTTP2_INVALID_SESSION')
    return unprocessed('the connection to the upstream takes no more requests', failure);
  return Fault.from(failure, 'internal', 'the request cannot be sent over HTTP/2');
}
