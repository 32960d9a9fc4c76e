/**
 * Read-only first, more for a moment: an agent asks, somebody else approves, and the task is elevated for seconds and a number of calls. Rules:
 * - the agent's door cannot approve; who may is said by the TaskPolicy for each action;
 * - an approval can only be narrower than the policy: shorter, fewer calls, never for other parameters;
 * - a question that nobody answers lapses; every step is an event.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Approver, StepUpPolicy } from '../policy/grant.ts';
import type { TaskEvent, TaskEventName } from './events.ts';
import type { Task } from './task.ts';

export interface Question {
  readonly action: string;
  /** One destination of the grant; undefined: all of them. */
  readonly destination?: string | undefined;
  /** `sha-256:` and base64url: the approval is for these parameters alone. */
  readonly digest?: string | undefined;
  /** The agent's words, for whoever decides. */
  readonly reason?: string | undefined;
}

export type StepUpState = 'pending' | 'approved' | 'denied' | 'lapsed';

export interface StepUp extends Question {
  readonly id: string;
  readonly task: string;
  readonly state: StepUpState;
  readonly approvers: readonly Approver[];
  /** Milliseconds and calls that an approval is good for. */
  readonly lasts: number;
  readonly uses: number;
  /** Wall clock, milliseconds. */
  readonly askedAt: number;
  readonly answeredBy?: string;
  readonly answer?: string;
}

/** How an approval may narrow. */
export interface Approval {
  readonly lasts?: number | undefined;
  readonly uses?: number | undefined;
  readonly by: string;
  readonly as: Approver;
}

export interface StepUps {
  /** Asks; approved at once where policy itself approves. @throws Fault `denied`, `malformed`, `too-many` */
  ask(task: Task, question: Question): StepUp;
  /** @throws Fault `no-such-step-up`, `denied` */
  approve(id: string, approval: Approval): StepUp;
  deny(id: string, by: string, why: string): StepUp;
  get(id: string): StepUp | undefined;
  of(task: Task): readonly StepUp[];
  pending(): readonly StepUp[];
  /** Lets questions lapse that were not answered in time. */
  lapse(): void;
  /** Forgets those of a task that has ended. */
  forget(task: Task): void;
}

export const STEP_UP_LIMITS = Object.freeze({ pendingMs: 600_000, perTask: 64 });

interface Asked {
  stepUp: StepUp;
  readonly task: Task;
  readonly askedAt: number;
}

export interface StepUpsOptions {
  readonly clock: Clock;
  readonly tell: (event: TaskEvent) => void;
  /** Told of a question that waits for somebody. */
  readonly onAsked?: ((stepUp: StepUp) => void) | undefined;
}

export function stepUps({ clock, tell, onAsked }: StepUpsOptions): StepUps {
  const asked = new Map<string, Asked>();
  const note = (event: TaskEventName, { id, task, action, destination, digest }: StepUp, more: Detail = {}): void =>
    tell({ event, task, detail: { stepUp: id, action, ...defined({ destination, digest }), ...more } });

  const settle = (one: Asked, state: StepUpState, answer: { by: string; words?: string }): StepUp => {
    const words = answer.words === undefined ? {} : { answer: answer.words };
    one.stepUp = Object.freeze({ ...one.stepUp, state, answeredBy: answer.by, ...words });
    return one.stepUp;
  };
  const waiting = (id: string): Asked => {
    const one = asked.get(id);
    if (one === undefined) throw new Fault('no-such-step-up', `there is no step-up ${id}`);
    if (one.stepUp.state === 'pending' && one.task.open) return one;
    throw new Fault(
      'no-such-step-up',
      `step-up ${id} waits for nobody: it is ${one.task.open ? one.stepUp.state : 'of a task that has ended'}`,
    );
  };
  const approve = (id: string, approval: Approval): StepUp => {
    const one = waiting(id);
    const { stepUp, task } = one;
    if (!stepUp.approvers.includes(approval.as)) {
      const who = stepUp.approvers.join(' or ');
      throw new Fault('denied', `an approval by ${approval.as} is not enough for action ${stepUp.action}`, {
        hint: `it is for: ${who}`,
      });
    }
    const lasts = Math.min(approval.lasts ?? stepUp.lasts, stepUp.lasts);
    const uses = Math.min(approval.uses ?? stepUp.uses, stepUp.uses);
    task.elevate({
      id,
      actions: new Set([stepUp.action]),
      destination: stepUp.destination,
      digest: stepUp.digest,
      until: clock.monotonic() + lasts,
      uses,
    });
    note('step-up-approved', stepUp, { by: approval.by, as: approval.as, lasts, uses });
    return settle(one, 'approved', { by: approval.by });
  };

  return {
    ask(task, question) {
      const { action, destination, digest } = question;
      const rule = ruleFor(task, action);
      if (destination !== undefined && !task.grant.destinations.has(destination))
        throw new Fault('denied', `destination ${destination} is not in the grant of task ${task.id}`);
      if (rule.bound && digest === undefined) {
        const hint = 'send the digest that the refusal of the call names';
        throw new Fault('malformed', `action ${action} is approved for one set of parameters alone`, {
          hint,
          at: 'digest',
        });
      }
      const own = [...asked.values()].filter((one) => one.task === task);
      if (own.length >= STEP_UP_LIMITS.perTask)
        throw new Fault('too-many', `task ${task.id} has asked for ${own.length} step-ups`);
      const stepUp: StepUp = Object.freeze({
        ...question,
        id: `s-${randomUUID()}`,
        task: task.id,
        state: 'pending',
        approvers: [...rule.approvers],
        lasts: rule.lasts,
        uses: rule.uses,
        askedAt: clock.now(),
      });
      asked.set(stepUp.id, { stepUp, task, askedAt: clock.monotonic() });
      note('step-up-asked', stepUp);
      if (rule.approvers.has('policy')) return approve(stepUp.id, { by: 'policy', as: 'policy' });
      onAsked?.(stepUp);
      return stepUp;
    },
    approve,
    deny(id, by, why) {
      const one = waiting(id);
      note('step-up-denied', one.stepUp, { by });
      return settle(one, 'denied', { by, words: why });
    },
    get: (id) => asked.get(id)?.stepUp,
    of: (task) => [...asked.values()].filter((one) => one.task === task).map(({ stepUp }) => stepUp),
    pending: () => [...asked.values()].map(({ stepUp }) => stepUp).filter(({ state }) => state === 'pending'),
    lapse() {
      const now = clock.monotonic();
      for (const one of asked.values()) {
        if (one.stepUp.state !== 'pending' || now - one.askedAt < STEP_UP_LIMITS.pendingMs) continue;
        note('step-up-lapsed', one.stepUp, { was: 'pending' });
        settle(one, 'lapsed', { by: 'nobody' });
      }
    },
    forget(task) {
      for (const [id, one] of asked) if (one.task === task) asked.delete(id);
    },
  };
}

type Detail = TaskEvent['detail'];

function defined(values: Readonly<Record<string, string | undefined>>): Detail {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

function ruleFor(task: Task, action: string): StepUpPolicy {
  const rule = task.grant.stepUp.get(action);
  if (rule !== undefined) return rule;
  if (task.grant.actions.has(action)) throw new Fault('denied', `task ${task.id} may do ${action} without a step-up`);
  throw new Fault('denied', `action ${action} is not in the grant of task ${task.id}, with a step-up or without`, {
    hint: 'name it in the intent when the task is opened',
  });
}
