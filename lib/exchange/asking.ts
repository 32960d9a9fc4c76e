/**
 * What a request is while it is carried: what is asked, by which connection, and how it is
 * answered.
 */
import { Fault } from '../base/fault.ts';
import type { ClientResponse } from '../http/client.ts';
import type { Fields } from '../http/message.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Loan } from '../upstream/pools.ts';
import type { CountedBody } from './counted-body.ts';
import type { Described } from './describe.ts';

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

/**
 * @throws Fault where a policy that came since would have other fields sent than those that are
 *         about to be
 */
export function requireSame(sent: Facts, judged: Facts | undefined): void {
  const [one, other] = [sent.http, judged?.http];
  if (one === other || one === undefined || other === undefined) return;
  const { fields } = other;
  if (one.fields.length === fields.length && one.fields.every((text, i) => text === fields[i]))
    return;
  const reason = 'the policy changed, before the request was sent, which of its fields are';
  throw new Fault('no-longer-allowed', reason, { hint: 'send it again' });
}
