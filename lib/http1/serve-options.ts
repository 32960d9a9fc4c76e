/** What a connection of HTTP/1.1 is served with. */
import type { Clock } from '../base/clock.ts';
import type { Fault } from '../base/fault.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { OutgoingResponse } from '../http/message.ts';
import type { Connection, HandedOver, ServerExchange } from '../http/server-exchange.ts';

export interface ServeOptions {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  /**
   * Once aborted, idle connections are closed and each answer is the last of its connection;
   * `lastCall`: that alone.
   */
  readonly draining: AbortSignal;
  readonly lastCall?: AbortSignal | undefined;
  /**
   * Called once a request. A rejection before an answer is answered by `refuse`; after it, it
   * resets the connection.
   */
  handle(exchange: ServerExchange): Promise<void>;
  /** The answer to a request that could not be parsed or handled, the last of its connection. */
  refuse(
    fault: Fault,
    connection: Connection,
  ): { readonly head: OutgoingResponse; readonly body: Buffer };
  /**
   * Takes a connection over that begins with the preface of HTTP/2 (RFC 9113 section 3.4); without
   * it such a connection is malformed.
   */
  preface?(handed: HandedOver): void;
}
