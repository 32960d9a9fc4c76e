/**
 * What the agent is told when its request ends in a Fault: one JSON shape for every code, the same words as in the record, never a
 * secret. The `chaperone-decision` field names the exchange in the audit log.
 *
 *   {"error":{"code":"denied","message":"…","hint":"…","rule":"…","decision":"<exchange id>"}}
 */
import { Fault } from '../base/fault.ts';
import type { OutgoingResponse } from '../http1/message.ts';
import type { Decision } from '../policy/facts.ts';
import { plain } from './evidence.ts';

export interface Answer {
  readonly head: OutgoingResponse;
  readonly body: Buffer;
}

export const DECISION_FIELD = 'chaperone-decision';

/** A refusal of the policy as a Fault, in the decision's own words. */
export function denial(decision: Decision): Fault {
  const options = decision.hint === undefined ? {} : { hint: decision.hint };
  if (decision.code === 'misdirected') return new Fault('misdirected', decision.reason, options);
  if (decision.code === 'wrong-entry') return new Fault('wrong-entry', decision.reason, options);
  if (decision.code === 'task-required') return new Fault('task-required', decision.reason, options);
  if (decision.code === 'step-up') return new Fault('step-up-required', decision.reason, options);
  return new Fault('denied', decision.reason, options);
}

export function faultAnswer(fault: Fault, id: string, rule?: string): Answer {
  // What failed inside is for the record and the log, not for the agent.
  const message = fault.code === 'internal' ? 'the sidecar failed' : plain(fault.message);
  const hint = fault.hint === undefined ? undefined : plain(fault.hint);
  const body = Buffer.from(`${JSON.stringify({ error: { code: fault.code, message, hint, rule, decision: id } })}\n`);
  const fields = ['content-type', 'application/json', 'cache-control', 'no-store', DECISION_FIELD, id];
  if (fault.http === 407) fields.push('proxy-authenticate', 'Basic realm="chaperone task"');
  if (fault.http === 503) fields.push('retry-after', String(fault.retryAfter ?? 1));
  // Behind a request that was refused nothing else on its connection is read, as attackers pipeline there; a request that only failed was sound.
  const close = !FAILURES.has(fault.http);
  return { head: { status: statusOf(fault), fields, length: body.length, close }, body };
}

const FAILURES: ReadonlySet<number> = new Set([502, 503, 504]);

/** 499 is for records; on the wire it does not exist. */
function statusOf(fault: Fault): number {
  return fault.http === 499 ? 503 : fault.http;
}
