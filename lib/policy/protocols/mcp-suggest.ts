/** From messages, and requests beside them, to the least rules that would allow them. */
import { sorted } from '../../base/sorted.ts';
import { CLIENT_METHODS } from '../model/mcp-methods.ts';
import type { Observation, ProposedRule } from '../model/observation.ts';
import { suggestHttp } from './http-suggest.ts';
import { reachesEndpoint } from './mcp-endpoint.ts';
import type { McpService } from './mcp-service.ts';

export function suggestMcp(
  { endpoints }: McpService,
  seen: readonly Observation[],
): readonly ProposedRule[] {
  const beside = seen.filter(
    ({ mcpMethod, tool, prompt, resource, path = '/' }) =>
      [mcpMethod, tool, prompt, resource].every((name) => name === undefined) &&
      !reachesEndpoint(endpoints, path),
  );
  return [...messageRules(seen), ...suggestHttp(beside)];
}

function messageRules(seen: readonly Observation[]): readonly ProposedRule[] {
  const seenOf = (key: 'tool' | 'prompt' | 'resource'): readonly string[] =>
    sorted(new Set(seen.flatMap((one) => one[key] ?? [])));
  // What belongs to every conversation needs no rule of its own.
  const methods = sorted(
    new Set(
      seen.flatMap(({ mcpMethod = '' }) =>
        CLIENT_METHODS.get(mcpMethod)?.subject === 'method' ? mcpMethod : [],
      ),
    ),
  );
  const [tools, prompts, resources] = [seenOf('tool'), seenOf('prompt'), seenOf('resource')];
  return [
    ...(tools.length > 0 ? [{ action: 'execute', about: { mcp: { tools } } }] : []),
    ...(prompts.length + resources.length > 0
      ? [{ action: 'read', about: { mcp: said({ prompts, resources }) } }]
      : []),
    ...(methods.length > 0 ? [{ action: 'read', about: { mcp: { methods } } }] : []),
  ];
}

/** Without the keys that would name nothing. */
function said(
  keys: Readonly<Record<string, readonly string[]>>,
): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries(Object.entries(keys).filter(([, names]) => names.length > 0));
}
