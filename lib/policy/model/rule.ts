/** A rule of a destination: what it is about, and what it says of it. */
import type { PathPattern } from '../../net/path-pattern.ts';
import type { ResourcePattern } from '../../net/resource.ts';
import type { Condition } from './condition.ts';

export type Effect = 'allow' | 'deny';

export interface HttpMatch {
  /**
   * Case-sensitive methods (RFC 9110 section 9.1). undefined: on a deny rule any method; on an
   * allow rule the methods of RFC 9110 and 5789 but CONNECT and TRACE, so that a method nobody
   * thought of is allowed only by name.
   */
  readonly methods: ReadonlySet<string> | undefined;
  /** undefined: any path. */
  readonly paths: readonly PathPattern[] | undefined;
  /**
   * Whether an allow rule allows an upgrade to WebSocket (RFC 6455). Requests without one match
   * either way; deny rules match both.
   */
  readonly websocket: boolean;
  /**
   * Whether an allow rule allows content on a GET, for which HTTP has no meaning (RFC 9110 section
   * 9.3.1).
   */
  readonly contentOnGet?: boolean | undefined;
  /**
   * At an MCP destination: whether the rule is also about requests that look like messages of MCP
   * (lib/policy/protocols/mcp-endpoint.ts).
   */
  readonly mcpLike?: boolean | undefined;
}

export interface McpMatch {
  /** Names of tools, exact and case-sensitive; `*` is every one. */
  readonly tools: ReadonlySet<string>;
  readonly prompts: ReadonlySet<string>;
  readonly resources: readonly ResourcePattern[];
  readonly methods: ReadonlySet<string>;
}

export interface GrpcMatch {
  /** Exact names with their package; undefined: every service. */
  readonly services: ReadonlySet<string> | undefined;
  /** Exact names, or `*`; undefined: every method. */
  readonly methods: ReadonlySet<string> | undefined;
  /** Its calls send more than one message: they are not read, and no approval is bound to one. */
  readonly streaming?: boolean | undefined;
}

export interface Rule {
  readonly name: string;
  readonly effect: Effect;
  /** `read`, `write`, `admin`, `execute` or the user's own; undefined on deny rules. */
  readonly action: string | undefined;
  readonly http: HttpMatch | undefined;
  /** In place of `http`, at MCP destinations. */
  readonly mcp?: McpMatch | undefined;
  /** In place of `http` at gRPC destinations. */
  readonly grpc?: GrpcMatch | undefined;
  /** What must hold besides; undefined: nothing. */
  readonly when: Condition | undefined;
  /** What the calls that it allows may take; at an MCP destination each tool for itself. */
  readonly limits?: RuleLimits | undefined;
}

export interface RuleLimits {
  /** Exchanges at one time; undefined: as many as the destination has. */
  readonly concurrent: number | undefined;
  readonly rate: Rate | undefined;
}

/** So many in so many milliseconds, and so many at once after a rest. */
export interface Rate {
  readonly count: number;
  readonly per: number;
  readonly burst: number;
  /** As it was written. */
  readonly text: string;
}
