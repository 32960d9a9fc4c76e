/** A request as its protocol describes it: one variant a protocol, told apart by `kind`. */
import type { Fault } from '../base/fault.ts';
import type { DescribedHead, DescribedRequestHead } from '../exchange/describe.ts';
import type { Fields } from '../http/message.ts';
import type { Id } from '../mcp/message.ts';
import type { McpFacts, RequestFacts } from '../policy/model/facts.ts';
import type { McpEndpoint } from './mcp-endpoint.ts';
import type { McpMessage } from './mcp-message.ts';

/** A call to a gRPC destination. */
export interface DescribedGrpc extends DescribedHead {
  readonly kind: 'grpc';
  /** Milliseconds that the call gives itself (grpc-timeout). */
  readonly timeout: number | undefined;
}

/** A message to an endpoint of an MCP destination, read whole. */
export interface DescribedMcp extends DescribedHead {
  readonly kind: 'mcp';
  readonly facts: RequestFacts & { readonly mcp: McpFacts };
  readonly endpoint: McpEndpoint;
  readonly message: McpMessage;
  /** The fields that cross the proxy with any message. */
  readonly kept: Fields;
}

/** A message that cannot be read: its refusal answers the request of this id. */
export interface UnreadMcp extends DescribedHead {
  readonly kind: 'unread-mcp';
  readonly endpoint: McpEndpoint;
  readonly id: Id | undefined;
  readonly fault: Fault;
}

export type DescribedRequest = DescribedRequestHead | DescribedGrpc | DescribedMcp | UnreadMcp;
