/**
 * Read-only first, more for a moment: an agent asks, somebody else approves, and the task is elevated for seconds and a number of calls. Rules:
 * - the agent's door cannot approve; who may is said by the TaskPolicy for each action;
 * - an approval can only be narrower than the policy: shorter, fewer calls, never for other parameters;
 * - an approval that cannot be recorded is taken back;
 * - a question that nobody answers lapses; every step is an event.
 */
import { randomUUID } from 'node:crypto';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
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

export const STEP_UP_LIMITS = Object.freeze({ pendingMs: 600_000, perTask: 64, all: 16_384 });

interface Asked {
  stepUp: StepUp;
  readonly task: Task;
  readonly askedAt: number;
}

export interface StepUpsOptions {
  readonly clock: Clock;
  readonly tell: (event: TaskEvent) => void;
  /** As in TasksOptions. */
  readonly recorded?: (() => Promise<void>) | undefined;
  /** Told of a question that waits for somebody. */
  readonly onAsked?: ((stepUp: StepUp) => void) | undefined;
}

export function stepUps(options: StepUpsOptions): StepUps {
  return new Questions(options);
}

class Questions implements StepUps {
  readonly #options: StepUpsOptions;
  readonly #asked = new Map<string, Asked>();
  readonly #byTask = new Map<Task, Asked[]>();
  /** The oldest first. */
  readonly #pending = new Set<Asked>();

  constructor(options: StepUpsOptions) {
    this.#options = options;
  }

  ask(task: Task, question: Question): StepUp {
    const { clock, onAsked } = this.#options;
    const rule = ruleFor(task, question);
    this.#makeRoom(task);
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
    this.#keep({ stepUp, task, askedAt: clock.monotonic() });
    this.#tell('step-up-asked', stepUp);
    if (rule.approvers.has('policy')) return this.approve(stepUp.id, { by: 'policy', as: 'policy' });
    onAsked?.(stepUp);
    return stepUp;
  }

  approve(id: string, approval: Approval): StepUp {
    const one = this.#waiting(id);
    const { stepUp, task } = one;
    // What the policy has now, which may be less than when it was asked.
    const rule = ruleFor(task, stepUp);
    const { action, destination, digest } = stepUp;
    const { by, as } = approval;
    if (!rule.approvers.has(as)) {
      const hint = `it is for: ${[...rule.approvers].join(' or ')}`;
      throw new Fault('denied', `an approval by ${as} is not enough for action ${action}`, { hint });
    }
    const lasts = Math.min(approval.lasts ?? stepUp.lasts, stepUp.lasts, rule.lasts);
    const uses = Math.min(approval.uses ?? stepUp.uses, stepUp.uses, rule.uses);
    const at = this.#options.clock.monotonic();
    const until = at + lasts;
    task.elevate({ id, actions: new Set([action]), destination, digest, as, at, until, uses, spent: 0 });
    this.#tell('step-up-approved', stepUp, { by, as, lasts, uses });
    const recorded = this.#options.recorded?.().catch(() => task.withdraw((held) => held.id !== id));
    if (recorded !== undefined) ignore(recorded, 'it never rejects');
    return this.#settle(one, { state: 'approved', answeredBy: approval.by });
  }

  deny(id: string, by: string, why: string): StepUp {
    const one = this.#waiting(id);
    this.#tell('step-up-denied', one.stepUp, { by });
    return this.#settle(one, { state: 'denied', answeredBy: by, answer: why });
  }

  get(id: string): StepUp | undefined {
    return this.#asked.get(id)?.stepUp;
  }

  of(task: Task): readonly StepUp[] {
    return (this.#byTask.get(task) ?? []).map(({ stepUp }) => stepUp);
  }

  pending(): readonly StepUp[] {
    return Array.from(this.#pending, ({ stepUp }) => stepUp);
  }

  lapse(): void {
    const now = this.#options.clock.monotonic();
    for (const one of this.#pending) {
      if (now - one.askedAt < STEP_UP_LIMITS.pendingMs) return;
      this.#tell('step-up-lapsed', one.stepUp, { was: 'pending' });
      this.#settle(one, { state: 'lapsed' });
    }
  }

  forget(task: Task): void {
    for (const one of this.#byTask.get(task) ?? []) this.#drop(one);
    this.#byTask.delete(task);
  }

  /** What was answered long ago makes room; what waits does not. */
  #makeRoom(task: Task): void {
    const own = this.#byTask.get(task) ?? [];
    const { perTask, all } = STEP_UP_LIMITS;
    if (own.length >= perTask) {
      const answered = own.findIndex(({ stepUp }) => stepUp.state !== 'pending');
      if (answered < 0) throw new Fault('too-many', `${own.length} step-ups of task ${task.id} wait for an answer`);
      for (const one of own.splice(answered, 1)) this.#drop(one);
    }
    if (this.#asked.size >= all) throw new Fault('too-many', `${all} step-ups are kept already`);
  }

  #keep(one: Asked): void {
    this.#asked.set(one.stepUp.id, one);
    this.#pending.add(one);
    const own = this.#byTask.get(one.task);
    if (own === undefined) this.#byTask.set(one.task, [one]);
    else own.push(one);
  }

  #drop(one: Asked): void {
    this.#asked.delete(one.stepUp.id);
    this.#pending.delete(one);
  }

  #settle(one: Asked, change: Pick<StepUp, 'state' | 'answeredBy' | 'answer'>): StepUp {
    one.stepUp = Object.freeze({ ...one.stepUp, ...change });
    this.#pending.delete(one);
    return one.stepUp;
  }

  #waiting(id: string): Asked {
    const one = this.#asked.get(id);
    if (one === undefined) throw new Fault('no-such-step-up', `there is no step-up ${id}`);
    if (one.stepUp.state === 'pending' && one.task.open) return one;
    const why = one.task.open ? `is ${one.stepUp.state}` : 'belongs to a task that has ended';
    throw new Fault('no-such-step-up', `step-up ${id} waits for nobody: it ${why}`);
  }

  #tell(event: TaskEventName, { id, task, action, destination, digest }: StepUp, more: Detail = {}): void {
    const detail = { stepUp: id, action, ...defined({ destination, digest }), ...more };
    this.#options.tell({ event, task, detail });
  }
}

type Detail = TaskEvent['detail'];

function defined(values: Readonly<Record<string, string | undefined>>): Detail {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** The rule that lets a task ask this; a Fault that says why it may not. */
function ruleFor({ id, grant, open }: Task, { action, destination, digest }: Question): StepUpPolicy {
  const rule = grant.stepUp.get(action);
  if (!open) throw new Fault('task-unknown', `task ${id} is not open`);
  if (rule === undefined) {
    if (grant.actions.has(action)) throw new Fault('denied', `task ${id} may do ${action} without a step-up`);
    throw new Fault('denied', `action ${action} is not in the grant of task ${id}, with a step-up or without`, {
      hint: 'name it in the intent when the task is opened',
    });
  }
  if (destination !== undefined && !grant.destinations.has(destination))
    throw new Fault('denied', `destination ${destination} is not in the grant of task ${id}`);
  if (rule.bound && digest === undefined) {
    const hint = 'send the digest that the refusal of the call names';
    throw new Fault('malformed', `action ${action} is approved for one set of parameters alone`, {
      hint,
      at: 'digest',
    });
  }
  return rule;
}
