/** The answer of an MCP server to the list of tools that the sidecar asked for. */
import { Fault } from '../base/fault.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { ClientResponse } from '../http/client.ts';
import { type Body, fieldOf } from '../http/message.ts';
import { LONG, parseLong } from '../mcp/long-json.ts';
import { type Request, idKey, readServerMessage } from '../mcp/message.ts';
import { EventReader } from '../mcp/sse.ts';
import { parseJson } from '../schema/json-reader.ts';
import { JsonNumber, type JsonObject } from '../schema/json.ts';
import type { DescribedMcp } from './described.ts';
import { wholeBody } from './whole-body.ts';

interface UnderWay {
  readonly described: DescribedMcp;
  /** The exchange of the list. */
  readonly own: Exchange;
}

/**
 * The result of a list request, in JSON or in a stream of events.
 * @throws Fault `upstream-malformed`
 */
export async function listResult(
  { head, body, upgraded }: ClientResponse,
  request: Request,
  listing: UnderWay,
): Promise<JsonObject> {
  const { described, own } = listing;
  const { policy, held } = described.endpoint;
  own.status = head.status;
  if (head.status !== 200 || upgraded !== undefined)
    throw new Fault('upstream-malformed', `the server answered ${head.status}`);
  const type = fieldOf(head.fields, 'content-type') ?? '';
  if (/^text\/event-stream/i.test(type)) return fromEvents(body, request, listing);
  const counted = (bytes: number): void => void (own.received += bytes);
  const tooLarge = (): Fault =>
    new Fault('upstream-malformed', 'the server sent a list that is too long');
  const bytes = await wholeBody(body, { limit: policy.message, counted, tooLarge, held });
  return (await resultIn(bytes, request, listing)) ?? silent();
}

/** Up to the answer: a server may leave its stream open. */
async function fromEvents(body: Body, request: Request, listing: UnderWay): Promise<JsonObject> {
  const reader = new EventReader(listing.described.endpoint.policy.message);
  for (;;) {
    const piece = body.poll();
    if (piece === 'end') return silent();
    if (piece === 'later') {
      await body.ready();
      continue;
    }
    listing.own.received += piece.length;
    for (const { data = '' } of reader.read(piece)) {
      const result = data === '' ? undefined : await resultIn(Buffer.from(data), request, listing);
      if (result === undefined) continue;
      body.cancel(new Fault('aborted', 'what follows the answer is for nobody'));
      return result;
    }
  }
}

/** The result of the request; undefined where the message is about something else. */
async function resultIn(
  bytes: Buffer,
  { id }: Request,
  { described }: UnderWay,
): Promise<JsonObject | undefined> {
  const { parts, tools } = described.endpoint;
  const { turns } = parts;
  const options = { data: true, onBroken: () => {} };
  const value =
    bytes.length > LONG ? await parseLong(bytes, turns, options) : parseJson(bytes, options);
  const message = readServerMessage(value);
  if (message.kind !== 'response' || message.id === undefined || idKey(message.id) !== idKey(id))
    return undefined;
  const { result } = message;
  if (result !== undefined) {
    const list = bytes.length > LONG ? result.get('tools') : undefined;
    if (list !== undefined) await tools.digestAll(list, turns);
    return result;
  }
  const code = message.error?.get('code');
  throw new Fault(
    'upstream-malformed',
    `the server answered error ${code instanceof JsonNumber ? code.text : ''}`,
  );
}

function silent(): never {
  throw new Fault('upstream-malformed', 'the server did not answer');
}
