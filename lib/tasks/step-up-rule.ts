/** Which rule of a TaskPolicy a step-up is asked under, and why one cannot be asked or answered. */
import { Fault } from '../base/fault.ts';
import type { StepUpPolicy } from '../policy/model/grant.ts';
import type { RefusedCall } from './refused-calls.ts';
import type { Asked } from './step-up.ts';
import type { Task } from './task.ts';

/** The rule that lets a task ask this; a Fault that says why it may not. */
export function ruleFor(
  { id, grant, open }: Task,
  { action, destination, digest }: Pick<RefusedCall, 'action' | 'destination' | 'digest'>,
): StepUpPolicy {
  const rule = grant.stepUp.get(action);
  if (!open) throw new Fault('task-unknown', `task ${id} is not open`);
  if (rule === undefined) {
    if (grant.actions.has(action))
      throw new Fault('denied', `task ${id} may do ${action} without a step-up`);
    throw new Fault(
      'denied',
      `action ${action} is not in the grant of task ${id}, with a step-up or without`,
      {
        hint: 'name it in the intent when the task is opened',
      },
    );
  }
  if (!grant.destinations.has(destination))
    throw new Fault('denied', `destination ${destination} is not in the grant of task ${id}`);
  if (rule.bound !== (digest !== undefined)) {
    const hint = 'make the call again, and ask for that';
    throw new Fault(
      'denied',
      `the policy has changed what approvals of action ${action} are bound to`,
      { hint },
    );
  }
  return rule;
}

export function notWaiting(one: Asked): Fault {
  const { id, state } = one.stepUp;
  const still = one.answering ? 'is being answered' : `is ${state}`;
  const why = one.task.open ? still : 'belongs to a task that has ended';
  return new Fault('no-such-step-up', `step-up ${id} no longer waits for an answer: it ${why}`);
}

export function noSuchCall({ id }: Task, decision: string): Fault {
  return new Fault(
    'no-such-call',
    `no call of task ${id} that waits for an approval has decision ${decision.slice(0, 64)}`,
    {
      hint: 'make the call, and send the decision that its refusal names; old ones are forgotten',
      at: 'decision',
    },
  );
}
