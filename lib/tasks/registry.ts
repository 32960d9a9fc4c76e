/**
 * The tasks of this sidecar. They live in memory alone: what a restart has forgotten is refused,
 * and never mistaken for no task. Rules:
 * - a root task is cut to the TaskPolicy of its purpose, a derived one to what its parent holds; a
 *   policy that changes narrows what is open, or revokes it;
 * - a task ends with its parent, when its time is over, when it says so, when the operator says so,
 *   or when a connection that holds it closes;
 * - an end is carried out in the same turn: nothing new, and what is under way is aborted.
 */
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import { type Agent, soleAgent } from '../policy/model/agent.ts';
import type { Decision } from '../policy/decision/decision.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { Quota, TaskPolicy } from '../policy/model/grant.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { Agents, mayOpen } from './agents.ts';
import { type StepUp, type StepUps, stepUps } from './approvals.ts';
import {
  type Ceiling,
  type Attenuation,
  type Refused,
  ceilingOf,
  ceilingUnder,
  attenuate,
} from './attenuate.ts';
import { type TaskEvent, openedDetail } from './events.ts';
import type { Intent } from './intent.ts';
import {
  conditionObjects,
  factsOf,
  limitTo,
  longest,
  mayOwn,
  quotaSpent,
  refusal,
} from './limits.ts';
import { type CountsKept, type Quotas, quotas } from './quotas.ts';
import { newSecret, newTaskId, parseCredentials, proves } from './secret.ts';
import type { End } from './state.ts';
import { type HeldApproval, type Member, Task, tree } from './task.ts';

export interface Opened {
  readonly task: Task;
  /** Proves that a call may use the task, ask for a step-up and see it; handed out once. */
  readonly secret: string;
  /** Proves that a call may extend it, derive from it and complete it; handed out once. */
  readonly control: string;
  readonly refused: readonly Refused[];
  /**
   * Settles when its opening stands in the evidence; rejects when it cannot, and then the task is
   * ended.
   */
  readonly recorded: Promise<void>;
}

export interface Tasks extends AsyncDisposable {
  /**
   * @param agent whose it is; may be left out where there is one
   * @throws Fault `task-refused` when nothing of the intent is left, `too-many`, `shutting-down`
   */
  open(intent: Intent, agent?: Agent): Opened;
  /** A task for a sub-agent, never wider than its parent. */
  derive(parent: Task, intent: Intent): Opened;
  /**
   * The live task that `Basic` credentials prove. @throws Fault `task-unknown`
   * @param proof of one connection, which remembers what was proved on it last
   */
  authenticate(credentials: string, at: string, proof?: Proof): Task;
  /** As authenticate, for the agent API, where either secret is shown: what it proves. */
  prove(credentials: string, at: string): Proved;
  readonly agents: readonly Agent[];
  get(id: string): Task | undefined;
  list(): readonly Task[];
  end(task: Task, end: End, why: string): void;
  endAll(end: End, why: string): number;
  /**
   * Moves the end of a task, no further than the ceiling of its purpose has it from its opening.
   * Returns the lifetime in ms.
   */
  extend(task: Task, lifetime: number): number;
  readonly stepUps: StepUps;
  /** Notes what an exchange was allowed, in the same turn as its decision. */
  claim(member: Member, call: Claimed): void;
}

export interface Proved {
  readonly task: Task;
  /** It may be extended, derived from and completed, besides being used. */
  readonly control: boolean;
}

/** The same credentials again on one connection prove the same task, if it is live. */
export interface Proof {
  credentials: string | undefined;
  task: Task | undefined;
}

interface Claimed extends Pick<Decision, 'approval' | 'unused'> {
  readonly task: Task | undefined;
  /** Whose call it is; undefined: anybody's. */
  readonly agent?: Agent | undefined;
  readonly destination: Destination;
  readonly action: string;
}

export interface TasksOptions {
  readonly clock: Clock;
  /** Default: one, with the name `agent`. */
  readonly agents?: readonly Agent[];
  readonly policy: Cell<Policy>;
  readonly tell: (event: TaskEvent) => void;
  /**
   * Settles when what was told last stands in the evidence; rejects when it does not and must not
   * be acted upon.
   */
  readonly recorded?: (() => Promise<void>) | undefined;
  /**
   * Called in a later turn when what is live must be decided again: a history has grown, a grant
   * has shrunk.
   */
  readonly onChange: () => void;
  /**
   * What was done before this sidecar started is not known: every class counts as read and written.
   */
  readonly unknownPast?: boolean;
  /** What was counted against quotas, over a restart; in memory alone without it. */
  readonly counts?: CountsKept | undefined;
  readonly onAsked?: ((stepUp: StepUp) => void) | undefined;
  /** Gives back what was obtained for a task and names what could not be. */
  readonly release?: ((task: Task) => Promise<readonly string[]>) | undefined;
}

interface Entering {
  readonly rule: TaskPolicy;
  readonly agent: Agent;
  readonly parent?: Task;
}

/** How often clocks are looked at, in milliseconds: how late an expiry may be noticed. */
const TICK = 200;
/** Of all agents together: each has as large a part. */
export const MAX_TASKS = 20_000;

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
    const { purpose, owner, onBehalfOf } = intent;
    const rule = policy.taskPolicies.get(purpose);
    // Which purposes there are is for the operator to know: whoever steers the agent would ask for
    // the widest.
    if (rule === undefined)
      throw refusal(
        `no task policy has the purpose ${purpose}`,
        'ask the operator which purpose to use',
      );
    if (!mayOwn(rule, intent)) {
      const who = owner ?? onBehalfOf ?? '';
      throw refusal(
        `task policy ${rule.name} does not let ${who} open a task`,
        'its owners are listed there',
      );
    }
    if (!mayOpen(rule, intent, agent)) {
      const hint =
        'see agents of the task policy, and purposes of the agent in the Sidecar document';
      throw refusal(`agent ${agent.name} may not open tasks of purpose ${purpose}`, hint);
    }
    return this.#enter(intent, attenuate(intent, ceilingOf(rule), policy), { rule, agent });
  }

  derive(parent: Task, intent: Intent): Opened {
    const policy = this.#policy();
    const rule = policy.taskPolicies.get(parent.intent.purpose);
    if (!parent.open || rule === undefined)
      throw new Fault('task-unknown', `task ${parent.id} is not open`);
    if (parent.depth >= rule.depth)
      throw refusal(
        `task policy ${rule.name} lets tasks be derived ${rule.depth} deep`,
        'use the task that there is',
      );
    for (const part of ['purpose', 'owner', 'onBehalfOf'] as const) {
      if (intent[part] !== parent.intent[part])
        throw refusal(
          `${part} is not that of task ${parent.id}`,
          'a derived task has purpose and owner of its parent',
        );
    }
    const held = tree(parent.root).filter(({ open }) => open).length;
    if (held >= rule.maxOpenTasks)
      throw refusal(`${held} tasks are open under task ${parent.root.id}`, 'complete some of them');
    const { clock } = this.#options;
    const lifetime = parent.lifetime - (clock.monotonic() - parent.opened.monotonic);
    const left = {
      lifetime: Math.max(1, Math.floor(lifetime)),
      maxCalls: Math.max(1, parent.grant.maxCalls - parent.uses),
    };
    return this.#enter(
      intent,
      attenuate(intent, ceilingUnder(parent.id, parent.grant, left), policy),
      {
        rule,
        agent: parent.agent,
        parent,
      },
    );
  }

  #enter(intent: Intent, cut: Attenuation, { rule, agent, parent }: Entering): Opened {
    const { grant, lifetime, refused } = cut;
    const isolated = parent?.isolated ?? cut.isolated;
    this.#agents.requireRoom(agent, MAX_TASKS);
    if (grant.destinations.size === 0 || grant.actions.size + grant.stepUp.size === 0) {
      const words = refused
        .map(({ part, value, reason }) => `${part} ${value}: ${reason}`)
        .join('; ');
      throw refusal(
        `nothing is left of the intent: ${words}`,
        'see the task policy of this purpose',
      );
    }
    const whose = { agent: agent.name, purpose: intent.purpose };
    const spent = this.#quotas.spent('tasks', whose, rule.quotas.tasks);
    if (spent !== undefined) throw quotaSpent(whose, spent);
    const { clock, tell } = this.#options;
    const depth = parent === undefined ? 0 : parent.depth + 1;
    const objection = conditionObjects(rule, {
      ...intent,
      ...cut,
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
    const spent = clock.monotonic() - task.opened.monotonic;
    const most = longest(task, rule?.lifetime ?? 0);
    const asked = Math.min(spent + lifetime, most);
    if (asked <= task.lifetime) {
      throw refusal(
        `task ${task.id} cannot be extended`,
        `it may last ${Math.floor(most)} ms from its opening`,
      );
    }
    // Over the whole of its time, as though it were opened for that long.
    const objection = rule && conditionObjects(rule, factsOf(task, asked, clock.now()));
    if (objection !== undefined) throw refusal(objection, 'see its when');
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
    if (
      this.#agents
        .recordsOf(task, agent)
        .reduce((grown, record) => record.mark(member.id, mark) || grown, false)
    )
      this.#changed();
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
      const objection =
        rule === undefined
          ? 'its purpose is no longer in the policy'
          : this.#objection(task, rule, under);
      if (objection !== undefined) this.end(task, 'revoked', objection);
      else held.set(task.root, under);
    }
  }

  /**
   * Narrows a task that is open to what its policy has now. Why it would not be opened any more,
   * whatever is left of its grant; undefined where it would.
   * @param under tasks under its root up to this one
   */
  #objection(task: Task, rule: TaskPolicy, under: number): string | undefined {
    if (!mayOwn(rule, task.intent)) return 'its owner may not open such a task any more';
    if (!mayOpen(rule, task.intent, task.agent))
      return 'its agent may not open such a task any more';
    if (task.isolated && !rule.isolated) return 'a history of its own is no longer allowed';
    if (task.depth > rule.depth) return 'it is derived deeper than is still allowed';
    if (under > rule.maxOpenTasks)
      return `${rule.maxOpenTasks} tasks may still be open under one that was opened`;
    this.#limit(task, ceilingOf(rule));
    return conditionObjects(rule, factsOf(task, task.lifetime, this.#options.clock.now()));
  }

  #limit(task: Task, ceiling: Ceiling): void {
    const { lapsed, narrower } = limitTo(task, ceiling, this.#options.clock.monotonic());
    this.#tellLapsed(task, lapsed);
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

  #tellLapsed({ id: task }: Task, lapsed: readonly HeldApproval[]): void {
    for (const { id } of lapsed)
      this.#options.tell({
        event: 'step-up-lapsed',
        task,
        detail: { stepUp: id, was: 'approved' },
      });
  }

  /** One timer, however many tasks come and go. */
  #tick(): void {
    const { clock } = this.#options;
    const [monotonic, wall] = [clock.monotonic(), clock.now()];
    for (const task of this.#open.values()) {
      if (task.open && task.expired(monotonic, wall)) this.end(task, 'expired', 'its time is over');
      this.#tellLapsed(task, task.expireApprovals(monotonic));
    }
    this.stepUps.lapse();
    this.#ticking = this.#open.size > 0 && !this.#following.signal.aborted;
    if (this.#ticking) clock.after(TICK, () => this.#tick());
  }
}
