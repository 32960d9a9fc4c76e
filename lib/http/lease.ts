/** The lease of a pooled connection, which is released exactly once. */
import type { ClientConnection } from './client.ts';

/** The right to use one connection for one exchange. */
export interface Lease<T> {
  readonly connection: ClientConnection;
  readonly info: T;
  /** Not used before. */
  readonly fresh: boolean;
  /**
   * Returns the connection to its pool, which keeps it only if its exchange is complete. A
   * TypeError the second time.
   */
  release(): void;
  /** Destroys the connection and returns it. A TypeError the second time. */
  discard(reason: Error): void;
}
