/** A request from a client that waits for its answer, whichever version of HTTP it came by. */
import type { Duplex } from 'node:stream';
import type { Fault } from '../base/fault.ts';
import type { Body, Fields, OutgoingResponse, RequestHead } from './message.ts';

/** A transport connection from a client. */
export interface Connection {
  /** Unique in the process. */
  readonly id: number;
  /** `address:port` of the client; empty where the transport has none. */
  readonly remote: string;
  readonly local: string;
  /** Of HTTP. In HTTP/2 each stream is a connection of its own here. */
  readonly major: 1 | 2;
  /**
   * Aborts with a Fault (client-gone, request-timeout) when the transport has ended, or the client
   * has ended its side and owes part of a request.
   */
  readonly signal: AbortSignal;
  /** The client has ended its side, or has given the request up: nothing is done for it anew. */
  readonly gone: boolean;
  /**
   * How long the body of the request under way may pause while it is waited for, in milliseconds;
   * set anew for each request.
   */
  bodyPause: number;
  /** Bytes of HTTP, after TLS. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
  /**
   * For the request under way: a client that ends its side has gone, and `signal` says so. Without
   * it such a client still gets its answer (RFC 9112 section 9.6), and that it went away while a
   * stream is silent is not noticed.
   */
  untilEnd(): void;
}

/**
 * From here on raw bytes: all listeners of ours are off, the socket is paused, `early` was received
 * already. Listen for 'error' in the same turn, then resume.
 */
export interface HandedOver {
  readonly socket: Duplex;
  readonly early: Buffer;
}

/**
 * A request that waits for its answer. Misuse (two answers, 1xx after the answer, a length that is
 * not so) is a TypeError.
 */
export interface ServerExchange {
  readonly head: RequestHead;
  readonly body: Body;
  readonly connection: Connection;
  /** Whether the head of the answer was sent. */
  readonly answered: boolean;
  /** An interim answer, 100 included; HTTP/1.0 clients get none (RFC 9110 section 15.2). */
  inform(status: number, fields: Fields): void;
  /**
   * Settles when the last byte was handed to the socket and the socket is not full. A body that is
   * cut cuts the connection, so that a cut looks cut, and rejects with the body's Fault; a client
   * that is gone cancels the body and rejects with 'client-gone'.
   */
  respond(head: OutgoingResponse, body?: Buffer | Body): Promise<void>;
  /**
   * Resets the connection. `trailers` are said first, where the answer has begun, is not complete,
   * and HTTP/2 carries it; otherwise they are not asked for.
   */
  abort(reason: Fault, trailers?: () => Fields): void;
  /**
   * Answers 101, or 2xx to CONNECT, and hands the socket over. A TypeError where the request has a
   * body.
   */
  upgrade(head: OutgoingResponse): HandedOver;
}
