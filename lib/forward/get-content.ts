/**
 * Content on a GET, for which HTTP has no meaning (RFC 9110 section 9.3.1): some servers take it
 * for the begin of the next request on its connection.
 */
import { Fault } from '../base/fault.ts';
import type { Destination } from '../policy/model/destination.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/model/policy.ts';
import { hasContentOnGet } from '../policy/protocols/http.ts';

/**
 * Whether it is a GET with content that a rule of its destination may allow; throws a Fault
 * `malformed` where none could. `endpoint`: the request is a message of MCP.
 */
export function mayHaveContentOnGet(
  { host, port, http }: Facts,
  policy: Policy,
  endpoint: Destination | undefined,
): boolean {
  if (http === undefined || !hasContentOnGet(http)) return false;
  const rules = endpoint === undefined ? (policy.find(host, port)?.rules ?? []) : [];
  if (rules.some((rule) => rule.http?.contentOnGet === true)) return true;
  throw new Fault('malformed', 'the request head is malformed: GET with a body', {
    hint: 'send it as POST, or write contentOnGet: allow in the http of a rule',
  });
}
