/** The lease of a pooled connection, which is given back exactly once. */
import type { ClientConnection } from './client.ts';

/** The right to use one connection for one exchange. */
export interface Lease<T> {
  readonly connection: ClientConnection;
  readonly info: T;
  /** Not used before. */
  readonly fresh: boolean;
  /**
   * Gives the connection back; it is kept only if its exchange is complete. A TypeError the second
   * time.
   */
  release(): void;
  /** Gives it back destroyed. A TypeError the second time. */
  discard(reason: Error): void;
}

/** A pool, as what it lends sees it. */
interface Lender<S, M> {
  returned(slot: S, member: M): void;
}

export class Loan<T, S, M extends Pick<Lease<T>, 'connection' | 'info'>> implements Lease<T> {
  readonly connection: ClientConnection;
  readonly info: T;
  readonly fresh: boolean;
  readonly #pool: Lender<S, M>;
  readonly #slot: S;
  readonly #member: M;
  #returned = false;

  constructor(from: Lender<S, M>, slot: S, member: M, fresh: boolean) {
    this.connection = member.connection;
    this.info = member.info;
    this.fresh = fresh;
    this.#pool = from;
    this.#slot = slot;
    this.#member = member;
  }

  release(): void {
    this.#end();
    this.#pool.returned(this.#slot, this.#member);
  }

  discard(reason: Error): void {
    this.#end();
    this.connection.destroy(reason);
    this.#pool.returned(this.#slot, this.#member);
  }

  #end(): void {
    // Before anything is touched: the connection may be another's by now.
    if (this.#returned) throw new TypeError('this lease was given back already');
    this.#returned = true;
  }
}
