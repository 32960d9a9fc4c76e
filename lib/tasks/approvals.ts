/**
 * Read-only first, more for a moment: a call is refused, the agent asks for it, somebody else sees
 * the call and approves it, and the task is elevated for seconds and a number of calls. Rules:
 * - a question names a refused exchange, which the sidecar has kept: what is shown is that call,
 *   and what the agent says about it stands apart;
 * - the agent's door cannot approve; who may is said by the TaskPolicy for each action;
 * - an approval is for one action of one rule of one destination, and where the policy does not say
 *   otherwise for that very call; it can only be narrower than the policy: shorter, fewer calls;
 * - a refusal holds for its time, for the agent and not for the task alone; few questions wait at
 *   one time;
 * - a question or an approval that cannot be recorded is refused with that reason;
 * - a question that nobody answers lapses; every step is an event.
 */
import { randomUUID } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import type { CallView } from '../policy/review/call-view.ts';
import { Denials } from './denials.ts';
import type { TaskEvent, TaskEventName } from './events.ts';
import { type RefusedCall, RefusedCalls } from './refused-calls.ts';
import { noSuchCall, notWaiting, ruleFor } from './step-up-rule.ts';
import {
  type Approval,
  type Asked,
  type Denial,
  type Question,
  STEP_UP_LIMITS,
  type StepUp,
  type StepUpState,
  type StepUps,
  type StepUpsOptions,
} from './step-up.ts';
import type { Task } from './task.ts';

export function stepUps(options: StepUpsOptions): StepUps {
  return new Questions(options);
}

class Questions implements StepUps {
  readonly #options: StepUpsOptions;
  readonly #calls = new RefusedCalls();
  readonly #denials: Denials;
  readonly #asked = new Map<string, Asked>();
  readonly #byTask = new Map<Task, Asked[]>();
  /** The oldest first. */
  readonly #pending = new Set<Asked>();

  constructor(options: StepUpsOptions) {
    this.#options = options;
    this.#denials = new Denials(options.clock);
  }

  refused(task: Task, call: RefusedCall): void {
    if (task.open) this.#calls.keep(task, call);
  }

  async ask(task: Task, { decision, reason }: Question): Promise<StepUp> {
    const call = this.#calls.find(task, decision);
    if (call === undefined) throw noSuchCall(task, decision);
    const { id: _, view, ...about } = call;
    const rule = ruleFor(task, call);
    const before = this.#askedBefore(task, call, decision);
    if (before !== undefined) return before;
    this.#denials.check({ ...about, agent: task.agent.name });
    this.#makeRoom(task);
    const { clock, onAsked } = this.#options;
    const stepUp: StepUp = Object.freeze({
      ...about,
      decision,
      reason,
      id: `s-${randomUUID()}`,
      task: task.id,
      agent: task.agent.name,
      state: 'pending',
      call: view,
      approvers: [...rule.approvers],
      ttl: rule.ttl,
      maxCalls: rule.maxCalls,
      askedAt: clock.now(),
    });
    const one: Asked = { stepUp, task, askedAt: clock.monotonic(), answering: true };
    this.#keep(one);
    this.#tell('step-up-asked', stepUp, { call: inShort(view), ...defined({ reason }) });
    await this.#recorded(one, 'the question');
    if (rule.approvers.has('policy'))
      return this.approve(stepUp.id, { by: 'policy', as: 'policy' });
    onAsked?.(stepUp);
    return one.stepUp;
  }

  async approve(id: string, approval: Approval): Promise<StepUp> {
    const one = this.#waiting(id);
    const { stepUp, task } = one;
    // What the policy has now, which may be less than when it was asked.
    const rule = ruleFor(task, stepUp);
    const { by, as } = approval;
    if (!rule.approvers.has(as)) {
      const hint = `it is for: ${[...rule.approvers].join(' or ')}`;
      throw new Fault('denied', `an approval by ${as} is not enough for action ${stepUp.action}`, {
        hint,
      });
    }
    const ttl = Math.min(approval.ttl ?? stepUp.ttl, stepUp.ttl, rule.ttl);
    const maxCalls = Math.min(approval.maxCalls ?? stepUp.maxCalls, stepUp.maxCalls, rule.maxCalls);
    one.answering = true;
    this.#tell('step-up-approved', stepUp, {
      by,
      as,
      ttl,
      maxCalls: maxCalls === Infinity ? 'unlimited' : maxCalls,
    });
    await this.#recorded(one, 'the approval');
    if (stateOf(one) !== 'pending' || !task.open) throw notWaiting(one);
    const at = this.#options.clock.monotonic();
    const { action, destination, rule: name, digest } = stepUp;
    task.approve({
      id,
      action,
      destination,
      rule: name,
      digest,
      as,
      at,
      until: at + ttl,
      callsLeft: maxCalls,
      spent: 0,
    });
    return this.#settle(one, { state: 'approved', answeredBy: by });
  }

  deny(id: string, { by, why, ttl }: Denial): StepUp {
    const one = this.#waiting(id);
    const { stepUp, task } = one;
    const purpose = this.#options.policy.get()?.taskPolicies.get(task.intent.purpose);
    const holds = ttl ?? purpose?.lifetime ?? task.lifetime;
    this.#denials.add(stepUp, { by, why, ttl: holds });
    this.#tell('step-up-denied', stepUp, { by, answer: why, ttl: holds });
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
    this.#calls.forget(task);
    for (const one of this.#byTask.get(task) ?? []) this.#drop(one);
    this.#byTask.delete(task);
  }

  /**
   * A question for the same that waits already, or for this very refusal that was approved since.
   */
  #askedBefore(task: Task, call: RefusedCall, decision: string): StepUp | undefined {
    const { action, destination, rule, digest } = call;
    return this.of(task).find(
      (one) =>
        (one.state === 'approved' && one.decision === decision) ||
        (one.state === 'pending' &&
          one.action === action &&
          one.destination === destination &&
          one.rule === rule &&
          one.digest === digest),
    );
  }

  /**
   * Whoever answers is not worn down; what was answered long ago makes room, what waits does not.
   */
  #makeRoom(task: Task): void {
    const { perTask, all, waitingPerTask, waitingPerAgent } = STEP_UP_LIMITS;
    const waiting = [...this.#pending].filter((one) => one.task.agent === task.agent);
    const ofTask = waiting.filter((one) => one.task === task).length;
    const hint = 'wait for an answer, or go on without';
    if (ofTask >= waitingPerTask)
      throw new Fault('too-many', `${ofTask} questions of task ${task.id} wait for an answer`, {
        hint,
      });
    if (waiting.length >= waitingPerAgent)
      throw new Fault(
        'too-many',
        `${waiting.length} questions of agent ${task.agent.name} wait for an answer`,
        {
          hint,
        },
      );
    const own = this.#byTask.get(task) ?? [];
    const answered =
      own.length < perTask ? -1 : own.findIndex(({ stepUp }) => stepUp.state !== 'pending');
    if (answered >= 0) for (const one of own.splice(answered, 1)) this.#drop(one);
    if (this.#asked.size >= all) throw new Fault('too-many', `${all} step-ups are kept already`);
  }

  /**
   * Settles when what was told last stands in the evidence. @throws Fault; then the question waits,
   * or is gone where it never did
   */
  async #recorded(one: Asked, what: string): Promise<void> {
    try {
      await this.#options.recorded?.();
    } catch (failure) {
      const { message } = Fault.from(failure, 'audit-unavailable');
      const why = `${what} could not be recorded, and counts for nothing: ${message}`;
      this.#tell('step-up-unanswered', one.stepUp, { why });
      if (what === 'the question') {
        this.#drop(one);
        this.#byTask.set(
          one.task,
          this.#byTask.get(one.task)?.filter((other) => other !== one) ?? [],
        );
      }
      const hint = 'free the disk or repair the sink of the evidence, then try again';
      throw new Fault('audit-unavailable', why, { hint, cause: failure });
    } finally {
      one.answering = false;
    }
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
    if (stateOf(one) === 'pending' && one.task.open && !one.answering) return one;
    throw notWaiting(one);
  }

  #tell(event: TaskEventName, stepUp: StepUp, more: Detail = {}): void {
    const { id, task, decision, action, destination, rule, digest } = stepUp;
    const detail = {
      stepUp: id,
      decision,
      action,
      destination,
      ...defined({ rule, digest }),
      ...more,
    };
    this.#options.tell({ event, task, detail });
  }
}

type Detail = TaskEvent['detail'];

function stateOf({ stepUp }: Asked): StepUpState {
  return stepUp.state;
}

/** Without query and content, for records. */
function inShort({ method = 'connection', host, port, path = '', tool }: CallView): string {
  return `${method} ${tool ?? `${host}:${port}${path}`}`.slice(0, 256);
}

function defined(values: Readonly<Record<string, string | undefined>>): Detail {
  return Object.fromEntries(
    Object.entries(values).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}
