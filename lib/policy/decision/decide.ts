/**
 * The decision. Total, synchronous and pure: the same policy and facts give the same decision,
 * words included. Order:
 *   1. which destination: the listener's own, or the most specific for host and port; none: deny;
 *   2. what the access matrix does with it there; refused: deny;
 *   3. a tunnel that only transports requests: allow, since each of them is decided for itself;
 *   4. what the protocol of the destination says (lib/policy/protocols): its rules, or, of a
 *      connection in which no request is seen, that it is the destination;
 *   5. what is allowed is held against the task (lib/policy/decision/task.ts), which can only
 *      refuse.
 * `mode: report` turns what rules deny in step 4, and nothing else, into allow with the code
 * `reported`. Reasons name destination, rule, method, path and the name of a tool, never a query, a
 * header, an argument or a body.
 */
import { formatAuthority } from '../../net/authority.ts';
import type { SpiffeId } from '../../spiffe/id.ts';
import { type MatrixRow, transportOnly } from '../model/access-matrix.ts';
import type { Facts } from '../model/facts.ts';
import { type Verdict, isAllowed } from '../model/verdict.ts';
import { uninspectable } from '../protocols/by-rules.ts';
import { type Destination, matrixRow, protocolOf } from '../protocols/index.ts';
import type { Decision } from './decision.ts';
import { Evaluation } from './evaluation.ts';
import { locate } from './locate.ts';
import type { Policy } from './policy.ts';
import { type TaskVerdict, judgeTask } from './task.ts';

/** `self`: our own SPIFFE ID; undefined while there is none. */
export function decide(policy: Policy, facts: Facts, self?: SpiffeId): Decision {
  const { destination, verdict: nowhere } = locate(policy, facts);
  if (nowhere !== undefined) return decision(policy, destination, nowhere);
  const row = matrixRow(facts, destination);
  if (row.outcome === 'refused')
    return decision(policy, destination, refused(destination, facts, row));
  const transports = transportOnly(row);
  const verdict = transports
    ? transported(destination, facts, row)
    : protocolOf(destination).judge(new Evaluation(destination, facts, self));
  if (!isAllowed(verdict)) return decision(policy, destination, verdict);
  const action = transports ? undefined : actionOf(verdict, destination);
  const task = judgeTask(destination, { ...calledBy(verdict), action }, facts);
  return decision(policy, destination, { ...verdict, action }, task);
}

const ENTRY = Object.freeze({
  forward: 'to plain requests of the forward proxy',
  connect: 'over CONNECT',
  intercept: 'inside an intercepted tunnel',
  cleartext: 'in the clear inside a tunnel',
  listener: 'on a local listener',
});

function refused({ name }: Destination, { entry }: Facts, { why, hint }: MatrixRow): Verdict {
  const reason = `destination ${name} is not served ${ENTRY[entry]}: ${why}`;
  return { code: 'wrong-entry', reason, hint };
}

function transported(destination: Destination, facts: Facts, { outcome }: MatrixRow): Verdict {
  if (facts.http !== undefined) return uninspectable(destination);
  const where = formatAuthority(facts.host, facts.port);
  const reason =
    `destination ${destination.name} is ${outcome}: what is asked of ${where} is ` +
    'judged request by request';
  return { code: 'allowed', reason };
}

/**
 * Without a rule, the action is the destination's own `action`. A tunnel that only transports
 * requests has none.
 */
function actionOf({ action, rule }: Verdict, destination: Destination): string {
  return action ?? rule?.action ?? destination.action;
}

function calledBy({
  rule,
  conversation,
  streams,
}: Verdict): Omit<Parameters<typeof judgeTask>[1], 'action'> {
  return { rule: rule?.name, conversation, streams };
}

/** What the task refuses comes before what the destination allowed. */
function decision(
  policy: Policy,
  destination: Destination | undefined,
  verdict: Verdict,
  task?: TaskVerdict,
): Decision {
  const refusal = task === undefined || task.code === 'granted' ? undefined : task;
  const approval = task?.code === 'granted' ? task.approval : undefined;
  const { code, reason, hint } = refusal ?? verdict;
  return {
    effect: isAllowed({ code }) ? 'allow' : 'deny',
    code,
    reason,
    hint,
    retryAfter: refusal?.retryAfter,
    parameters: refusal === undefined ? approval?.digest : refusal.parameters,
    unread: refusal?.unread,
    destination,
    rule: verdict.rule?.name,
    action: verdict.action ?? verdict.rule?.action,
    unused: verdict.conversation === undefined ? undefined : true,
    policyError: verdict.policyError,
    limits: verdict.conversation === undefined ? verdict.rule?.limits : undefined,
    approval,
    policyGeneration: policy.generation,
  };
}
