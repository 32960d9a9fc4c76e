/** What belongs to a task while it runs: members, approvals that it holds, and what a call took. */
import type { Fault } from '../base/fault.ts';
import type { Approval, Approver } from '../policy/model/grant.ts';

/** An exchange of the task, as far as its end goes. */
export interface Member {
  readonly id: string;
  abort(reason: Fault): void;
}

/** An approval with its limits. */
export interface HeldApproval extends Approval {
  /** Who approved it. */
  readonly as: Approver;
  /** Monotonic milliseconds, of the approval and of its end. */
  readonly at: number;
  until: number;
  /** Calls that are left, and that were made. */
  callsLeft: number;
  spent: number;
}

/** What one call took of its task. */
export interface Claim {
  readonly approval: HeldApproval | undefined;
  /** Calls that had been made before it. */
  readonly before: number;
}
