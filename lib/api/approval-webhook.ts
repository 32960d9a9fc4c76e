/**
 * Somebody outside who approves step-ups: the question is posted as JSON, the answer decides.
 * Rules:
 * - question and answer are both signed: `chaperone-signature: t=<seconds>,v1=<hex>`, HMAC-SHA256
 *   with the shared secret over `<seconds>.<body>`;
 * - an answer counts once: it repeats the nonce of its question and is no older than a minute, so
 *   that no old one can be played again;
 * - an answer that is missing, late, unsigned, malformed or not for this question decides nothing:
 *   the step-up goes on waiting, and an event says why;
 * - redirects are not followed, and what the other side says is told in records by its shape alone.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { type Clock, sleep } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { link } from '../base/signal.ts';
import { duration, note, person, token } from '../config/documents/scalars.ts';
import { choice, integer, optional, record, required } from '../schema/decode.ts';
import type { TaskEvent } from '../tasks/events.ts';
import type { StepUp, StepUps } from '../tasks/step-up.ts';
import type { Task } from '../tasks/task.ts';
import type { Resolver } from '../upstream/resolver.ts';
import { decodeBody } from './api.ts';
import { post } from './post.ts';

export interface WebhookOptions {
  readonly url: string;
  readonly secret: string;
  /** Milliseconds for one answer. */
  readonly timeout: number;
  readonly clock: Clock;
  /** Of the name in the URL. */
  readonly resolver: Resolver;
  readonly stepUps: () => StepUps;
  readonly task: (id: string) => Task | undefined;
  readonly tell: (event: TaskEvent) => void;
  /** Ends what is under way. */
  readonly signal: AbortSignal;
}

export const SIGNATURE = 'chaperone-signature';
/** Seconds that an answer may be old, or that clocks may differ. */
export const SKEW_SECONDS = 60;
/** Bytes of an answer. */
const MAX_ANSWER = 16_384;
/** Milliseconds before each further try of a question that was not answered. */
const RETRIES: readonly number[] = [1000, 5000];

const answerSchema = record({
  decision: required(choice(['approve', 'deny']), 'What becomes of the step-up.'),
  nonce: required(token, 'That of the question.'),
  by: required(person, 'Who decided.'),
  reason: optional(note, 'For the agent, when it is refused.'),
  ttl: optional(duration('60s'), 'Shorter than the policy has it.'),
  maxCalls: optional(integer(1, 1_000_000), 'Fewer calls than the policy has it.'),
});

/** Asks; never throws. Settles when the step-up is answered, or nobody will. */
export function approvalWebhook(options: WebhookOptions): (stepUp: StepUp) => Promise<void> {
  return async (stepUp) => {
    for (const pause of [0, ...RETRIES]) {
      try {
        if (pause > 0) await sleep(options.clock, pause, options.signal);
        if (options.stepUps().get(stepUp.id)?.state !== 'pending') return;
        await ask(stepUp, options);
        return;
      } catch (failure) {
        const fault = Fault.from(failure, 'webhook');
        options.tell({
          event: 'step-up-unanswered',
          task: stepUp.task,
          detail: { stepUp: stepUp.id, why: fault.message },
        });
        if (options.signal.aborted || !fault.retriable) return;
      }
    }
  };
}

async function ask(
  stepUp: StepUp,
  { url, secret, timeout, clock, resolver, stepUps, task, signal }: WebhookOptions,
): Promise<void> {
  const nonce = randomBytes(24).toString('base64url');
  const body = JSON.stringify(question(stepUp, task(stepUp.task), nonce));
  using limited = link(signal);
  const late = new Fault('webhook-unreachable', `the webhook did not answer within ${timeout} ms`);
  const cancel = clock.after(timeout, () => limited.abort(late), true);
  try {
    const headers = {
      'content-type': 'application/json',
      [SIGNATURE]: sign(body, secret, clock.now()),
    };
    const posting = { headers, resolver, signal: limited.signal, most: MAX_ANSWER };
    const { status, headers: said, text } = await post(url, body, posting);
    if (status < 200 || status > 299)
      throw new Fault('webhook-unreachable', `the webhook answered ${status}`);
    verify(String(said[SIGNATURE] ?? ''), text, { secret, now: clock.now() });
    await carryOut(stepUp.id, decodeBody(answerSchema, text), { nonce, stepUps: stepUps() });
  } catch (failure) {
    if (failure instanceof Fault) throw failure;
    throw limited.signal.aborted
      ? late
      : new Fault('webhook-unreachable', 'the webhook cannot be reached', { cause: failure });
  } finally {
    cancel();
  }
}

function question(stepUp: StepUp, task: Task | undefined, nonce: string): object {
  const { id, decision, action, destination, rule, digest, call, reason, ttl, maxCalls } = stepUp;
  const { purpose, owner, onBehalfOf } = task?.intent ?? {};
  return {
    stepUp: id,
    task: stepUp.task,
    agent: stepUp.agent,
    decision,
    action,
    destination,
    rule,
    digest,
    call,
    ttl,
    maxCalls: maxCalls === Infinity ? 'unlimited' : maxCalls,
    // What the agent says, and nobody has proved.
    untrusted: { purpose, owner, onBehalfOf, reason },
    nonce,
  };
}

export function sign(body: string, secret: string, now: number): string {
  const seconds = Math.floor(now / 1000);
  return `t=${seconds},v1=${mac(`${seconds}.${body}`, secret).toString('hex')}`;
}

function mac(text: string, secret: string): Buffer {
  return createHmac('sha256', secret).update(text).digest();
}

function verify(
  signature: string,
  body: string,
  { secret, now }: { readonly secret: string; readonly now: number },
): void {
  const [, seconds = '', hex = ''] = /^t=(\d{1,12}),v1=([0-9a-f]{64})$/.exec(signature) ?? [];
  if (hex === '') throw new Fault('webhook', `the answer has no ${SIGNATURE}`);
  if (!timingSafeEqual(Buffer.from(hex, 'hex'), mac(`${seconds}.${body}`, secret)))
    throw new Fault('webhook', 'the signature of the answer is not that of the shared secret');
  if (Math.abs(now / 1000 - Number(seconds)) > SKEW_SECONDS)
    throw new Fault('webhook', `the answer was signed more than ${SKEW_SECONDS} s ago, or ahead`);
}

interface Answer {
  readonly decision: 'approve' | 'deny';
  readonly nonce: string;
  readonly by: string;
  readonly reason: string | undefined;
  readonly ttl: number | undefined;
  readonly maxCalls: number | undefined;
}

async function carryOut(
  id: string,
  { decision, by, reason, ttl, maxCalls, nonce }: Answer,
  asked: { readonly nonce: string; readonly stepUps: StepUps },
): Promise<void> {
  if (nonce !== asked.nonce) throw new Fault('webhook', 'the answer is for another question');
  if (decision === 'approve') await asked.stepUps.approve(id, { by, ttl, maxCalls, as: 'webhook' });
  else asked.stepUps.deny(id, { by, why: reason ?? 'refused' });
}
