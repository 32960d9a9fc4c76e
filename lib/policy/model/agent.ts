/**
 * An agent: a named user of the sidecar. What tells one from another is the folder that it alone
 * can reach; a path, a port or a header field never does. Values of the configuration, compared
 * by identity.
 */
import type { SpiffeId } from '../../spiffe/id.ts';

export interface Agent {
  /** Stands in records, metrics and tasks. */
  readonly name: string;
  /** Purposes it may open tasks for; undefined: those of every TaskPolicy that lets it. */
  readonly purposes: ReadonlySet<string> | undefined;
  /** Which of our SVIDs it goes out with; undefined: that of the sidecar. */
  readonly identity: AgentIdentity | undefined;
}

/** One of both is given. */
export interface AgentIdentity {
  readonly hint: string | undefined;
  readonly spiffeId: SpiffeId | undefined;
}

/** In metrics, for what nobody has proved to be an agent's; no agent has this name. */
export const UNKNOWN = 'unknown';

/** The agent of a sidecar that serves one. */
export function soleAgent(name: string): Agent {
  return Object.freeze({ name, purposes: undefined, identity: undefined });
}
