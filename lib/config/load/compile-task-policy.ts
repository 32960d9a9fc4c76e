/** From a TaskPolicy document to the ceiling of its tasks. */
import type { Condition } from '../../policy/model/condition.ts';
import type { TaskPolicy } from '../../policy/model/grant.ts';
import type { TaskPolicyDocument } from '../documents/schema.ts';

export function compileTaskPolicy(
  { metadata, spec }: TaskPolicyDocument,
  at: string,
  when: Condition | undefined,
): TaskPolicy {
  return Object.freeze({
    name: metadata.name,
    purposes: spec.purposes,
    owners: spec.owners && new Set(spec.owners),
    agents: spec.agents && new Set(spec.agents),
    destinations: new Set(spec.destinations),
    actions: new Set(spec.actions),
    dataClasses: new Set(spec.dataClasses),
    lifetime: spec.lifetime,
    maxCalls: spec.maxCalls,
    maxOpenTasks: spec.maxOpenTasks,
    quotas: spec.quotas ?? NO_QUOTAS,
    depth: spec.depth,
    isolated: spec.isolated,
    when,
    stepUp: Object.freeze(
      spec.stepUp.map((one) =>
        Object.freeze({
          ...one,
          actions: new Set(one.actions),
          approvers: new Set(one.approvers),
          maxCalls: one.uncounted ? Infinity : one.maxCalls,
        }),
      ),
    ),
    at,
  });
}

const NO_QUOTAS: TaskPolicy['quotas'] = Object.freeze({});
