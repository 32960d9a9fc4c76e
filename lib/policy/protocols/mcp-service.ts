/** What the document of an MCP destination says: its server, and rules about messages. */
import type { HostPattern } from '../../net/host.ts';
import type { ResourcePattern } from '../../net/resource.ts';
import type { AnyService, DestinationOf } from '../model/destination.ts';
import type { McpVersion } from '../model/mcp-methods.ts';
import type { RuleBase } from '../model/rule.ts';
import type { HttpMatch, HttpRule } from './http-rules.ts';

/** How an MCP server (Streamable HTTP) is spoken to. */
export interface McpPolicy {
  /** Canonical paths to which messages go. */
  readonly endpoints: ReadonlySet<string>;
  readonly versions: ReadonlySet<McpVersion>;
  /** Methods by which the server may ask the agent for something. */
  readonly serverRequests: ReadonlySet<string>;
  /** Hosts that a URL to which the server sends the user may have. */
  readonly elicitationHosts: readonly HostPattern[];
  /**
   * How a denied request is told: as an error of JSON-RPC, or (tools/call) as the result of a tool
   * that failed.
   */
  readonly denial: {
    readonly as: 'error' | 'result';
    readonly status: number;
    readonly code: number;
  };
  /** Hex SHA-256 of the definitions of tools, by name. */
  readonly pins: ReadonlyMap<string, string>;
  /** Bytes of one message. */
  readonly message: number;
  /** Who the server is told that the client is: the sidecar, or what the client says. */
  readonly clientInfo: 'ours' | 'pass';
  /** Names in `_meta` that pass besides those of the protocol. */
  readonly meta: ReadonlySet<string>;
}

export interface McpMatch {
  /** Names of tools, exact and case-sensitive; `*` is every one. */
  readonly tools: ReadonlySet<string>;
  readonly prompts: ReadonlySet<string>;
  readonly resources: readonly ResourcePattern[];
  readonly methods: ReadonlySet<string>;
}

export interface McpRule extends RuleBase {
  readonly mcp: McpMatch;
}

/** A rule about requests beside the endpoints. */
export interface BesideRule extends HttpRule {
  readonly http: HttpMatch & {
    /** An allow rule is also about requests that look like messages of MCP (mcp-endpoint.ts). */
    readonly mcpLike: boolean;
  };
}

export interface McpService extends McpPolicy {
  readonly protocol: 'mcp';
  /** About messages. */
  readonly rules: readonly McpRule[];
  /** About requests beside the endpoints. */
  readonly beside: readonly BesideRule[];
}

export type McpDestination = DestinationOf<McpService>;

export function isMcp(destination: DestinationOf<AnyService>): destination is McpDestination {
  return destination.service.protocol === 'mcp';
}
