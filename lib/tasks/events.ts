/** What happens to tasks, as it goes into evidence. No event holds a secret. */
import { targetText } from '../policy/model/targets.ts';
import type { HeldApproval } from './task-parts.ts';
import type { Task } from './task.ts';

export type TaskEventName =
  | 'opened'
  | 'extended'
  | 'narrowed'
  | 'completed'
  | 'revoked'
  | 'expired'
  | 'step-up-asked'
  | 'step-up-approved'
  | 'step-up-denied'
  | 'step-up-lapsed'
  | 'step-up-unanswered'
  | 'credential-left';

export interface TaskEvent {
  readonly event: TaskEventName;
  readonly task: string;
  /** Name of the agent whose task it is, once it is on its way into evidence. */
  readonly agent?: string | undefined;
  readonly detail: Readonly<Record<string, string | number>>;
}

export function openedDetail(task: Task, isolated: boolean, refused: number): TaskEvent['detail'] {
  const { intent, grant, parent, lifetime } = task;
  const hosts = [...(grant.hosts?.values() ?? [])].flat().map(targetText).join(' ');
  return {
    purpose: intent.purpose,
    ...(intent.owner === undefined ? undefined : { owner: intent.owner }),
    ...(intent.onBehalfOf === undefined ? undefined : { onBehalfOf: intent.onBehalfOf }),
    ...(parent === undefined ? undefined : { parent: parent.id }),
    destinations: [...grant.destinations].join(' '),
    ...(hosts === '' ? undefined : { hosts }),
    actions: [...grant.actions].join(' '),
    stepUp: [...grant.stepUp.keys()].join(' '),
    dataClasses: [...grant.dataClasses].join(' '),
    maxCalls: grant.maxCalls,
    lifetime: Math.floor(lifetime),
    isolated: isolated ? 'yes' : 'no',
    refused,
  };
}

/** Records approvals whose time is over. */
export function recordLapsed(
  { id: task }: Task,
  lapsed: readonly HeldApproval[],
  record: (event: TaskEvent) => void,
): void {
  for (const { id } of lapsed)
    record({ event: 'step-up-lapsed', task, detail: { stepUp: id, was: 'approved' } });
}
