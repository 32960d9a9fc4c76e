/** The lease of a connection that serves one exchange at a time. */
import type { ClientConnection } from '../http/client.ts';
import type { Lease } from '../http/lease.ts';

/** A pool as its leases see it. */
interface Lessor<S, M> {
  released(slot: S, member: M): void;
}

export class ConnectionLease<
  T,
  S,
  M extends Pick<Lease<T>, 'connection' | 'info'>,
> implements Lease<T> {
  readonly connection: ClientConnection;
  readonly info: T;
  readonly fresh: boolean;
  readonly #pool: Lessor<S, M>;
  readonly #slot: S;
  readonly #member: M;
  #released = false;

  constructor(pool: Lessor<S, M>, slot: S, member: M, fresh: boolean) {
    this.connection = member.connection;
    this.info = member.info;
    this.fresh = fresh;
    this.#pool = pool;
    this.#slot = slot;
    this.#member = member;
  }

  release(): void {
    this.#end();
    this.#pool.released(this.#slot, this.#member);
  }

  discard(reason: Error): void {
    this.#end();
    this.connection.destroy(reason);
    this.#pool.released(this.#slot, this.#member);
  }

  #end(): void {
    // Before anything is touched: another lease may hold the connection by now.
    if (this.#released) throw new TypeError('this lease was released already');
    this.#released = true;
  }
}
