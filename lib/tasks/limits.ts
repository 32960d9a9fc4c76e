/**
 * What a TaskPolicy says of a task, at its opening, at each extension and after each reload alike.
 */
import { Fault } from '../base/fault.ts';
import { IntentContext, type IntentFacts } from '../policy/conditions/intent-scope.ts';
import type { TaskPolicy } from '../policy/model/grant.ts';
import { type Ceiling, narrow } from './attenuate.ts';
import type { Intent } from './intent.ts';
import type { Spent, Whose } from './quotas.ts';
import type { HeldApproval } from './task-parts.ts';
import type { Task } from './task.ts';

/**
 * Over what would be granted, so that what was cut off does not count against it. undefined: it
 * holds.
 */
export function conditionObjects(
  { name, when }: TaskPolicy,
  facts: IntentFacts,
): string | undefined {
  const answer = when?.evaluate(new IntentContext(facts)) ?? true;
  if (answer === true) return undefined;
  const why = answer === false ? 'does not hold' : `could not be evaluated (${answer.problem})`;
  return `the condition of task policy ${name} ${why}`;
}

/**
 * What the condition of its TaskPolicy is about, were it asked for now, to last so many ms from its
 * opening.
 */
export function factsOf(
  { intent, grant, isolated, depth }: Task,
  lifetime: number,
  now: number,
): IntentFacts {
  const { owner, onBehalfOf } = intent;
  return { owner, onBehalfOf, grant, lifetime, isolated, depth, time: now };
}

/** Narrows a task that is open to a ceiling that may have changed. */
export function limitTo(
  task: Task,
  ceiling: Ceiling,
  monotonic: number,
): { readonly lapsed: readonly HeldApproval[]; readonly narrower: boolean } {
  const narrowed = narrow(task.grant, ceiling);
  const lapsed = task.narrowApprovals(narrowed.stepUp, monotonic);
  const most = longest(task, ceiling.lifetime);
  const narrower = sizeOf(narrowed) !== sizeOf(task.grant) || task.lifetime > most;
  task.grant = narrowed;
  task.lifetime = Math.min(task.lifetime, most);
  return { lapsed, narrower };
}

function sizeOf({ destinations, actions, stepUp, dataClasses, maxCalls }: Task['grant']): string {
  return [destinations.size, actions.size, stepUp.size, dataClasses.size, maxCalls].join();
}

export function mayOwn({ owners }: TaskPolicy, { owner, onBehalfOf }: Intent): boolean {
  return (
    owners === undefined || [owner, onBehalfOf].every((one) => one === undefined || owners.has(one))
  );
}

/**
 * Milliseconds that a task may last from its opening: as long as its purpose has it, and no longer
 * than its parent.
 */
export function longest({ parent, opened }: Task, lifetime: number): number {
  return parent === undefined
    ? lifetime
    : parent.opened.monotonic + parent.lifetime - opened.monotonic;
}

export function quotaSpent({ agent, purpose }: Whose, { quota, retryAfter }: Spent): Fault {
  const hint = `wait ${retryAfter} s, or go on in a task that is open`;
  return new Fault(
    'quota-spent',
    `agent ${agent} has opened the ${quota} tasks that it may for purpose ${purpose}`,
    {
      hint,
      retryAfter,
    },
  );
}

export function refusal(message: string, hint: string): Fault {
  return new Fault('task-refused', message, { hint });
}
