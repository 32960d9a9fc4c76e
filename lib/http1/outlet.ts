/**
 * What a connection sends: heads and small bodies in one write, chunks framed in one write, and no more taken from a body while the socket is full.
 */
import type { Duplex } from 'node:stream';

import { Fault } from '../base/fault.ts';
import type { Body } from './message.ts';
import type { SendFraming } from './serialise.ts';
import { trailerText } from './serialise.ts';

/** Up to here copying into one write is cheaper than writing twice. */
const JOIN_BYTES = 16_384;

export interface Sending {
  readonly framing: SendFraming;
  readonly trailers: boolean;
}

export class Outlet {
  readonly socket: Duplex;
  /** Bytes handed to the socket in all. */
  sent = 0;
  readonly #full: (full: boolean) => void;
  #fault: Fault | undefined;
  #waiter: { resolve(): void; reject(reason: Fault): void } | undefined;
  #body: Body | undefined;

  /** `full` is told when a write waits for the peer to read, and when it no longer does. */
  constructor(socket: Duplex, full: (full: boolean) => void) {
    this.socket = socket;
    this.#full = full;
  }

  /** Text of bytes (latin1). False: wait for `drained` before more. Throws the Fault that ended the connection. */
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
   * Sends a head and all of a body after it. Looks one piece ahead, so that a small body that is at hand leaves in one write with its head.
   * Rejects with the Fault that cut the body or the connection.
   */
  async send(head: string, body: Body, sending: Sending): Promise<void> {
    this.#body = body;
    try {
      await this.#pump(head, body, sending);
    } finally {
      this.#body = undefined;
    }
  }

  async #pump(head: string, body: Body, sending: Sending): Promise<void> {
    let pending = head;
    let total = 0;
    let piece = body.poll();
    while (piece !== 'end') {
      if (piece === 'later') {
        if (pending !== '') this.text(pending);
        pending = '';
        await body.ready();
        piece = body.poll();
        continue;
      }
      total += piece.length;
      if (typeof sending.framing === 'number' && total > sending.framing) throw lengthFault(sending.framing);
      const next = body.poll();
      const more = this.#piece(pending, piece, next === 'end' ? lastChunk(body, sending) : '', sending);
      pending = '';
      if (next === 'end') return endAt(total, sending.framing);
      if (!more) await this.drained();
      piece = next;
    }
    this.text(pending + lastChunk(body, sending));
    return endAt(total, sending.framing);
  }

  #piece(before: string, piece: Buffer, after: string, { framing }: Sending): boolean {
    // An empty chunk would be the last one.
    if (framing !== 'chunked' || piece.length === 0) return this.joined(before, piece, after);
    return this.joined(`${before}${piece.length.toString(16)}\r\n`, piece, `\r\n${after}`);
  }
}

function lastChunk(body: Body, { framing, trailers }: Sending): string {
  if (framing !== 'chunked') return '';
  return trailers ? `0\r\n${trailerText(body.trailers())}` : '0\r\n\r\n';
}

function endAt(total: number, framing: SendFraming): void {
  if (typeof framing === 'number' && total !== framing) throw lengthFault(framing);
}

function lengthFault(length: number): Fault {
  return new Fault('internal', `the body to send is not as long as was said: ${length} bytes`);
}
