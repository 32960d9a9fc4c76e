/**
 * One exchange with an MCP server: its message is read whole, and judged, before it is decided
 * (mcp-message.ts); what the server answers is read in the same way (mcp-reply.ts), and a refusal
 * is an error of JSON-RPC (mcp-refusal.ts).
 */
import { Fault } from '../base/fault.ts';
import type { Permit } from '../exchange/authorize.ts';
import { boundedAnswer } from '../exchange/counted-body.ts';
import type { DescribedHttp } from '../exchange/describe.ts';
import type { Exchange } from '../exchange/exchange.ts';
import { DECISION_FIELD } from '../exchange/fault-response.ts';
import type { ClientResponse } from '../http/client.ts';
import type { ServerExchange } from '../http/server-exchange.ts';
import { outgoingFields } from '../mcp/outgoing.ts';
import type { McpDestination } from '../policy/protocols/mcp-service.ts';
import type { ForwardContext } from './context.ts';
import type { DescribedMcp, UnreadMcp } from './described.ts';
import { credentialed, release, respondEvents, unaskedSwitch } from './http.ts';
import { mcpEndpoint } from './mcp-endpoint.ts';
import { MessageReader, noteSent } from './mcp-message.ts';
import { REPLACED, mcpReply } from './mcp-reply.ts';
import { framingOf, requestFields, withoutFields } from './outgoing.ts';
import type { Relay } from './relay.ts';
import { send } from './send.ts';

export interface MessageSource {
  readonly exchange: Exchange;
  readonly request: ServerExchange;
  readonly context: ForwardContext;
}

/** The body of a message is part of what is judged. */
export async function describeMessage(
  head: DescribedHttp,
  destination: McpDestination,
  { exchange, request, context }: MessageSource,
): Promise<DescribedMcp | UnreadMcp> {
  const endpoint = mcpEndpoint(head, destination, exchange, context.mcp);
  const reader = new MessageReader(endpoint, request, exchange);
  try {
    exchange.onAbort({ abort: (reason) => request.body.cancel(reason) });
    exchange.enter('message', destination.timeouts.message, context.now());
    const message = await reader.read();
    exchange.onAbort(undefined);
    const { facts: mcp } = message.outgoing;
    destination.spellings?.args(mcp.args);
    const { http } = head.facts;
    const kept = http.fields;
    const fields = outgoingFields(kept, message.outgoing);
    const facts = { ...head.facts, http: { ...http, fields }, mcp };
    return { ...head, kind: 'mcp', facts, continues: false, endpoint, message, kept };
  } catch (failure) {
    const fault = Fault.from(failure, 'internal');
    return { ...head, kind: 'unread-mcp', endpoint, id: reader.id, fault };
  }
}

export async function forward(
  described: DescribedMcp,
  permit: Permit,
  relay: Relay,
): Promise<void> {
  const { message, endpoint, kept, method, target } = described;
  const { body } = message;
  noteSent(message, kept, endpoint);
  const judged = await credentialed(permit, relay);
  const fields = requestFields(described, judged, permit, relay);
  const head = { method, target, fields, framing: framingOf(body, relay.request.head) };
  const sent = await send(described, permit, relay, { head, body, awaits: 'headers' });
  try {
    const response = boundedAnswer(sent.response, permit.destination.limits.response);
    await answerMessage(described, response, relay);
  } finally {
    release(sent, described, relay);
  }
}

async function answerMessage(
  described: DescribedMcp,
  response: ClientResponse,
  relay: Relay,
): Promise<void> {
  const { exchange, request, context } = relay;
  exchange.throwIfAborted();
  exchange.enter('idle', described.endpoint.destination.timeouts.idle, context.now());
  if (response.upgraded !== undefined) throw unaskedSwitch(response);
  const { fields: own, body } = await mcpReply(described, response, exchange);
  const fields = withoutFields(relay.answer(response.head), REPLACED);
  fields.push(...own, DECISION_FIELD, exchange.id);
  const { status } = response.head;
  if (body === undefined || Buffer.isBuffer(body))
    await request.respond({ status, fields, length: body?.length ?? 0 }, body);
  else await respondEvents(relay, { status, fields, length: undefined }, body);
}
