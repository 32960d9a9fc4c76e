/**
 * The fields of a request as they are sent to the server: what mirrors the body is written anew
 * from it, everything of MCP's that the agent sent is taken off.
 */
import { Fault } from '../base/fault.ts';
import { type Fields, fieldOf, fieldsOf } from '../http/message.ts';
import type { McpFacts } from '../policy/model/facts.ts';
import { isNamed } from '../policy/model/field-table.ts';
import { isStateless } from '../policy/model/mcp-methods.ts';
import { endsSomething } from '../policy/protocols/mcp-rules.ts';
import type { McpDestination } from '../policy/protocols/mcp-service.ts';
import {
  type HeaderPaths,
  encodeValue,
  mirroredName,
  paramFields,
  sameValue,
} from './header-values.ts';
import type { Message } from './message.ts';
import type { Session } from './sessions.ts';

/** Written anew, or with a meaning that is held against the message. */
const OURS: ReadonlySet<string> = new Set(
  'accept accept-encoding content-type content-encoding last-event-id user-agent traceparent'.split(
    ' ',
  ),
);
/** What passes besides where the destination does not say (`headers`): who asks, and from where. */
const USUAL: ReadonlySet<string> = new Set(['authorization', 'x-api-key', 'origin']);
const TRACE_PARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;
const PARAM = 'mcp-param-';

export interface Outgoing {
  /** As received: only which of them are there counts. */
  readonly received: Fields;
  readonly message: Message | undefined;
  readonly facts: McpFacts;
  readonly session: Session | undefined;
  /** undefined: the tool was not listed yet, and nothing is mirrored for it. */
  readonly params: HeaderPaths | undefined;
  readonly destination: McpDestination;
  /**
   * Whether a field went to the server with a message that was held against what was done before.
   */
  readonly shown: (name: string, value: string) => boolean;
}

/** Throws a Fault `header-mismatch` where a mirrored argument is not what the body says. */
export function checkParams({ received, facts, params }: Outgoing): void {
  if (params === undefined) return;
  const expected = paramFields(params, facts.args);
  for (let i = 0; i < received.length; i += 2) {
    const name = received[i] ?? '';
    if (!name.startsWith(PARAM)) continue;
    const meant = expected.get(name);
    if (
      meant === undefined ||
      !sameValue(received[i + 1] ?? '', meant) ||
      fieldsOf(received, name).length > 1
    )
      throw new Fault('header-mismatch', 'an Mcp-Param field is not what the body says', {
        at: name.slice(0, 80),
      });
  }
}

/** Of the fields that cross the proxy anyway, those that go with a message. */
export function ownFields(kept: Fields, { facts, destination, shown }: Outgoing): string[] {
  const { headers, service } = destination;
  const ends = endsSomething(facts);
  const fields: string[] = [];
  for (let i = 0; i < kept.length; i += 2) {
    const [name = '', value = ''] = [kept[i], kept[i + 1]];
    const dashed = name.replaceAll('_', '-');
    if (dashed === 'user-agent' && service.clientInfo === 'pass' && !ends) fields.push(name, value);
    if (dashed === 'traceparent' && TRACE_PARENT.test(value) && !ends) fields.push(name, value);
    if (OURS.has(dashed) || dashed.startsWith('mcp-')) continue;
    const named =
      headers !== undefined && (headers.only !== undefined || isNamed(headers.pass, name));
    if ((named || USUAL.has(name)) && (!ends || shown(name, value))) fields.push(name, value);
  }
  return fields;
}

/** `kept` are the fields that cross the proxy anyway. */
export function outgoingFields(kept: Fields, outgoing: Outgoing): string[] {
  const { received, message, facts, session, params, destination } = outgoing;
  const fields = ownFields(kept, outgoing);
  if (destination.service.clientInfo !== 'pass') fields.push('user-agent', 'chaperone');
  const accepted = acceptOf(facts, received);
  if (accepted !== undefined) fields.push('accept', accepted);
  fields.push('accept-encoding', 'identity');
  if (message !== undefined) fields.push('content-type', 'application/json');
  const stateless = isStateless(facts.version);
  if (stateless || facts.method !== 'initialize')
    fields.push('mcp-protocol-version', facts.version);
  if (session !== undefined) fields.push('mcp-session-id', session.id);
  const resumed = facts.kind === 'stream' ? fieldOf(received, 'last-event-id') : undefined;
  if (resumed !== undefined) fields.push('last-event-id', resumed);
  if (message === undefined || message.kind === 'response') return fields;
  if (stateless || fieldOf(received, 'mcp-method') !== undefined)
    fields.push('mcp-method', message.method);
  const name = message.kind === 'request' ? mirroredName(message) : undefined;
  if (name !== undefined && (stateless || fieldOf(received, 'mcp-name') !== undefined))
    fields.push('mcp-name', encodeValue(name));
  if (params !== undefined)
    for (const [field, value] of paramFields(params, facts.args)) fields.push(field, value);
  return fields;
}

/**
 * The media types that a server of MCP answers in, and no others (Streamable HTTP, sending
 * messages).
 */
function acceptOf({ kind }: McpFacts, received: Fields): string | undefined {
  if (kind === 'end') return undefined;
  if (kind === 'stream') return 'text/event-stream';
  const said = fieldsOf(received, 'accept').join(',').toLowerCase();
  const types = ['application/json', 'text/event-stream'];
  const wanted = types.filter((type) => said.includes(type));
  return (wanted.length === 0 || said.includes('*') ? types : wanted).join(', ');
}
