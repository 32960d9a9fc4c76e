/** What one key cannot say alone about a Destination of protocol mcp. */
import { reachesEndpoint } from '../../policy/protocols/mcp-endpoint.ts';
import { at, when, type Check, type Finding, type Spec } from './finding.ts';

export const MCP_CHECKS: readonly Check[] = Object.freeze([
  {
    name: 'mcp-has-its-settings',
    doc:
      'Protocol mcp needs `mcp`, which belongs to it alone, and a mode in which TLS does not ' +
      'hide the messages.',
    find: ({ protocol, mcp, tls }) => [
      ...when(
        protocol === 'mcp' && mcp === undefined,
        at('protocol'),
        'protocol mcp does not say how the server is spoken to',
        'write mcp: { endpoints: [/mcp] }',
      ),
      ...when(
        protocol !== 'mcp' && mcp !== undefined,
        at('mcp'),
        `protocol ${protocol} has no messages of MCP`,
        'write protocol: mcp, or remove mcp',
      ),
      ...when(
        protocol === 'mcp' && tls.mode === 'passthrough',
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
    name: 'mcp-like-is-for-mcp',
    doc: '`mcpLike` belongs to allow rules of protocol mcp.',
    find: ({ protocol, rules }) =>
      rules.flatMap(({ effect, http }, i) =>
        when(
          http?.mcpLike !== undefined && (protocol !== 'mcp' || effect === 'deny'),
          at('rules', i, 'http', 'mcpLike'),
          protocol === 'mcp'
            ? 'a deny rule is about all requests anyway'
            : `protocol ${protocol} has no endpoints`,
          'remove it',
        ),
      ),
  },
]);

/** Patterns of paths that no request can have for which the rule is read. */
function unreachable(
  { protocol, mcp }: Spec,
  { http }: Spec['rules'][number],
  i: number,
): readonly Finding[] {
  if (protocol !== 'mcp' || mcp === undefined || http === undefined) return [];
  const endpoints = mcp.endpoints ?? (mcp.path === undefined ? [] : [mcp.path]);
  const message = 'a path at an endpoint of MCP, or below it, is for messages alone';
  const fix = 'write the rule with mcp, or another path';
  if (endpoints.includes('/')) return when(true, at('rules', i, 'http'), message, fix);
  return (http.paths ?? []).flatMap(({ text }, j) =>
    when(reachesEndpoint(endpoints, text), at('rules', i, 'http', 'paths', j), message, fix),
  );
}
