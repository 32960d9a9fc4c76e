/**
 * The answer to a request that ends in a Fault: the words of the record and what to do,
 * never a secret. JSON where the request's Accept or Content-Type names JSON, else one line of
 * text, which git, Go and people at a terminal print. The `chaperone-decision` field names the
 * exchange in the audit log.
 *
 *   {"error":"denied","message":"<reason; what to do>","rule":"…","decision":"<exchange id>"}
 *   <reason; what to do> [chaperone: denied, rule …, decision <exchange id>]
 */
import { CODES, type Code, Fault } from '../base/fault.ts';
import { type Fields, type OutgoingResponse, fieldOf } from '../http/message.ts';
import type { Decision } from '../policy/decision/decision.ts';
import { plain } from './evidence.ts';

export interface Answer {
  readonly head: OutgoingResponse;
  readonly body: Buffer;
}

/** The refused exchange. */
export interface RefusedExchange {
  readonly id: string;
  readonly rule?: string | undefined;
  /** Fields of the request; undefined where they could not be read. */
  readonly fields?: Fields | undefined;
}

export const DECISION_FIELD = 'chaperone-decision';

/** A refusal of the policy as a Fault, in the decision's own words. */
export function denial(decision: Decision): Fault {
  const options = decision.hint === undefined ? {} : { hint: decision.hint };
  if (decision.code === 'misdirected') return new Fault('misdirected', decision.reason, options);
  if (decision.code === 'wrong-entry') return new Fault('wrong-entry', decision.reason, options);
  if (decision.code === 'task-required')
    return new Fault('task-required', decision.reason, options);
  if (decision.code === 'quota-spent')
    return new Fault('quota-spent', decision.reason, { ...options, ...after(decision) });
  if (decision.code === 'step-up') return new Fault('step-up-required', decision.reason, options);
  return new Fault('denied', decision.reason, options);
}

function after({ retryAfter }: Decision): { readonly retryAfter?: number } {
  return retryAfter === undefined ? {} : { retryAfter };
}

/** Refusals that stay what they are until somebody changes the policy. */
const STANDING: ReadonlySet<Code> = new Set<Code>([
  'denied',
  'wrong-entry',
  'address-refused',
  'no-longer-allowed',
]);

/** Reason and what to do in one line, for people and for models that read nothing else. */
export function messageOf(fault: Fault): string {
  // What failed inside is for the record and the log, not for the agent.
  if (fault.code === 'internal') return 'the sidecar failed';
  const parts = [plain(fault.message)];
  if (fault.hint !== undefined) parts.push(plain(fault.hint));
  if (STANDING.has(fault.code)) parts.push('do not repeat it as it is');
  return parts.join('; ');
}

export function faultAnswer(fault: Fault, { id, rule, fields }: RefusedExchange): Answer {
  const json = fields !== undefined && readsJson(fields);
  const message = messageOf(fault);
  const by = rule === undefined ? '' : `, rule ${rule}`;
  const text = json
    ? JSON.stringify({ error: fault.code, message, rule, decision: id })
    : `${message} [chaperone: ${fault.code}${by}, decision ${id}]`;
  const body = Buffer.from(`${text}\n`);
  const type = json ? 'application/json' : 'text/plain; charset=utf-8';
  const head = ['content-type', type, 'cache-control', 'no-store', DECISION_FIELD, id];
  if (fault.http === 407) head.push('proxy-authenticate', 'Basic realm="chaperone task"');
  if (fault.http === 503 || fault.http === 429)
    head.push('retry-after', String(fault.retryAfter ?? 1));
  // Behind a refused upgrade bytes of the other protocol may come (RFC 9931).
  const close =
    endsConnection(fault.code) ||
    (fields !== undefined && fieldOf(fields, 'upgrade') !== undefined);
  return { head: { status: statusOf(fault), fields: head, length: body.length, close }, body };
}

/** Longest reason phrase, in characters: some clients print the status line and nothing else. */
const MAX_PHRASE = 120;

/**
 * Why a CONNECT is refused, for its status line (RFC 9112 section 4): printable ASCII alone. Words
 * about what could not be read may quote the agent, so that only the code is named.
 */
export function reasonPhrase(fault: Fault, judged: boolean): string {
  const text = judged || fault.http === 407 ? messageOf(fault) : fault.code;
  return `chaperone: ${text.replace(/[^ -~]/g, '?')}`.slice(0, MAX_PHRASE);
}

/** True if the client says that it reads JSON, or speaks it. */
function readsJson(fields: Fields): boolean {
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i];
    if ((name === 'accept' || name === 'content-type') && /[/+]json\b/i.test(fields[i + 1] ?? ''))
      return true;
  }
  return false;
}

/** Of an upstream or of ourselves: the request was sound. */
const FAILURES: ReadonlySet<number> = new Set([502, 503, 504]);

/**
 * Refusals of requests that were read and understood: what comes behind them on their connection is
 * read. Behind a request that could not be read plainly nothing is, as attackers pipeline there.
 */
const UNDERSTOOD: ReadonlySet<Code> = new Set<Code>([
  'denied',
  'wrong-entry',
  'address-refused',
  'no-longer-allowed',
  'misdirected',
  'loop',
  'task-unknown',
  'task-required',
  'task-refused',
  'task-ended',
  'step-up-required',
  'quota-spent',
  'session-unknown',
  'header-mismatch',
  'unsupported-version',
]);

/** True if nothing more is read on the connection of a request that was refused so. */
export function endsConnection(code: Code): boolean {
  return !UNDERSTOOD.has(code) && !FAILURES.has(CODES[code].http);
}

/** 499 is for records; on the wire it does not exist. */
function statusOf(fault: Fault): number {
  return fault.http === 499 ? 503 : fault.http;
}
