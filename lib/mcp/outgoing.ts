/** The fields of a request as they are sent to the server: what mirrors the body is written anew from it, everything of MCP's that the agent sent is taken off. */
import { Fault } from '../base/fault.ts';
import { fieldOf, fieldsOf, type Fields } from '../http1/message.ts';
import type { McpFacts } from '../policy/facts.ts';
import { isStateless } from '../policy/mcp-methods.ts';
import { encodeValue, type HeaderPaths, paramFields, sameValue } from './header-values.ts';
import { type Message } from './message.ts';
import { mirroredName } from './request.ts';
import type { Session } from './sessions.ts';

const OURS: ReadonlySet<string> = new Set(['content-type', 'content-encoding', 'accept-encoding', 'last-event-id']);
const PARAM = 'mcp-param-';

export interface Outgoing {
  /** As received: only which of them are there counts. */
  readonly received: Fields;
  readonly message: Message | undefined;
  readonly facts: McpFacts;
  readonly session: Session | undefined;
  /** undefined: the tool was not listed yet, and nothing is mirrored for it. */
  readonly params: HeaderPaths | undefined;
}

/** Throws a Fault `header-mismatch` where a mirrored argument is not what the body says. */
export function checkParams({ received, facts, params }: Outgoing): void {
  if (params === undefined) return;
  const expected = paramFields(params, facts.args);
  for (let i = 0; i < received.length; i += 2) {
    const name = received[i] ?? '';
    if (!name.startsWith(PARAM)) continue;
    const meant = expected.get(name);
    if (meant === undefined || !sameValue(received[i + 1] ?? '', meant) || fieldsOf(received, name).length > 1)
      throw new Fault('header-mismatch', 'an Mcp-Param field is not what the body says', { at: name.slice(0, 80) });
  }
}

/** `kept` are the fields that cross the proxy anyway. */
export function outgoingFields(kept: Fields, outgoing: Outgoing): string[] {
  const { received, message, facts, session, params } = outgoing;
  const fields: string[] = [];
  for (let i = 0; i < kept.length; i += 2) {
    const name = kept[i] ?? '';
    const dashed = name.replaceAll('_', '-');
    if (!OURS.has(dashed) && !dashed.startsWith('mcp-')) fields.push(name, kept[i + 1] ?? '');
  }
  fields.push('accept-encoding', 'identity');
  if (message !== undefined) fields.push('content-type', 'application/json');
  const stateless = isStateless(facts.version);
  if (stateless || facts.method !== 'initialize') fields.push('mcp-protocol-version', facts.version);
  if (session !== undefined) fields.push('mcp-session-id', session.id);
  const resumed = facts.kind === 'stream' ? fieldOf(received, 'last-event-id') : undefined;
  if (resumed !== undefined) fields.push('last-event-id', resumed);
  if (message === undefined || message.kind === 'response') return fields;
  if (stateless || fieldOf(received, 'mcp-method') !== undefined) fields.push('mcp-method', message.method);
  const name = message.kind === 'request' ? mirroredName(message) : undefined;
  if (name !== undefined && (stateless || fieldOf(received, 'mcp-name') !== undefined))
    fields.push('mcp-name', encodeValue(name));
  if (params !== undefined) for (const [field, value] of paramFields(params, facts.args)) fields.push(field, value);
  return fields;
}
