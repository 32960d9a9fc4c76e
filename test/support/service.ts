/** The service of a destination, from keys as they stand beside each other in a document. */
import type { Condition } from '../../lib/policy/model/condition.ts';
import type { GrpcRule } from '../../lib/policy/protocols/grpc-rules.ts';
import type { HttpRule } from '../../lib/policy/protocols/http-rules.ts';
import type { Protocol, Service } from '../../lib/policy/protocols/index.ts';
import type {
  BesideRule,
  McpPolicy,
  McpRule,
  McpService,
} from '../../lib/policy/protocols/mcp-service.ts';
import { MCP_VERSIONS } from '../../lib/policy/model/mcp-methods.ts';

export type Rule = HttpRule | GrpcRule | McpRule | BesideRule;

export interface ServiceKeys {
  readonly protocol?: Protocol | undefined;
  readonly rules?: readonly Rule[] | undefined;
  readonly mcp?: McpPolicy | undefined;
  readonly when?: Condition | undefined;
}

export const SETTINGS: McpPolicy = {
  endpoints: new Set(['/mcp']),
  versions: new Set(MCP_VERSIONS),
  serverRequests: new Set(),
  elicitationHosts: [],
  denial: { as: 'error', status: 200, code: -31403 },
  pins: new Map(),
  message: 65_536,
  clientInfo: 'ours',
  meta: new Set(),
};

export function serviceOf(
  { protocol = 'http', rules = [], mcp = SETTINGS, when }: ServiceKeys,
  mode: string,
): Service {
  if (protocol === 'tcp' || mode === 'passthrough') return { protocol: 'tcp', when };
  if (protocol === 'grpc') return { protocol, rules: rules.filter(isGrpc) };
  if (protocol === 'http') return { protocol, rules: rules.filter(isHttp) };
  return mcpService(rules, mcp);
}

export function mcpService(rules: readonly Rule[], mcp: McpPolicy = SETTINGS): McpService {
  const beside = rules.filter(isHttp).map(besideRule);
  return { protocol: 'mcp', ...mcp, rules: rules.filter(isMcp), beside };
}

function besideRule(rule: HttpRule | BesideRule): BesideRule {
  return { ...rule, http: { mcpLike: true, ...rule.http } };
}

const isGrpc = (rule: Rule): rule is GrpcRule => 'grpc' in rule && rule.grpc !== undefined;
const isMcp = (rule: Rule): rule is McpRule => 'mcp' in rule && rule.mcp !== undefined;
const isHttp = (rule: Rule): rule is HttpRule => 'http' in rule && rule.http !== undefined;
