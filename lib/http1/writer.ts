/**
 * What a connection sends: heads and small bodies in one write, chunks framed in one write, the
 * full records of one turn of the event loop in few writes, and no more taken from a body while the
 * socket is full.
 */
import type { Duplex } from 'node:stream';

import { Fault } from '../base/fault.ts';
import type { Body } from '../http/message.ts';
import type { SendFraming } from './serialise.ts';
import { trailerText } from './serialise.ts';

/** Up to here copying into one write is cheaper than writing twice. */
const JOIN_BYTES = 16_384;
/**
 * A piece from here on is likely one of many that come in the same turn (full TLS records): it
 * waits for them, until the turn ends or there are so many bytes.
 */
const BULK_BYTES = 8192;
const BURST_BYTES = 49_152;

export interface Sending {
  readonly framing: SendFraming;
  readonly trailers: boolean;
}

/** How far a body is sent: what goes before its next piece, how much has gone, and that piece. */
interface Progress {
  pending: string;
  total: number;
  piece: Buffer | 'end' | 'later';
}

type Wait = 'body' | 'socket';

export class Writer {
  readonly socket: Duplex;
  /** Bytes handed to the socket in all. */
  sent = 0;
  readonly #full: (full: boolean) => void;
  /** Bytes that wait for the end of the turn, and whether something looks after them then. */
  #held = 0;
  #flushing = false;
  #fault: Fault | undefined;
  #waiter: { resolve(): void; reject(reason: Fault): void } | undefined;
  #body: Body | undefined;

  /** `full` is told when a write waits for the peer to read, and when it no longer does. */
  constructor(socket: Duplex, full: (full: boolean) => void) {
    this.socket = socket;
    this.#full = full;
  }

  /**
   * Text of bytes (latin1). False: wait for `drained` before more. Throws the Fault that ended the
   * connection.
   */
  text(text: string): boolean {
    if (this.#fault !== undefined) throw this.#fault;
    this.sent += text.length;
    return this.socket.write(text, 'latin1');
  }

  /** A head, or a chunk's size, with the bytes after it. */
  joined(before: string, bytes: Buffer, after = ''): boolean {
    if (bytes.length <= JOIN_BYTES) return this.text(before + bytes.toString('latin1') + after);
    if (this.#fault !== undefined) throw this.#fault;
    this.sent += before.length + bytes.length + after.length;
    this.socket.cork();
    if (before !== '') this.socket.write(before, 'latin1');
    let more = this.socket.write(bytes);
    if (after !== '') more = this.socket.write(after, 'latin1');
    this.socket.uncork();
    return more;
  }

  #bytes(bytes: Buffer, sent?: (failure?: Error | null) => void): boolean {
    if (this.#fault !== undefined) throw this.#fault;
    this.sent += bytes.length;
    if (bytes.length < BULK_BYTES && this.#held === 0) return this.socket.write(bytes, sent);
    if (this.#held === 0) this.socket.cork();
    const more = this.socket.write(bytes, sent);
    this.#held += bytes.length;
    if (!more || this.#held >= BURST_BYTES) this.#flush();
    else if (!this.#flushing) {
      this.#flushing = true;
      setImmediate(this.#endOfTurn);
    }
    return more;
  }

  readonly #endOfTurn = (): void => {
    this.#flushing = false;
    this.#flush();
  };

  #flush(): void {
    if (this.#held === 0) return;
    this.#held = 0;
    this.socket.uncork();
  }

  /** Settles when the socket takes more; rejects with why it will not. */
  async drained(): Promise<void> {
    if (this.#fault !== undefined) throw this.#fault;
    if (!this.socket.writableNeedDrain) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiter = { resolve, reject };
    this.#full(true);
    try {
      await promise;
    } finally {
      this.#full(false);
    }
  }

  /** To be called at the socket's 'drain'. */
  wake(): void {
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.resolve();
  }

  /** Nothing more can be sent; the body being sent is cancelled. The first reason stays. */
  fail(reason: Fault): void {
    this.#fault ??= reason;
    this.#body?.cancel(this.#fault);
    const waiter = this.#waiter;
    this.#waiter = undefined;
    waiter?.reject(this.#fault);
  }

  /**
   * Sends a head and all of a body after it. Looks one piece ahead, so that a small body that is at
   * hand leaves in one write with its head, and at once: then there is nothing to wait for, and
   * undefined is returned. Throws or rejects with the Fault that cut the body or the connection.
   */
  send(head: string, body: Body, sending: Sending): Promise<void> | undefined {
    const progress: Progress = { pending: head, total: 0, piece: body.poll() };
    const wait = this.#atHand(body, sending, progress);
    return wait === undefined ? undefined : this.#rest(body, sending, { ...progress, wait });
  }

  /**
   * Sends what is at hand. What must be waited for before there is more, or undefined when all is
   * sent.
   */
  #atHand(body: Body, sending: Sending, progress: Progress): Wait | undefined {
    const { framing } = sending;
    while (progress.piece !== 'end') {
      const { pending, piece } = progress;
      progress.pending = '';
      if (piece === 'later') {
        if (pending !== '') this.text(pending);
        return 'body';
      }
      progress.total += piece.length;
      if (typeof framing === 'number' && progress.total > framing) throw lengthFault(framing);
      progress.piece = body.poll();
      const ended = progress.piece === 'end';
      const after = ended ? lastChunk(body, sending) : '';
      const bare = pending === '' && after === '' && framing !== 'chunked';
      const more = bare
        ? this.#bytes(piece, spending(body, piece))
        : this.#piece(pending, piece, after, sending);
      if (ended) return endAt(progress.total, framing);
      if (!more) return 'socket';
    }
    this.text(progress.pending + lastChunk(body, sending));
    return endAt(progress.total, framing);
  }

  async #rest(
    body: Body,
    sending: Sending,
    progress: Progress & { readonly wait: Wait },
  ): Promise<void> {
    this.#body = body;
    try {
      for (let wait: Wait | undefined = progress.wait; wait !== undefined;) {
        if (wait === 'socket') await this.drained();
        else {
          await body.ready();
          progress.piece = body.poll();
        }
        wait = this.#atHand(body, sending, progress);
      }
    } finally {
      this.#body = undefined;
    }
  }

  #piece(before: string, piece: Buffer, after: string, { framing }: Sending): boolean {
    // An empty chunk would be the last one.
    if (framing !== 'chunked' || piece.length === 0) return this.joined(before, piece, after);
    return this.joined(`${before}${piece.length.toString(16)}\r\n`, piece, `\r\n${after}`);
  }
}

/** Tells a body that wants to know when a piece of it has been sent. */
function spending(body: Body, piece: Buffer): ((failure?: Error | null) => void) | undefined {
  if (body.spent === undefined) return undefined;
  return (failure) => {
    if (failure === undefined || failure === null) body.spent?.(piece);
  };
}

function lastChunk(body: Body, { framing, trailers }: Sending): string {
  if (framing !== 'chunked') return '';
  return trailers ? `0\r\n${trailerText(body.trailers())}` : '0\r\n\r\n';
}

function endAt(total: number, framing: SendFraming): undefined {
  if (typeof framing === 'number' && total !== framing) throw lengthFault(framing);
}

function lengthFault(length: number): Fault {
  return new Fault('internal', `the body to send is not as long as was said: ${length} bytes`);
}
