/** From what a Destination of protocol mcp says to its service. */
import type {
  BesideRule,
  McpPolicy,
  McpRule,
  McpService,
} from '../../policy/protocols/mcp-service.ts';
import { REQUEST_CHECKS, compileHttpMatch, unreadRequests } from './http.ts';
import { MCP_CHECKS } from './mcp-checks.ts';
import type { McpSpec } from './mcp-schema.ts';
import type { ProtocolDocument } from './protocol-document.ts';
import { type Conditions, compileRules } from './rule.ts';

type McpRuleDocument = McpSpec['rules'][number];

function compileMcp({ mcp, rules }: McpSpec, conditions: Conditions): McpService {
  if (mcp === undefined) throw new TypeError('a destination of protocol mcp has settings');
  return Object.freeze({
    protocol: 'mcp',
    ...compileSettings(mcp),
    rules: compileRules(rules, conditions, aboutMessages),
    beside: compileRules(rules, conditions, aboutRequests),
  });
}

const NONE: readonly never[] = Object.freeze([]);

function compileSettings({ path, endpoints, ...spec }: NonNullable<McpSpec['mcp']>): McpPolicy {
  const { versions, serverRequests, denial, pins, meta, ...rest } = spec;
  return {
    ...rest,
    endpoints: new Set([...(path === undefined ? NONE : [path]), ...(endpoints ?? NONE)]),
    versions: new Set(versions),
    meta: new Set(meta),
    serverRequests: new Set(serverRequests),
    denial: Object.freeze({ ...denial, status: Number(denial.status) }),
    pins: new Map(pins.map(({ tool, digest: hex }) => [tool, hex])),
  };
}

function aboutMessages({ mcp }: McpRuleDocument): Pick<McpRule, 'mcp'> | undefined {
  if (mcp === undefined) return undefined;
  const { tools = NONE, prompts = NONE, resources = NONE, methods = NONE } = mcp;
  return {
    mcp: Object.freeze({
      tools: new Set(tools),
      prompts: new Set(prompts),
      resources,
      methods: new Set(methods),
    }),
  };
}

function aboutRequests({ http }: McpRuleDocument): Pick<BesideRule, 'http'> | undefined {
  if (http === undefined) return undefined;
  return {
    http: Object.freeze({ ...compileHttpMatch(http), mcpLike: http.mcpLike === 'allow' }),
  };
}

export const MCP_DOCUMENT: ProtocolDocument<McpSpec, McpService> = Object.freeze({
  keys: ['mcp', 'http'],
  example: 'write mcp: { tools: [name] }',
  hasPaths: true,
  choosesHttp: false,
  checks: [...MCP_CHECKS, ...REQUEST_CHECKS],
  says: ({ mcp = {}, http }) =>
    http !== undefined || Object.values(mcp).some((names) => names !== undefined),
  unread: unreadRequests,
  compile: compileMcp,
} satisfies ProtocolDocument<McpSpec, McpService>);
