/** A step-up: the question for an approval, its states and its answers. */
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Approver } from '../policy/model/grant.ts';
import type { CallView } from '../policy/review/call-view.ts';
import type { TaskEvent } from './events.ts';
import type { RefusedCall } from './refused-calls.ts';
import type { Task } from './task.ts';

export interface Question {
  /** The refused exchange: `decision` of its refusal. */
  readonly decision: string;
  /** The agent's words, for whoever decides. */
  readonly reason?: string | undefined;
}

export type StepUpState = 'pending' | 'approved' | 'denied' | 'lapsed';

export interface StepUp extends Omit<RefusedCall, 'id' | 'view'>, Question {
  readonly id: string;
  readonly task: string;
  readonly agent: string;
  readonly state: StepUpState;
  readonly call: CallView;
  readonly approvers: readonly Approver[];
  /** Milliseconds and calls that an approval is good for; Infinity: any number. */
  readonly ttl: number;
  readonly maxCalls: number;
  /** Wall clock, milliseconds. */
  readonly askedAt: number;
  readonly answeredBy?: string;
  readonly answer?: string;
}

/** How an approval may narrow. */
export interface Approval {
  readonly ttl?: number | undefined;
  readonly maxCalls?: number | undefined;
  readonly by: string;
  readonly as: Approver;
}

export interface Denial {
  readonly by: string;
  readonly why: string;
  /** Milliseconds that it holds; by itself as long as a task of the purpose may last. */
  readonly ttl?: number | undefined;
}

export interface StepUps {
  /** Keeps a call that was refused because it waits for an approval. */
  refused(task: Task, call: RefusedCall): void;
  /**
   * Asks; approved at once where policy itself approves.
   * @throws Fault `no-such-call`, `denied`, `too-many`, `audit-unavailable`
   */
  ask(task: Task, question: Question): Promise<StepUp>;
  /** @throws Fault `no-such-step-up`, `denied`, `audit-unavailable`; then nothing is approved */
  approve(id: string, approval: Approval): Promise<StepUp>;
  deny(id: string, denial: Denial): StepUp;
  get(id: string): StepUp | undefined;
  of(task: Task): readonly StepUp[];
  pending(): readonly StepUp[];
  /** Lets questions lapse that were not answered in time. */
  lapse(): void;
  /** Forgets those of a task that has ended. */
  forget(task: Task): void;
}

export const STEP_UP_LIMITS = Object.freeze({
  pendingMs: 600_000,
  /** That wait for an answer at one time. */
  waitingPerTask: 3,
  waitingPerAgent: 10,
  /** That are remembered. */
  perTask: 64,
  all: 16_384,
});

export interface Asked {
  stepUp: StepUp;
  readonly task: Task;
  readonly askedAt: number;
  /** Its approval is being recorded. */
  answering: boolean;
}

export interface StepUpsOptions {
  readonly clock: Clock;
  readonly tell: (event: TaskEvent) => void;
  /** As in TasksOptions. */
  readonly recorded?: (() => Promise<void>) | undefined;
  /** Told of a question that waits for somebody. */
  readonly onAsked?: ((stepUp: StepUp) => void) | undefined;
  readonly policy: Cell<Policy>;
}
