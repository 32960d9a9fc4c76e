/** Parts that all requests of agents share on their way to their upstreams. */
import type { Farewell } from './copy.ts';
import type { McpParts } from './mcp-endpoint.ts';
import type { Listings } from './mcp-list.ts';
import type { Outbound } from './outbound.ts';

export interface ForwardContext extends Outbound {
  readonly mcp: McpParts;
  readonly listings: Listings;
  readonly farewell: Farewell;
}
