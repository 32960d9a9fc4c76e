/** What one key cannot say alone about a Destination of protocol mcp. */
import { reachesEndpoint } from '../policy/endpoint.ts';
import type { Check, Finding, Spec } from './finding.ts';

const found = (wrong: boolean, steps: Finding['steps'], message: string, fix: string): readonly Finding[] =>
  wrong ? [{ steps: ['spec', ...steps], message, fix }] : [];

export const MCP_CHECKS: readonly Check[] = Object.freeze([
  {
    name: 'mcp-has-its-settings',
    doc: 'Protocol mcp needs `mcp`, which belongs to it alone, and a mode in which TLS does not hide the messages.',
    find: ({ protocol, mcp, tls }) => [
      ...found(
        protocol === 'mcp' && mcp === undefined,
        ['protocol'],
        'protocol mcp does not say how the server is spoken to',
        'write mcp: { endpoints: [/mcp] }',
      ),
      ...found(
        protocol !== 'mcp' && mcp !== undefined,
        ['mcp'],
        `protocol ${protocol} has no messages of MCP`,
        'write protocol: mcp, or remove mcp',
      ),
      ...found(
        protocol === 'mcp' && tls.mode === 'passthrough',
        ['tls', 'mode'],
        'in mode passthrough the messages are inside the TLS of the agent',
        'write mode: mtls, web or web-mtls',
      ),
    ],
  },
  {
    name: 'mcp-has-endpoints',
    doc: '`mcp` has `endpoints`, or `path` for one; not both.',
    find: ({ mcp }) =>
      found(
        mcp !== undefined && (mcp.endpoints === undefined) === (mcp.path === undefined),
        ['mcp'],
        mcp?.path === undefined ? 'no path takes messages' : 'path and endpoints say the same thing twice',
        'write endpoints: [/mcp]',
      ),
  },
  {
    name: 'http-beside-the-endpoints',
    doc: 'At protocol mcp, rules with `http` are about paths beside the endpoints; where an endpoint is `/` there are none.',
    find: (spec) => spec.rules.flatMap((rule, i) => unreachable(spec, rule, i)),
  },
  {
    name: 'mcp-like-is-for-mcp',
    doc: '`mcpLike` belongs to allow rules of protocol mcp.',
    find: ({ protocol, rules }) =>
      rules.flatMap(({ effect, http }, i) =>
        found(
          http?.mcpLike !== undefined && (protocol !== 'mcp' || effect === 'deny'),
          ['rules', i, 'http', 'mcpLike'],
          protocol === 'mcp' ? 'a deny rule is about all requests anyway' : `protocol ${protocol} has no endpoints`,
          'remove it',
        ),
      ),
  },
]);

/** Patterns of paths that no request can have for which the rule is read. */
function unreachable({ protocol, mcp }: Spec, { http }: Spec['rules'][number], i: number): readonly Finding[] {
  if (protocol !== 'mcp' || mcp === undefined || http === undefined) return [];
  const endpoints = mcp.endpoints ?? (mcp.path === undefined ? [] : [mcp.path]);
  const message = 'a path at an endpoint of MCP, or below it, is for messages alone';
  const fix = 'write the rule with mcp, or another path';
  if (endpoints.includes('/')) return found(true, ['rules', i, 'http'], message, fix);
  return (http.paths ?? []).flatMap(({ text }, j) =>
    found(reachesEndpoint(endpoints, text), ['rules', i, 'http', 'paths', j], message, fix),
  );
}
