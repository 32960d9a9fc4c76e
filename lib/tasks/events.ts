/** What happens to tasks, as it goes into evidence. No event holds a secret. */
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
  readonly detail: Readonly<Record<string, string | number>>;
}
