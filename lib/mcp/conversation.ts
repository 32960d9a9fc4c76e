/** What is known of a conversation when its server speaks. */
import type { McpDestination, McpPolicy } from '../policy/protocols/mcp-service.ts';
import type { Grant } from '../policy/model/grant.ts';
import type { McpVersion } from '../policy/model/mcp-methods.ts';
import type { AgentTools } from './definitions.ts';
import type { Pending, Session } from './sessions.ts';

/** What an answer is read against. */
export interface Conversation {
  readonly destination: McpDestination;
  readonly policy: McpPolicy;
  readonly version: McpVersion;
  readonly session: Session | undefined;
  /** Of the task of the exchange. */
  readonly grant: Grant | undefined;
  /** What the agent asked; undefined on the stream of a session. */
  readonly asked: Pending | undefined;
  /** The action of that, for what the server asks in it. */
  readonly action: string;
  /** The rule that allowed it; undefined where none did. */
  readonly rule?: string | undefined;
  readonly tools: AgentTools;
  /** Notes a text of the server's that may come back. */
  gave(use: string, text: string): void;
  withheld(what: string): void;
  /** A tool that is left out for its name. */
  unnamed(tool: string): void;
}
