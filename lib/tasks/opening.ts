/**
 * Whether a task may be opened, derived or kept, before its condition is asked. What is refused is
 * a Fault that names the TaskPolicy and what to do.
 */
import type { Agent } from '../policy/model/agent.ts';
import type { TaskPolicy } from '../policy/model/grant.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Clock } from '../base/clock.ts';
import { type Attenuation, type Ceiling, ceilingUnder } from './attenuate.ts';
import type { Intent } from './intent.ts';
import { mayOpen } from './agents.ts';
import { conditionObjects, factsOf, longest, mayOwn, refusal } from './limits.ts';
import { tree, type Task } from './task.ts';

/** TaskPolicy of the purpose that an agent asks for. Throws a Fault unless it may open the task. */
export function ruleFor(policy: Policy, intent: Intent, agent: Agent): TaskPolicy {
  const { purpose, owner, onBehalfOf } = intent;
  const rule = policy.taskPolicies.get(purpose);
  // The operator knows the purposes: whoever steers the agent would ask for the widest.
  if (rule === undefined)
    throw refusal(
      `no task policy has the purpose ${purpose}`,
      'ask the operator which purpose to use',
    );
  if (!mayOwn(rule, intent)) {
    const who = owner ?? onBehalfOf ?? '';
    const hint = 'its owners are listed there';
    throw refusal(`task policy ${rule.name} does not let ${who} open a task`, hint);
  }
  if (!mayOpen(rule, intent, agent)) {
    const hint = 'see agents of the task policy, and purposes of the agent in the Sidecar document';
    throw refusal(`agent ${agent.name} may not open tasks of purpose ${purpose}`, hint);
  }
  return rule;
}

/** Throws a Fault where no task may be derived from the parent with this intent. */
export function requireDerivable(parent: Task, intent: Intent, rule: TaskPolicy): void {
  if (parent.depth >= rule.depth)
    throw refusal(
      `task policy ${rule.name} lets tasks be derived ${rule.depth} deep`,
      'use the task that there is',
    );
  for (const part of ['purpose', 'owner', 'onBehalfOf'] as const) {
    if (intent[part] !== parent.intent[part])
      throw refusal(
        `${part} is not that of task ${parent.id}`,
        'a derived task has purpose and owner of its parent',
      );
  }
  const open = tree(parent.root).filter((task) => task.open).length;
  if (open >= rule.maxOpenTasks)
    throw refusal(`${open} tasks are open under task ${parent.root.id}`, 'complete some of them');
}

/** Throws a Fault that says why, where nothing is left of an intent. */
export function requireGrant({ grant, refused }: Attenuation): void {
  if (grant.destinations.size > 0 && grant.actions.size + grant.stepUp.size > 0) return;
  const words = refused.map(({ part, value, reason }) => `${part} ${value}: ${reason}`).join('; ');
  throw refusal(`nothing is left of the intent: ${words}`, 'see the task policy of this purpose');
}

/**
 * Why an open task would not be opened any more under the TaskPolicy of now; undefined where it
 * would.
 * @param under tasks under its root up to this one
 */
export function objectionTo(
  task: Task,
  rule: TaskPolicy | undefined,
  under: number,
): string | undefined {
  if (rule === undefined) return 'its purpose is no longer in the policy';
  if (!mayOwn(rule, task.intent)) return 'its owner may not open such a task any more';
  if (!mayOpen(rule, task.intent, task.agent)) return 'its agent may not open such a task any more';
  if (task.isolated && !rule.isolated) return 'a history of its own is no longer allowed';
  if (task.depth > rule.depth) return 'it is derived deeper than is still allowed';
  if (under > rule.maxOpenTasks)
    return `${rule.maxOpenTasks} tasks may still be open under one that was opened`;
  return undefined;
}

/** What a parent has left to give at `now`, in monotonic milliseconds. */
export function ceilingLeft(parent: Task, now: number): Ceiling {
  const lifetime = parent.lifetime - (now - parent.opened.monotonic);
  return ceilingUnder(parent.id, parent.grant, {
    lifetime: Math.max(1, Math.floor(lifetime)),
    maxCalls: Math.max(1, parent.grant.maxCalls - parent.uses),
  });
}

interface ExtendedBy {
  /** TaskPolicy of now; undefined where there is none any more. */
  readonly rule: TaskPolicy | undefined;
  readonly clock: Clock;
}

/**
 * Lifetime from its opening that a task has once it is extended, in milliseconds.
 * @throws Fault where it may not last longer
 */
export function extendedLifetime(
  task: Task,
  lifetime: number,
  { rule, clock }: ExtendedBy,
): number {
  const spent = clock.monotonic() - task.opened.monotonic;
  const most = longest(task, rule?.lifetime ?? 0);
  const asked = Math.min(spent + lifetime, most);
  if (asked <= task.lifetime)
    throw refusal(
      `task ${task.id} cannot be extended`,
      `it may last ${Math.floor(most)} ms from its opening`,
    );
  // Over the whole of its time, as though it were opened for that long.
  const objection = rule && conditionObjects(rule, factsOf(task, asked, clock.now()));
  if (objection !== undefined) throw refusal(objection, 'see its when');
  return asked;
}
