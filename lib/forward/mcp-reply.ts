/**
 * The answer of an MCP server on its way to the agent: JSON is read whole, a stream event by event,
 * and both are written anew from what was admitted. What cannot be read is not passed on: an answer
 * of another media type in place of a message is `upstream-malformed`; of an error page the agent
 * is told the words, cut short.
 */
import { Fault } from '../base/fault.ts';
import { plain } from '../exchange/evidence.ts';
import type { Exchange } from '../exchange/exchange.ts';
import type { ClientResponse } from '../http/client.ts';
import { type Body, type Fields, type ResponseHead, fieldOf, fieldsOf } from '../http/message.ts';
import { errorText } from '../mcp/message.ts';
import { SESSION_ID, type Session } from '../mcp/sessions.ts';
import { isStateless } from '../policy/model/mcp-methods.ts';
import type { DescribedMcp } from './described.ts';
import { type Dialogue, admittedOf, receive } from './mcp-dialogue.ts';
import { InspectedEvents } from './mcp-events.ts';

/** The answer to the agent, besides its status. */
export interface Reply {
  /** To be added to the fields of the answer, from which those of `REPLACED` are taken off. */
  readonly fields: Fields;
  readonly body: Buffer | Body | undefined;
}

export const REPLACED: ReadonlySet<string> = new Set([
  'content-type',
  'content-encoding',
  'mcp-session-id',
  'content-length',
  'cache-control',
  'x-accel-buffering',
]);

const JSON_TYPE = 'application/json';
const STREAM_TYPE = 'text/event-stream';
const UNSTORED: Fields = ['cache-control', 'no-store'];
/** Bytes of an error page that are looked at for what it says. */
const MAX_ERROR = 4096;

export async function mcpReply(
  described: DescribedMcp,
  { head, body }: ClientResponse,
  exchange: Exchange,
): Promise<Reply> {
  const coding = fieldsOf(head.fields, 'content-encoding').find(
    (name) => name.toLowerCase() !== 'identity',
  );
  if (coding !== undefined)
    throw new Fault('upstream-malformed', 'the server encoded an answer that was asked for plain');
  const { session, fields: sessionFields } = sessionAfter(described, head);
  const dialogue = { described, session, exchange };
  const type = mediaType(head);
  const { kind } = described.facts.mcp;
  const succeeded = head.status >= 200 && head.status < 300;
  if (head.status === 200 && type === STREAM_TYPE && (kind === 'request' || kind === 'stream')) {
    const fields = ['content-type', STREAM_TYPE, ...UNSTORED, 'x-accel-buffering', 'no'];
    return { fields: [...fields, ...sessionFields], body: new InspectedEvents(body, dialogue) };
  }
  if (succeeded && kind !== 'request') {
    if (kind === 'stream')
      throw new Fault(
        'upstream-malformed',
        'the server answered a request for a stream without one',
      );
    if (kind === 'end' && session !== undefined) described.endpoint.parts.sessions.forget(session);
    body.cancel(new Fault('aborted', 'nothing is said in answer to a notification'));
    return { fields: sessionFields, body: undefined };
  }
  if (!succeeded)
    return {
      fields: ['content-type', JSON_TYPE, ...UNSTORED, ...sessionFields],
      body: await errorBody(dialogue, { head, body, type }),
    };
  if (type !== JSON_TYPE)
    throw new Fault(
      'upstream-malformed',
      'the server answered with neither JSON nor a stream of events',
    );
  const admitted = await admittedOf(await receive(body, dialogue), dialogue);
  if (admitted === undefined)
    throw new Fault(
      'upstream-malformed',
      'the server answered another request than the one that was sent',
    );
  return { fields: ['content-type', JSON_TYPE, ...UNSTORED, ...sessionFields], body: admitted };
}

function mediaType({ fields }: ResponseHead): string {
  return (fieldOf(fields, 'content-type') ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/**
 * A session begins with the answer to initialize, belongs to who asked, and ends where the server
 * does not know it.
 */
function sessionAfter(
  { endpoint, facts, message }: DescribedMcp,
  { status, fields }: ResponseHead,
): { readonly session: Session | undefined; readonly fields: Fields } {
  const id = fieldOf(fields, 'mcp-session-id');
  const { owner, parts } = endpoint;
  const { session } = message;
  const { version, method } = facts.mcp;
  if (status === 404 && session !== undefined) parts.sessions.forget(session);
  if (id === undefined || isStateless(version)) return { session, fields: [] };
  if (method !== 'initialize')
    return { session, fields: id === session?.id ? ['mcp-session-id', id] : [] };
  if (status !== 200) return { session, fields: [] };
  if (!SESSION_ID.test(id))
    throw new Fault('upstream-malformed', 'the server gave a session id that is not visible ASCII');
  return { session: parts.sessions.open(id, owner), fields: ['mcp-session-id', id] };
}

interface Failed {
  readonly head: ResponseHead;
  readonly body: Body;
  readonly type: string;
}

/** An error of JSON-RPC where the server sent one; otherwise the status, and what was said. */
async function errorBody(dialogue: Dialogue, { head, body, type }: Failed): Promise<Buffer> {
  const { described, exchange } = dialogue;
  let bytes: Buffer | undefined;
  if (type === JSON_TYPE) {
    bytes = await receive(body, dialogue);
    try {
      const admitted = await admittedOf(bytes, dialogue, 'response');
      if (admitted !== undefined) return admitted;
    } catch {
      // Something else in JSON: told as the text that it is.
    }
  } else if (/^text\/|[/+]json$/.test(type)) bytes = await startOf(body, exchange);
  else body.cancel(new Fault('aborted', 'what is no text is not passed on'));
  const said = bytes === undefined ? '' : wordsOf(bytes, type);
  const message = `the server answered ${head.status}${said === '' ? '' : `: ${said}`}`;
  const data = { reason: 'upstream-error', decision: exchange.id };
  return Buffer.from(errorText(described.message.id, { code: -32603, message, data }));
}

/** The first bytes of a text; the rest is not read. */
async function startOf(body: Body, exchange: Exchange): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (let total = 0; total < MAX_ERROR;) {
    const piece = body.poll();
    if (piece === 'end') return Buffer.concat(pieces);
    if (piece === 'later') {
      await body.ready();
      continue;
    }
    total += piece.length;
    exchange.received += piece.length;
    // While more is waited for, the buffer belongs to the connection.
    pieces.push(Buffer.from(piece));
  }
  body.cancel(new Fault('aborted', 'more of an error page than is told'));
  return Buffer.concat(pieces);
}

/** The words of a text, in one line without markup; truncated. */
function wordsOf(bytes: Buffer, type: string): string {
  const text = bytes.subarray(0, MAX_ERROR).toString('utf8');
  const words = type.endsWith('html') ? text.replaceAll(/<[^>]*>/g, ' ') : text;
  return plain(words.replaceAll(/\s+/g, ' ').trim());
}
