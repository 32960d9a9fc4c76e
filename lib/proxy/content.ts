/** Content of a request that is read whole before the decision, because it is part of what somebody approves. */
import { Fault } from '../base/fault.ts';
import type { ServerExchange } from '../http1/exchange.ts';
import type { Content } from '../policy/facts.ts';
import { contentDigest } from '../policy/parameters.ts';
import { bodyTooLarge } from './counted.ts';
import type { Exchange } from './exchange.ts';
import type { Unread } from './handle.ts';
import { wholeBody } from './mcp.ts';

/** @throws Fault `body-too-large` past the destination's own limit, `too-many`, `request-timeout` */
export async function contentOf(
  x: ServerExchange,
  exchange: Exchange,
  { destination, most, now }: Unread & { readonly now: number },
): Promise<Content | 'long'> {
  const { share } = exchange;
  if (share === undefined) throw new TypeError('an exchange that is nowhere counted');
  exchange.enter('message', destination.timeouts.message, now);
  if (x.head.expectContinue) x.inform(100, []);
  const limit = destination.limits.body ?? Infinity;
  const tooLong = new Fault('body-too-large', `the content is longer than ${most} bytes`);
  const tooLarge = (): Fault => (limit <= most ? bodyTooLarge(limit) : tooLong);
  const counted = (bytes: number): void => void (exchange.sent += bytes);
  try {
    const bytes = await wholeBody(x.body, { most: Math.min(most, limit), counted, tooLarge, held: share.held });
    return { bytes, digest: contentDigest(bytes) };
  } catch (failure) {
    if (failure === tooLong) return 'long';
    throw failure;
  }
}
