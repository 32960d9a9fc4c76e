/**
 * The values of HTTP/1.1 messages (RFC 9112), shared by parser, serialiser, connections and their
 * users.
 */

/**
 * Field lines in order: name, value, name, value …; names lower-case, values without surrounding
 * white space (RFC 9110 section 5).
 */
export type Fields = readonly string[];

/** How a body's end is known (RFC 9112 section 6.3), decided once by the parser. */
export type Framing =
  | { readonly kind: 'none' }
  | { readonly kind: 'length'; readonly length: number }
  | { readonly kind: 'chunked' }
  | { readonly kind: 'until-close' };

/**
 * A received request head. `fields` still holds all lines received, those of framing and hop-by-hop
 * ones too.
 */
export interface RequestHead {
  readonly method: string;
  /** The request target as received (RFC 9112 section 3.2); judged elsewhere. */
  readonly target: string;
  readonly minor: 0 | 1;
  readonly fields: Fields;
  readonly framing: Framing;
  /** Whether the client can take another answer on this connection (RFC 9112 section 9.3). */
  readonly keepAlive: boolean;
  /**
   * Whether the client waits for `100` before it sends the body (RFC 9110 section 10.1.1); false
   * where there is no body.
   */
  readonly expectContinue: boolean;
}

export interface ResponseHead {
  readonly status: number;
  readonly reason: string;
  readonly minor: 0 | 1;
  readonly fields: Fields;
  readonly framing: Framing;
  /** Whether the server can take another request on this connection (RFC 9112 section 9.3). */
  readonly keepAlive: boolean;
}

/**
 * A head to be sent. `fields` must hold no content-length, transfer-encoding, connection,
 * keep-alive or upgrade: the serialiser writes those from `framing`, `close` and `upgrade` (a
 * TypeError otherwise), so that framing said and framing done cannot differ.
 */
export interface OutgoingRequest {
  readonly method: string;
  readonly target: string;
  readonly fields: Fields;
  readonly framing: Framing;
  /** `connection: upgrade` and `upgrade: <token>` are written when set. */
  readonly upgrade?: string;
  /**
   * Send the body's trailer fields on, where the body is chunked; otherwise they are dropped (RFC
   * 9110 section 6.5.1).
   */
  readonly trailers?: boolean;
}

export interface OutgoingResponse {
  readonly status: number;
  /** In place of the usual words of the status line: printable ASCII (RFC 9112 section 4). */
  readonly reason?: string;
  readonly fields: Fields;
  /**
   * Length of the body, or undefined when it is not known (chunked for 1.1, until close for 1.0);
   * ignored where a status has no body.
   */
  readonly length: number | undefined;
  /** Close the connection after this answer. */
  readonly close?: boolean;
  readonly upgrade?: string;
  /**
   * Send the body's trailer fields on, where the body is chunked; otherwise they are dropped (RFC
   * 9110 section 6.5.1).
   */
  readonly trailers?: boolean;
}

/**
 * A body being received. Pull with `poll`, wait with `ready`; what is not pulled stops the socket
 * from being read (bounded buffering). No stream objects, no event listeners.
 */
export interface Body {
  /** Bytes in all, when known beforehand. */
  readonly length: number | undefined;
  /**
   * Bytes at hand; 'end' once complete; 'later' when there is nothing yet. Throws the Fault that
   * cut the body.
   */
  poll(): Buffer | 'end' | 'later';
  /**
   * Settles when `poll` has something to say again; rejects with the Fault that cut the body. One
   * waiter at a time.
   */
  ready(): Promise<void>;
  /** Trailer fields, after 'end'. */
  trailers(): Fields;
  /** Told by who sends the body that a piece has been sent and is not needed any more. */
  spent?(piece: Buffer): void;
  /**
   * No longer wanted: the connection that carries it will not be used again unless the body is
   * already complete.
   */
  cancel(reason: Error): void;
}

/** First value of a field, or undefined. */
export function fieldOf(fields: Fields, name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}

/** All values of a field in order. */
export function fieldsOf(fields: Fields, name: string): readonly string[] {
  const values: string[] = [];
  for (let i = 0; i < fields.length; i += 2)
    if (fields[i] === name) values.push(fields[i + 1] ?? '');
  return values;
}
