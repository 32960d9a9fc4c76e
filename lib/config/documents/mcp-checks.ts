/** What one key cannot say alone about a Destination of protocol mcp. */
import { reachesEndpoint } from '../../policy/protocols/mcp-endpoint.ts';
import { type CheckOf, type Finding, at, when } from './finding.ts';
import type { McpSpec } from './mcp-schema.ts';

export const MCP_CHECKS: readonly CheckOf<McpSpec>[] = Object.freeze([
  {
    name: 'mcp-has-its-settings',
    doc: 'Protocol mcp needs `mcp`, and a mode in which TLS does not hide the messages.',
    find: ({ mcp, tls }) => [
      ...when(
        mcp === undefined,
        at('protocol'),
        'protocol mcp does not say how the server is spoken to',
        'write mcp: { endpoints: [/mcp] }',
      ),
      ...when(
        tls.mode === 'passthrough',
        at('tls', 'mode'),
        'in mode passthrough the messages are inside the TLS of the agent',
        'write mode: mtls, web or web-mtls',
      ),
    ],
  },
  {
    name: 'mcp-has-endpoints',
    doc: '`mcp` has `endpoints`, or `path` for one; not both.',
    find: ({ mcp }) =>
      when(
        mcp !== undefined && (mcp.endpoints === undefined) === (mcp.path === undefined),
        at('mcp'),
        mcp?.path === undefined
          ? 'no path takes messages'
          : 'path and endpoints say the same thing twice',
        'write endpoints: [/mcp]',
      ),
  },
  {
    name: 'http-beside-the-endpoints',
    doc:
      'At protocol mcp, rules with `http` are about paths beside the endpoints; where an ' +
      'endpoint is `/` there are none.',
    find: (spec) => spec.rules.flatMap((rule, i) => unreachable(spec, rule, i)),
  },
  {
    name: 'messages-or-requests',
    doc: 'At protocol mcp a rule has `mcp` or `http`: a message is no other request.',
    find: ({ rules }) =>
      rules.flatMap(({ http, mcp }, i) =>
        when(
          http !== undefined && mcp !== undefined,
          at('rules', i, 'http'),
          'a rule is about messages or about requests beside them, not about both',
          'write two rules',
        ),
      ),
  },
  {
    name: 'mcp-like-is-allowed-only',
    doc: '`mcpLike` belongs to allow rules: deny rules hold for all requests.',
    find: ({ rules }) =>
      rules.flatMap(({ effect, http }, i) =>
        when(
          effect === 'deny' && http?.mcpLike !== undefined,
          at('rules', i, 'http', 'mcpLike'),
          'a deny rule is about all requests anyway',
          'remove it',
        ),
      ),
  },
]);

/** Patterns of paths that no request can have for which the rule is read. */
function unreachable(
  { mcp }: McpSpec,
  { http }: McpSpec['rules'][number],
  i: number,
): readonly Finding[] {
  if (mcp === undefined || http === undefined) return [];
  const endpoints = mcp.endpoints ?? (mcp.path === undefined ? [] : [mcp.path]);
  const message = 'a path at an endpoint of MCP, or below it, is for messages alone';
  const fix = 'write the rule with mcp, or another path';
  if (endpoints.includes('/')) return when(true, at('rules', i, 'http'), message, fix);
  return (http.paths ?? []).flatMap(({ text }, j) =>
    when(reachesEndpoint(endpoints, text), at('rules', i, 'http', 'paths', j), message, fix),
  );
}
