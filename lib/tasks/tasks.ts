/** The tasks of this sidecar, as those see them who open, prove and end them. */
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import type { Decision } from '../policy/decision/decision.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { Refused } from './attenuate.ts';
import type { TaskEvent } from './events.ts';
import type { Intent } from './intent.ts';
import type { CountsKept } from './quotas.ts';
import type { End } from './state.ts';
import type { StepUp, StepUps } from './step-up.ts';
import type { Member } from './task-parts.ts';
import type { Task } from './task.ts';

export interface Opened {
  readonly task: Task;
  /** Proves that a call may use the task, ask for a step-up and see it; handed out once. */
  readonly secret: string;
  /** Proves that a call may extend it, derive from it and complete it; handed out once. */
  readonly control: string;
  readonly refused: readonly Refused[];
  /**
   * Settles when its opening stands in the evidence; rejects when it cannot, and then the task is
   * ended.
   */
  readonly recorded: Promise<void>;
}

export interface Tasks extends AsyncDisposable {
  /**
   * @param agent whose it is; may be left out where there is one
   * @throws Fault `task-refused` when nothing of the intent is left, `too-many`, `shutting-down`
   */
  open(intent: Intent, agent?: Agent): Opened;
  /** A task for a sub-agent, never wider than its parent. */
  derive(parent: Task, intent: Intent): Opened;
  /**
   * The live task that `Basic` credentials prove. @throws Fault `task-unknown`
   * @param proof of one connection, which remembers what was proved on it last
   */
  authenticate(credentials: string, at: string, proof?: Proof): Task;
  /** As authenticate, for the agent API, where either secret is shown: what it proves. */
  prove(credentials: string, at: string): Proved;
  readonly agents: readonly Agent[];
  get(id: string): Task | undefined;
  list(): readonly Task[];
  end(task: Task, end: End, why: string): void;
  endAll(end: End, why: string): number;
  /**
   * Moves the end of a task, no further than the ceiling of its purpose has it from its opening.
   * Returns the lifetime in ms.
   */
  extend(task: Task, lifetime: number): number;
  readonly stepUps: StepUps;
  /** Notes what an exchange was allowed, in the same turn as its decision. */
  claim(member: Member, call: Claimed): void;
}

export interface Proved {
  readonly task: Task;
  /** It may be extended, derived from and completed, besides being used. */
  readonly control: boolean;
}

/** The same credentials again on one connection prove the same task, if it is live. */
export interface Proof {
  credentials: string | undefined;
  task: Task | undefined;
}

export interface Claimed extends Pick<Decision, 'approval' | 'unused'> {
  readonly task: Task | undefined;
  /** Whose call it is; undefined: anybody's. */
  readonly agent?: Agent | undefined;
  readonly destination: Destination;
  readonly action: string;
}

export interface TasksOptions {
  readonly clock: Clock;
  /** Default: one, with the name `agent`. */
  readonly agents?: readonly Agent[];
  readonly policy: Cell<Policy>;
  readonly tell: (event: TaskEvent) => void;
  /**
   * Settles when what was told last stands in the evidence; rejects when it does not and must not
   * be acted upon.
   */
  readonly recorded?: (() => Promise<void>) | undefined;
  /**
   * Called in a later turn when what is live must be decided again: a history has grown, a grant
   * has shrunk.
   */
  readonly onChange: () => void;
  /**
   * What was done before this sidecar started is not known: every class counts as read and written.
   */
  readonly unknownPast?: boolean;
  /** What was counted against quotas, over a restart; in memory alone without it. */
  readonly counts?: CountsKept | undefined;
  readonly onAsked?: ((stepUp: StepUp) => void) | undefined;
  /** Gives back what was obtained for a task and names what could not be. */
  readonly release?: ((task: Task) => Promise<readonly string[]>) | undefined;
}
