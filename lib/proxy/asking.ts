/** What a request is while it is carried: what is asked, by which connection, and how it is answered. */
import type { ClientResponse } from '../http1/client.ts';
import type { Fields } from '../http1/message.ts';
import type { CountedBody } from './counted.ts';
import type { Described } from './describe.ts';
import type { Loan } from './upstreams.ts';

export const NO_FIELDS: Fields = Object.freeze([]);

export interface Asked {
  readonly described: Described;
  /** As it comes, or read whole because it was judged. */
  readonly body: CountedBody | Buffer | undefined;
}

export interface Asking {
  readonly loan: Loan;
  readonly response: ClientResponse;
  readonly accept: string;
}

export interface Switch {
  readonly described: Described;
  readonly accept: string;
}
