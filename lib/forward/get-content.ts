/**
 * Content on a GET, for which HTTP has no meaning (RFC 9110 section 9.3.1): some servers take it
 * for the begin of the next request on its connection.
 */
import { Fault } from '../base/fault.ts';
import { type Destination, protocolOf } from '../policy/protocols/index.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { hasContentOnGet } from '../policy/protocols/http-rules.ts';

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
  const destination = endpoint === undefined ? policy.find(host, port) : undefined;
  if (destination && protocolOf(destination).mayAllowContentOnGet(destination.service)) return true;
  throw new Fault('malformed', 'the request head is malformed: GET with a body', {
    hint: 'send it as POST, or write contentOnGet: allow in the http of a rule',
  });
}
