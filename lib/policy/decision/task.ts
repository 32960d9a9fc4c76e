/**
 * What a task adds to a decision: it can only refuse what the rules allowed. `mode: report` does
 * not relax it.
 */
import type { Destination } from '../protocols/index.ts';
import type { Facts } from '../model/facts.ts';
import type { Approval } from '../model/grant.ts';
import { parameterDigest, readingOf } from './call-digest.ts';
import { type Call, judgeGrant } from './grant.ts';

export type TaskVerdict =
  | { readonly code: 'granted'; readonly approval: Approval | undefined }
  | {
      readonly code:
        | 'task-required'
        | 'outside-grant'
        | 'uses-spent'
        | 'quota-spent'
        | 'step-up'
        | 'not-approvable';
      readonly reason: string;
      readonly hint: string;
      readonly retryAfter?: number | undefined;
      readonly parameters?: string | undefined;
      readonly unread?: number | undefined;
    };

const FREE: TaskVerdict = Object.freeze({ code: 'granted', approval: undefined });

/** What the call is, by the rule that allowed it or by its destination. */
export type Called = Pick<Call, 'action' | 'rule' | 'conversation'> & {
  /** Its rule says that more than one message is sent in it. */
  readonly streams?: boolean | undefined;
};

export function judgeTask(destination: Destination, called: Called, facts: Facts): TaskVerdict {
  const { task, host, port, http } = facts;
  if (task !== undefined) {
    const digest = (): string | undefined => parameterDigest(facts);
    const reading = called.streams === true ? 'never' : readingOf(facts);
    const read = http?.content;
    const content = typeof read === 'object' ? read.bytes.length : undefined;
    return judgeGrant(task, { destination, host, port, ...called, reading, content, digest });
  }
  if (destination.task === 'optional') return FREE;
  return {
    code: 'task-required',
    reason:
      `destination ${destination.name} is for calls that belong to a task, and this ` +
      'one names none',
    hint: 'open a task (POST /v1/tasks on the agent API) and use its proxyUrl',
  };
}
