/**
 * What a task is allowed, as values: the ceiling that a TaskPolicy sets, the grant that a task
 * holds, and the judgement of one call against it. Rules:
 * - a grant only narrows what the rules of a destination allow; it never opens anything that they
 *   do not;
 * - destination, action and data class must each be in the grant; what has no rules (a tunnel, raw
 *   TCP) has the action of its destination document;
 * - an action that needs step-up is in the grant only while an approval covers the call.
 */
import { formatAuthority } from '../../net/authority.ts';
import type { Destination } from '../protocols/index.ts';
import type { Approval, StepUpPolicy, TaskFacts } from '../model/grant.ts';
import { reaches } from '../model/targets.ts';
import type { Reading } from './call-digest.ts';

/** One call, as a grant is held against it. */
export interface Call {
  readonly destination: Destination;
  /** What is asked for there. */
  readonly host: string;
  readonly port: number;
  /** undefined for what only carries calls that are judged one by one. */
  readonly action: string | undefined;
  /**
   * It belongs to a conversation whose calls are judged one by one, and takes no use. What reads in
   * it needs no action of the grant either; an answer needs that of the call it belongs to.
   */
  readonly conversation?: 'reads' | 'answers' | undefined;
  readonly rule: string | undefined;
  readonly reading: Reading;
  /** Bytes of content that were read. */
  readonly content?: number | undefined;
  /**
   * Digest of its parameters (lib/policy/decision/call-digest.ts): asked for when it matters alone.
   * undefined where they cannot be read.
   */
  readonly digest: () => string | undefined;
}

export type GrantVerdict =
  | { readonly code: 'granted'; readonly approval: Approval | undefined }
  | {
      readonly code: 'outside-grant' | 'step-up' | 'not-approvable' | 'uses-spent' | 'quota-spent';
      readonly reason: string;
      readonly hint: string;
      /** Seconds. */
      readonly retryAfter?: number | undefined;
      readonly parameters?: string | undefined;
      readonly unread?: number | undefined;
    };

export function judgeGrant(task: TaskFacts, call: Call): GrantVerdict {
  const { grant, id } = task;
  const { destination, action } = call;
  if (!grant.destinations.has(destination.name))
    return outside(id, `destination ${destination.name} is not among its targets`);
  if (
    grant.hosts?.get(destination.name)?.some((one) => reaches(one, call.host, call.port)) === false
  )
    return outside(id, `its targets leave out ${formatAuthority(call.host, call.port)}`);
  if (!grant.dataClasses.has(destination.dataClass))
    return outside(
      id,
      `its data classes leave out ${destination.dataClass}, that of destination ` +
        `${destination.name}`,
    );
  if (action === undefined || call.conversation === 'reads')
    return { code: 'granted', approval: undefined };
  const counts = call.conversation === undefined;
  if (counts && task.uses >= grant.maxCalls) {
    const reason = `task ${id} has made the ${grant.maxCalls} calls that it was granted`;
    return { code: 'uses-spent', reason, hint: 'complete it and open another one' };
  }
  if (counts && task.spent !== undefined) {
    const { quota, retryAfter } = task.spent;
    const reason = `the ${quota} calls that an agent may make for purpose ${grant.purpose} are made`;
    return {
      code: 'quota-spent',
      reason,
      hint: `wait ${retryAfter} s; another task changes nothing`,
      retryAfter,
    };
  }
  if (grant.actions.has(action)) return { code: 'granted', approval: undefined };
  const stepUp = grant.stepUp.get(action);
  if (stepUp === undefined) return outside(id, `its actions leave out ${action}`);
  const supposed = task.approvals.find((one) => one.supposed === true && one.action === action);
  if (supposed !== undefined) return { code: 'granted', approval: supposed };
  return judgeStepUp(task, { ...call, action }, stepUp);
}

type StepUpCall = Call & { readonly action: string };

/**
 * An approval is for what was read: only one for any number of calls, whatever they are, goes
 * without.
 */
function judgeStepUp(
  { id, approvals }: TaskFacts,
  call: StepUpCall,
  stepUp: StepUpPolicy,
): GrantVerdict {
  const read = stepUp.bound || stepUp.maxCalls !== Infinity;
  const what = `action ${call.action} on destination ${call.destination.name}`;
  const reason = `task ${id} needs an approval for ${what}`;
  const hint =
    `ask for it: POST /v1/tasks/${id}/step-ups on the agent API, with the decision that this ` +
    'refusal names';
  if (read && call.reading === 'unread')
    return { code: 'step-up', reason, hint, unread: stepUp.maxBody };
  if (read && call.reading !== 'whole')
    return notApprovable(id, what, WHY[call.reading](stepUp.maxBody));
  if (read && (call.content ?? 0) > stepUp.maxBody)
    return notApprovable(id, what, WHY.long(stepUp.maxBody));
  const approval = approvals.find((one) => covers(one, call));
  if (approval !== undefined) return { code: 'granted', approval };
  return { code: 'step-up', reason, hint, parameters: stepUp.bound ? call.digest() : undefined };
}

/** Why nobody could say what is approved. */
const WHY: Readonly<Record<Exclude<Reading, 'whole'>, (most: number) => string>> = Object.freeze({
  unread: () => 'its content was not read',
  never: () => 'what is sent in it is not read',
  answer: () =>
    'it answers what the server asked within a call, and was not there to be shown with that call',
  long: (most) => `its content is longer than the ${most} bytes that are read`,
  streams: () => 'it sends more than one message, and only unary gRPC calls are read',
});

function notApprovable(id: string, what: string, why: string): GrantVerdict {
  return {
    code: 'not-approvable',
    reason:
      `task ${id} needs an approval for ${what}, and nobody could say what is ` +
      `approved: ${why}`,
    hint:
      'send less at once, decline what a server asks, or let the operator write bound: false ' +
      'and uncounted: true for this action',
  };
}

function covers({ action, destination, rule, digest }: Approval, call: Call): boolean {
  if (call.action !== action || destination !== call.destination.name || rule !== call.rule)
    return false;
  return digest === undefined || digest === call.digest();
}

function outside(id: string, why: string): GrantVerdict {
  const hint = 'open a task whose intent names it, if its purpose allows that';
  return { code: 'outside-grant', reason: `task ${id} does not cover this: ${why}`, hint };
}
