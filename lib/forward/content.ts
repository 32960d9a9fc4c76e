/**
 * Content of a request that is read whole before the decision, because it is part of what somebody
 * approves.
 */
import { Fault } from '../base/fault.ts';
import { bodyTooLarge } from '../exchange/counted-body.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { Unread } from '../exchange/inbound.ts';
import type { Body } from '../http/message.ts';
import type { ServerExchange } from '../http/server-exchange.ts';
import { contentDigest } from '../policy/decision/call-digest.ts';
import type { Content } from '../policy/model/facts.ts';
import { MoreMessages, OneMessage } from './one-message.ts';
import { wholeBody } from './whole-body.ts';

/**
 * @param call the content is that of a gRPC call
 * @throws Fault `body-too-large` past the destination's own limit, `malformed`, `too-many`,
 *         `request-timeout`
 */
export async function contentOf(
  request: ServerExchange,
  exchange: Exchange,
  { destination, limit, now, call }: Unread & { readonly now: number; readonly call: boolean },
): Promise<Content | 'long' | 'streams'> {
  const { share } = exchange;
  exchange.enter('message', destination.timeouts.message, now);
  if (request.head.expectContinue) request.inform(100, []);
  const own = destination.limits.body ?? Infinity;
  const tooLong = new Fault('body-too-large', `the content is longer than ${limit} bytes`);
  const tooLarge = (): Fault => (own <= limit ? bodyTooLarge(own) : tooLong);
  const counted = (bytes: number): void => void (exchange.sent += bytes);
  const body: Body = call ? new OneMessage(request.body) : request.body;
  try {
    const bytes = await wholeBody(body, {
      limit: Math.min(own, limit),
      counted,
      tooLarge,
      held: share.held,
    });
    return { bytes, digest: contentDigest(bytes) };
  } catch (failure) {
    if (failure === tooLong) return 'long';
    if (failure instanceof MoreMessages) return 'streams';
    throw failure;
  }
}
