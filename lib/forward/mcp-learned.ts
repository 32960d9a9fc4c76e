/** A message that was read before its server was asked for its tools. */
import { checkParams, outgoingFields } from '../mcp/outgoing.ts';
import type { DescribedMcp } from './described.ts';

/** The same message after the server has been asked for its tools. */
export function learned(described: DescribedMcp): DescribedMcp {
  const { endpoint, message, facts, kept } = described;
  const { tools } = endpoint;
  const { tool = '' } = facts.mcp;
  const mcp = { ...message.outgoing.facts, definition: tools.of(tool) };
  const outgoing = { ...message.outgoing, facts: mcp, params: tools.headersOf(tool) };
  checkParams(outgoing);
  const http = { ...facts.http, fields: outgoingFields(kept, outgoing) };
  return { ...described, facts: { ...facts, mcp, http }, message: { ...message, outgoing } };
}
