/** A socket that is listened on. */
import type { Agent } from '../policy/model/agent.ts';
import type { Task } from '../tasks/task.ts';

/** A bound listener, as what it accepts sees it. */
export interface Bound {
  /**
   * `forward`, or the name of the destination it belongs to; a reload may give an address to
   * another destination.
   */
  readonly name: string;
  readonly forward: boolean;
  /** The agent in whose folder the socket lies; undefined: a TCP port, which proves nothing. */
  readonly agent: Agent | undefined;
  /** The task that the socket was opened for: all that comes in there is of that task. */
  readonly task: Task | undefined;
  /** Aborts when it accepts no longer and idle connections should end. */
  readonly closing: AbortSignal;
  /** Aborts before that, when each answer should be the last of its connection. */
  readonly lastCall: AbortSignal;
}
