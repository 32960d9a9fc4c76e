/**
 * The tasks of this sidecar. They live in memory alone: what a restart has forgotten is refused,
 * and never mistaken for no task. Rules:
 * - a root task is cut to the TaskPolicy of its purpose, a derived one to what its parent holds; a
 *   policy that changes narrows what is open, or revokes it;
 * - a task ends with its parent, when its time is over, when it says so, when the operator says so,
 *   or when a connection that holds it closes;
 * - an end is carried out in the same turn: nothing new, and what is under way is aborted.
 */
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { type Agent, soleAgent } from '../policy/model/agent.ts';
import type { Quota, TaskPolicy } from '../policy/model/grant.ts';
import { Agents, MAX_TASKS } from './agents.ts';
import { stepUps } from './approvals.ts';
import { type Attenuation, type Ceiling, attenuate, ceilingOf } from './attenuate.ts';
import { openedDetail, recordLapsed } from './events.ts';
import type { Intent } from './intent.ts';
import { conditionObjects, factsOf, limitTo, quotaSpent, refusal } from './limits.ts';
import {
  ceilingLeft,
  extendedLifetime,
  objectionTo,
  requireDerivable,
  requireGrant,
  ruleFor,
} from './opening.ts';
import { type Quotas, quotas } from './quotas.ts';
import { newSecret, newTaskId, parseCredentials, proves } from './secret.ts';
import type { End } from './state.ts';
import type { StepUps } from './step-up.ts';
import type { Member } from './task-parts.ts';
import { Task } from './task.ts';
import type { Claimed, Opened, Proof, Proved, Tasks, TasksOptions } from './tasks.ts';

interface Entering {
  readonly rule: TaskPolicy;
  readonly agent: Agent;
  readonly parent?: Task;
}

/** How often clocks are looked at, in milliseconds: how late an expiry may be noticed. */
const TICK = 200;
export function tasks(options: TasksOptions): Tasks {
  return new Registry(options);
}

class Registry implements Tasks {
  readonly #agents: Agents;
  readonly #quotas: Quotas;
  readonly stepUps: StepUps;
  readonly #options: TasksOptions;
  readonly #open = new Map<string, Task>();
  readonly #following = new AbortController();
  #endings = new Set<Promise<void>>();
  #told = false;
  #ticking = false;

  constructor(options: TasksOptions) {
    this.#options = options;
    const { agents = [soleAgent('agent')], clock, policy, tell, recorded, onAsked } = options;
    const past = options.unknownPast === true ? (policy.get()?.dataClasses ?? []) : [];
    this.#agents = new Agents(agents, past);
    this.#quotas = quotas(clock, options.counts);
    this.stepUps = stepUps({ clock, policy, tell, recorded, onAsked });
    policy.follow((next) => this.#relimit(next), this.#following.signal);
  }

  get agents(): readonly Agent[] {
    return this.#agents.all;
  }

  open(intent: Intent, agent: Agent = this.#agents.sole): Opened {
    const policy = this.#policy();
    const rule = ruleFor(policy, intent, agent);
    return this.#enter(intent, attenuate(intent, ceilingOf(rule), policy), { rule, agent });
  }

  derive(parent: Task, intent: Intent): Opened {
    const policy = this.#policy();
    const rule = policy.taskPolicies.get(parent.intent.purpose);
    if (!parent.open || rule === undefined)
      throw new Fault('task-unknown', `task ${parent.id} is not open`);
    requireDerivable(parent, intent, rule);
    const ceiling = ceilingLeft(parent, this.#options.clock.monotonic());
    const entering = { rule, agent: parent.agent, parent };
    return this.#enter(intent, attenuate(intent, ceiling, policy), entering);
  }

  #enter(intent: Intent, attenuation: Attenuation, { rule, agent, parent }: Entering): Opened {
    const { grant, lifetime, refused } = attenuation;
    const isolated = parent?.isolated ?? attenuation.isolated;
    this.#agents.requireRoom(agent, MAX_TASKS);
    requireGrant(attenuation);
    const whose = { agent: agent.name, purpose: intent.purpose };
    const spent = this.#quotas.spent('tasks', whose, rule.quotas.tasks);
    if (spent !== undefined) throw quotaSpent(whose, spent);
    const { clock, tell } = this.#options;
    const depth = parent === undefined ? 0 : parent.depth + 1;
    const objection = conditionObjects(rule, {
      ...intent,
      ...attenuation,
      isolated,
      depth,
      time: clock.now(),
    });
    if (objection !== undefined) throw refusal(objection, 'see its when');
    this.#quotas.count('tasks', whose, rule.quotas.tasks);
    const [use, control] = [newSecret(), newSecret()];
    const task = new Task({
      id: newTaskId(),
      agent,
      intent,
      grant,
      parent,
      history: parent?.history ?? this.#agents.historyFor(agent, isolated),
      isolated,
      secret: use.digest,
      control: control.digest,
      opened: { monotonic: clock.monotonic(), wall: clock.now() },
      lifetime,
      whose,
      spent: () => this.#quotas.spent('calls', whose, this.#quotaOfCalls(intent.purpose)),
    });
    this.#open.set(task.id, task);
    this.#agents.count(agent, 1);
    if (!this.#ticking) this.#tick();
    tell({ event: 'opened', task: task.id, detail: openedDetail(task, isolated, refused.length) });
    const recorded = this.#options.recorded?.() ?? Promise.resolve();
    ignore(
      recorded.catch(() => this.end(task, 'revoked', 'its opening could not be recorded')),
      'it never rejects',
    );
    return { task, secret: use.text, control: control.text, refused, recorded };
  }

  authenticate(credentials: string, at: string, proof?: Proof): Task {
    const found =
      proof?.credentials === credentials ? proof.task : this.#proved(credentials, at, 'secret');
    const task = this.#live(found, at);
    if (proof !== undefined) [proof.credentials, proof.task] = [credentials, task];
    return task;
  }

  prove(credentials: string, at: string): Proved {
    const controlled = this.#proved(credentials, at, 'control');
    const task = this.#live(controlled ?? this.#proved(credentials, at, 'secret'), at);
    return { task, control: controlled !== undefined };
  }

  #live(task: Task | undefined, at: string): Task {
    const { clock } = this.#options;
    if (task?.open === true && task.expired(clock.monotonic(), clock.now()))
      this.end(task, 'expired', 'its time is over');
    if (task?.open === true) return task;
    throw new Fault('task-unknown', 'the credentials name no live task', {
      hint: 'the task has ended, or the sidecar was started anew: open another task',
      at,
    });
  }

  #proved(credentials: string, at: string, kind: 'secret' | 'control'): Task | undefined {
    const { task: id, secret } = parseCredentials(credentials, at);
    const task = this.#open.get(id);
    return task !== undefined && proves(secret, task[kind]) ? task : undefined;
  }

  get(id: string): Task | undefined {
    return this.#open.get(id);
  }

  list(): readonly Task[] {
    return [...this.#open.values()];
  }

  end(task: Task, end: End, why: string): void {
    if (!task.end(end, why)) return;
    this.#options.tell({ event: end, task: task.id, detail: { why, uses: task.uses } });
    for (const child of task.children) this.end(child, end, `its parent ${task.id} ended`);
    const ending = this.#finish(task).finally(() => this.#endings.delete(ending));
    this.#endings.add(ending);
    ignore(ending, 'it tells what it could not release');
  }

  /**
   * What is left to do once nothing new can start: credentials are given back; what cannot be is
   * told.
   */
  async #finish(task: Task): Promise<void> {
    const { release, tell } = this.#options;
    await task.whenIdle();
    const residue = (await release?.(task)) ?? [];
    for (const what of residue) tell({ event: 'credential-left', task: task.id, detail: { what } });
    task.finish();
    this.stepUps.forget(task);
    this.#open.delete(task.id);
    this.#agents.count(task.agent, -1);
  }

  endAll(end: End, why: string): number {
    const roots = this.list().filter(({ open }) => open);
    for (const task of roots) this.end(task, end, why);
    return roots.length;
  }

  extend(task: Task, lifetime: number): number {
    if (!task.open) throw new Fault('task-unknown', `task ${task.id} is not open`);
    const rule = this.#policy().taskPolicies.get(task.intent.purpose);
    const { clock, tell } = this.#options;
    const asked = extendedLifetime(task, lifetime, { rule, clock });
    task.lifetime = asked;
    tell({ event: 'extended', task: task.id, detail: { lifetime: Math.floor(asked) } });
    return asked;
  }

  claim(member: Member, { task, agent, destination, action, approval, unused }: Claimed): void {
    const counted = unused === true ? undefined : task;
    if (counted)
      this.#quotas.count('calls', counted.whose, this.#quotaOfCalls(counted.intent.purpose));
    counted?.claim(member, approval);
    const mark = { action, destination: destination.name, dataClass: destination.dataClass };
    let grown = false;
    for (const record of this.#agents.recordsOf(task, agent))
      grown = record.mark(member.id, mark) || grown;
    if (grown) this.#changed();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#following.abort(new Fault('shutting-down', 'the sidecar is stopping'));
    this.endAll('revoked', 'the sidecar is stopping');
    await Promise.allSettled(this.#endings);
  }

  #policy(): Policy {
    const policy = this.#options.policy.get();
    if (policy === undefined || this.#following.signal.aborted)
      throw new Fault('shutting-down', 'no tasks are opened now');
    return policy;
  }

  #quotaOfCalls(purpose: string): Quota | undefined {
    return this.#options.policy.get()?.taskPolicies.get(purpose)?.quotas.calls;
  }

  #relimit(policy: Policy): void {
    /** Open tasks under each root; those opened first are counted first. */
    const held = new Map<Task, number>();
    for (const task of this.list()) {
      if (!task.open) continue;
      const rule = policy.taskPolicies.get(task.intent.purpose);
      const under = (held.get(task.root) ?? 0) + 1;
      const objection = this.#objection(task, rule, under);
      if (objection !== undefined) this.end(task, 'revoked', objection);
      else held.set(task.root, under);
    }
  }

  /**
   * Narrows an open task to its policy of now. Returns why it would not be opened any more,
   * whatever is left of its grant; undefined where it would.
   * @param under tasks under its root up to this one
   */
  #objection(task: Task, rule: TaskPolicy | undefined, under: number): string | undefined {
    const objection = objectionTo(task, rule, under);
    if (objection !== undefined || rule === undefined) return objection;
    this.#limit(task, ceilingOf(rule));
    return conditionObjects(rule, factsOf(task, task.lifetime, this.#options.clock.now()));
  }

  #limit(task: Task, ceiling: Ceiling): void {
    const { lapsed, narrower } = limitTo(task, ceiling, this.#options.clock.monotonic());
    recordLapsed(task, lapsed, this.#options.tell);
    if (!narrower) return;
    this.#options.tell({ event: 'narrowed', task: task.id, detail: { by: ceiling.name } });
    this.#changed();
  }

  #changed(): void {
    if (this.#told) return;
    this.#told = true;
    queueMicrotask(() => {
      this.#told = false;
      if (!this.#following.signal.aborted) this.#options.onChange();
    });
  }

  /** One timer, however many tasks come and go. */
  #tick(): void {
    const { clock } = this.#options;
    const [monotonic, wall] = [clock.monotonic(), clock.now()];
    for (const task of this.#open.values()) {
      if (task.open && task.expired(monotonic, wall)) this.end(task, 'expired', 'its time is over');
      recordLapsed(task, task.expireApprovals(monotonic), this.#options.tell);
    }
    this.stepUps.lapse();
    this.#ticking = this.#open.size > 0 && !this.#following.signal.aborted;
    if (this.#ticking) clock.after(TICK, () => this.#tick());
  }
}
