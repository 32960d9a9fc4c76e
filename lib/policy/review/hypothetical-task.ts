/**
 * A task that is only supposed, for tests of policy: granted the whole ceiling of its purpose, or
 * everything where no TaskPolicy has the purpose.
 */
import type { Approval, Grant, TaskFacts } from '../model/grant.ts';
import { type Destination, protocolOf } from '../protocols/index.ts';
import type { Policy } from '../decision/policy.ts';

export type SupposedTask = Pick<
  TaskFacts,
  'id' | 'purpose' | 'depth' | 'read' | 'wrote' | 'actions' | 'destinations' | 'uses'
> & {
  /** Actions for which a step-up was approved. */
  readonly elevated: readonly string[];
};

export function supposedTask({ elevated, ...task }: SupposedTask, policy: Policy): TaskFacts {
  const approvals = elevated.map((action): Approval => {
    return {
      id: 'supposed',
      action,
      destination: '',
      rule: undefined,
      digest: undefined,
      supposed: true,
    };
  });
  return {
    ...task,
    owner: 'test',
    onBehalfOf: undefined,
    grant: grantOf(task.purpose, policy),
    approvals,
  };
}

function grantOf(purpose: string, { taskPolicies, destinations }: Policy): Grant {
  const ceiling = taskPolicies.get(purpose);
  if (ceiling === undefined) {
    return {
      purpose,
      destinations: new Set(destinations.map(({ name }) => name)),
      actions: new Set(destinations.flatMap(actionsOf)),
      stepUp: new Map(),
      dataClasses: new Set(destinations.map(({ dataClass }) => dataClass)),
      maxCalls: Infinity,
    };
  }
  const { actions, stepUp, maxCalls, dataClasses } = ceiling;
  const later = stepUp.flatMap((one) =>
    Array.from(one.actions, (action) => [action, one] as const),
  );
  return {
    purpose,
    destinations: ceiling.destinations,
    actions,
    stepUp: new Map(later),
    dataClasses,
    maxCalls,
  };
}

function actionsOf(destination: Destination): readonly string[] {
  const rules = protocolOf(destination).rules(destination.service);
  return ['read', 'write', destination.action, ...rules.flatMap(({ action }) => action ?? [])];
}
