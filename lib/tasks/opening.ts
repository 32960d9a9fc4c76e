/**
 * Whether a task may be opened, derived or kept, before its condition is asked. What is refused is
 * a Fault that names the TaskPolicy and what to do.
 */
import type { Agent } from '../policy/model/agent.ts';
import type { TaskPolicy } from '../policy/model/grant.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Attenuation } from './attenuate.ts';
import type { Intent } from './intent.ts';
import { mayOpen } from './agents.ts';
import { mayOwn, refusal } from './limits.ts';
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
export function objectionTo(task: Task, rule: TaskPolicy, under: number): string | undefined {
  if (!mayOwn(rule, task.intent)) return 'its owner may not open such a task any more';
  if (!mayOpen(rule, task.intent, task.agent)) return 'its agent may not open such a task any more';
  if (task.isolated && !rule.isolated) return 'a history of its own is no longer allowed';
  if (task.depth > rule.depth) return 'it is derived deeper than is still allowed';
  if (under > rule.maxOpenTasks)
    return `${rule.maxOpenTasks} tasks may still be open under one that was opened`;
  return undefined;
}
