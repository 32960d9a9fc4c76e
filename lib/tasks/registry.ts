/**
 * The tasks of this sidecar. They live in memory alone: what a restart has forgotten is refused, and never mistaken for no task. Rules:
 * - a root task is cut to the TaskPolicy of its purpose, a derived one to what its parent holds; a policy that changes narrows what is open, or revokes it;
 * - a task ends with its parent, when its time is over, when it says so, when the operator says so, or when a connection that holds it closes;
 * - an end is carried out in the same turn: nothing new, and what is under way is aborted.
 */
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import type { Elevation, Grant, TaskPolicy } from '../policy/grant.ts';
import { IntentContext, type IntentFacts } from '../policy/intent-view.ts';
import type { Destination, Policy } from '../policy/model.ts';
import type { TaskEvent } from './events.ts';
import { ceilingOf, ceilingUnder, cutIntent, narrow, type Ceiling, type Cut, type Refused } from './grant.ts';
import { history, type History } from './history.ts';
import type { Intent } from './intent.ts';
import { newSecret, newTaskId, parseCredentials, proves } from './secret.ts';
import type { End } from './state.ts';
import { stepUps, type StepUp, type StepUps } from './step-ups.ts';
import { Task, tree, type Held, type Member } from './task.ts';

export interface Opened {
  readonly task: Task;
  /** Handed out once. */
  readonly secret: string;
  readonly refused: readonly Refused[];
  /** Settles when its opening stands in the evidence; rejects when it cannot, and then the task is ended. */
  readonly recorded: Promise<void>;
}

export interface Tasks extends AsyncDisposable {
  /** @throws Fault `task-refused` when nothing of the intent is left, `too-many`, `shutting-down` */
  open(intent: Intent): Opened;
  /** A task for a sub-agent, never wider than its parent. */
  derive(parent: Task, intent: Intent): Opened;
  /**
   * The live task that `Basic` credentials prove. @throws Fault `task-unknown`
   * @param proof of one connection, which remembers what was proved on it last
   */
  authenticate(credentials: string, at: string, proof?: Proof): Task;
  get(id: string): Task | undefined;
  list(): readonly Task[];
  end(task: Task, end: End, why: string): void;
  endAll(end: End, why: string): number;
  /** Moves the end of a task, no further than the ceiling of its purpose has it from its opening. Returns the lifetime in ms. */
  extend(task: Task, lifetime: number): number;
  readonly stepUps: StepUps;
  /** The history of the agent session: what was done in tasks that are not isolated, and without a task. */
  readonly session: History;
  /** Notes what an exchange was allowed, in the same turn as its decision. */
  claim(member: Member, call: Claimed): void;
}

/** The same credentials again on one connection prove the same task, if it is live. */
export interface Proof {
  credentials: string | undefined;
  task: Task | undefined;
}

export interface Claimed {
  readonly task: Task | undefined;
  readonly destination: Destination;
  readonly action: string;
  readonly elevation: Elevation | undefined;
}

export interface TasksOptions {
  readonly clock: Clock;
  readonly policy: Cell<Policy>;
  readonly tell: (event: TaskEvent) => void;
  /** Settles when what was told last stands in the evidence; rejects when it does not and must not be acted upon. */
  readonly recorded?: (() => Promise<void>) | undefined;
  /** Called in a later turn when what is live must be decided again: a history has grown, a grant has shrunk. */
  readonly onChange: () => void;
  /** What was done before this sidecar started is not known: every class counts as read and written. */
  readonly unknownPast?: boolean;
  readonly onAsked?: ((stepUp: StepUp) => void) | undefined;
  /** Gives back what was obtained for a task and names what could not be. */
  readonly release?: ((task: Task) => Promise<readonly string[]>) | undefined;
}

/** How often clocks are looked at, in milliseconds: how late an expiry may be noticed. */
const TICK = 200;
export const MOST_TASKS = 20_000;

export function tasks(options: TasksOptions): Tasks {
  return new Registry(options);
}

class Registry implements Tasks {
  readonly session: History;
  readonly stepUps: StepUps;
  readonly #options: TasksOptions;
  readonly #open = new Map<string, Task>();
  readonly #following = new AbortController();
  #endings = new Set<Promise<void>>();
  #told = false;
  #ticking = false;

  constructor(options: TasksOptions) {
    this.#options = options;
    const { clock, policy, tell, recorded, onAsked } = options;
    this.session = history(options.unknownPast === true ? (policy.get()?.dataClasses ?? []) : []);
    this.stepUps = stepUps({ clock, tell, recorded, onAsked });
    policy.follow((next) => this.#relimit(next), this.#following.signal);
  }

  open(intent: Intent): Opened {
    const policy = this.#policy();
    const { purpose, owner, onBehalfOf } = intent;
    const rule = policy.taskPolicies.get(purpose);
    if (rule === undefined) {
      const known = [...policy.taskPolicies.keys()].join(', ');
      throw refusal(
        `no task policy has the purpose ${purpose}`,
        known === '' ? 'there are none' : `known are: ${known}`,
      );
    }
    if (!mayOwn(rule, intent)) {
      const who = owner ?? onBehalfOf ?? '';
      throw refusal(`task policy ${rule.name} does not let ${who} open a task`, 'its owners are listed there');
    }
    return this.#enter(intent, cutIntent(intent, ceilingOf(rule), policy), { rule });
  }

  derive(parent: Task, intent: Intent): Opened {
    const policy = this.#policy();
    const rule = policy.taskPolicies.get(parent.intent.purpose);
    if (!parent.open || rule === undefined) throw new Fault('task-unknown', `task ${parent.id} is not open`);
    if (parent.depth >= rule.depth)
      throw refusal(`task policy ${rule.name} lets tasks be derived ${rule.depth} deep`, 'use the task that there is');
    for (const part of ['purpose', 'owner', 'onBehalfOf'] as const) {
      if (intent[part] !== parent.intent[part])
        throw refusal(`${part} is not that of task ${parent.id}`, 'a derived task has purpose and owner of its parent');
    }
    const held = tree(parent.root).filter(({ open }) => open).length;
    if (held >= rule.open)
      throw refusal(`${held} tasks are open under task ${parent.root.id}`, 'complete some of them');
    const { clock } = this.#options;
    const lifetime = parent.lifetime - (clock.monotonic() - parent.opened.monotonic);
    const left = { lifetime: Math.max(1, Math.floor(lifetime)), uses: Math.max(1, parent.grant.uses - parent.uses) };
    return this.#enter(intent, cutIntent(intent, ceilingUnder(parent.id, parent.grant, left), policy), {
      rule,
      parent,
    });
  }

  #enter(intent: Intent, cut: Cut, { rule, parent }: { readonly rule: TaskPolicy; readonly parent?: Task }): Opened {
    const { grant, lifetime, isolated, refused } = cut;
    if (this.#open.size >= MOST_TASKS) throw new Fault('too-many', `${this.#open.size} tasks are open already`);
    if (grant.destinations.size === 0 || grant.actions.size + grant.stepUp.size === 0) {
      const words = refused.map(({ part, value, reason }) => `${part} ${value}: ${reason}`).join('; ');
      throw refusal(`nothing is left of the intent: ${words}`, 'see the task policy of this purpose');
    }
    const { clock, tell } = this.#options;
    requireCondition(rule, {
      ...intent,
      ...cut,
      depth: parent === undefined ? 0 : parent.depth + 1,
      time: clock.now(),
    });
    const { text, digest } = newSecret();
    const task = new Task({
      id: newTaskId(),
      intent,
      grant,
      parent,
      history: parent?.history ?? (isolated ? history() : this.session),
      secret: digest,
      opened: { monotonic: clock.monotonic(), wall: clock.now() },
      lifetime,
    });
    this.#open.set(task.id, task);
    if (!this.#ticking) this.#tick();
    tell({ event: 'opened', task: task.id, detail: openedDetail(task, isolated, refused.length) });
    const recorded = this.#options.recorded?.() ?? Promise.resolve();
    ignore(
      recorded.catch(() => this.end(task, 'revoked', 'its opening could not be recorded')),
      'it never rejects',
    );
    return { task, secret: text, refused, recorded };
  }

  authenticate(credentials: string, at: string, proof?: Proof): Task {
    const task = proof?.credentials === credentials ? proof.task : this.#proved(credentials, at);
    const { clock } = this.#options;
    if (task?.open === true && task.expired(clock.monotonic(), clock.now()))
      this.end(task, 'expired', 'its time is over');
    if (task?.open === true) {
      if (proof !== undefined) [proof.credentials, proof.task] = [credentials, task];
      return task;
    }
    throw new Fault('task-unknown', 'the credentials name no live task', {
      hint: 'the task has ended, or the sidecar was started anew: open another task',
      at,
    });
  }

  #proved(credentials: string, at: string): Task | undefined {
    const { task: id, secret } = parseCredentials(credentials, at);
    const task = this.#open.get(id);
    return task !== undefined && proves(secret, task.secret) ? task : undefined;
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

  /** What is left to do once nothing new can start: credentials are given back; what cannot be is told. */
  async #finish(task: Task): Promise<void> {
    const { release, tell } = this.#options;
    await task.quiet();
    const residue = (await release?.(task)) ?? [];
    for (const what of residue) tell({ event: 'credential-left', task: task.id, detail: { what } });
    task.ended();
    this.stepUps.forget(task);
    this.#open.delete(task.id);
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
      throw refusal(`task ${task.id} cannot be extended`, `it may last ${Math.floor(most)} ms from its opening`);
    }
    task.lifetime = asked;
    tell({ event: 'extended', task: task.id, detail: { lifetime: Math.floor(asked) } });
    return asked;
  }

  claim(member: Member, { task, destination, action, elevation }: Claimed): void {
    task?.claim(member, elevation);
    const record = task?.history ?? this.session;
    if (record.mark(member.id, { action, destination: destination.name, dataClass: destination.dataClass }))
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

  #relimit(policy: Policy): void {
    for (const task of this.list()) {
      if (!task.open) continue;
      const rule = policy.taskPolicies.get(task.intent.purpose);
      const objection = rule === undefined ? 'its purpose is no longer in the policy' : this.#objection(task, rule);
      if (objection !== undefined) this.end(task, 'revoked', objection);
      else if (rule !== undefined) this.#limit(task, ceilingOf(rule));
    }
  }

  /** Why a task that is open would not be opened any more, whatever is left of its grant. */
  #objection(task: Task, rule: TaskPolicy): string | undefined {
    if (!mayOwn(rule, task.intent)) return 'its owner may not open such a task any more';
    if (task.history !== this.session && !rule.isolated) return 'a history of its own is no longer allowed';
    return task.depth > rule.depth ? 'it is derived deeper than is still allowed' : undefined;
  }

  #limit(task: Task, ceiling: Ceiling): void {
    const narrowed = narrow(task.grant, ceiling);
    task.withdraw((held) => couldBeGiven(held, narrowed));
    const most = longest(task, ceiling.lifetime);
    const same = sizeOf(narrowed) === sizeOf(task.grant) && task.lifetime <= most;
    task.grant = narrowed;
    task.lifetime = Math.min(task.lifetime, most);
    if (same) return;
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
      for (const { id } of task.lapse(monotonic))
        this.#options.tell({ event: 'step-up-lapsed', task: task.id, detail: { stepUp: id, was: 'approved' } });
    }
    this.stepUps.lapse();
    this.#ticking = this.#open.size > 0 && !this.#following.signal.aborted;
    if (this.#ticking) clock.after(TICK, () => this.#tick());
  }
}

/** Over what would be granted, so that what was cut off does not count against it. */
function requireCondition({ name, when }: TaskPolicy, facts: IntentFacts): void {
  const answer = when?.evaluate(new IntentContext(facts)) ?? true;
  if (answer === true) return;
  const why = answer === false ? 'does not hold' : `could not be evaluated (${answer.problem})`;
  throw refusal(`the condition of task policy ${name} ${why}`, 'see its when');
}

function mayOwn({ owners }: TaskPolicy, { owner, onBehalfOf }: Intent): boolean {
  return owners === undefined || [owner, onBehalfOf].every((one) => one === undefined || owners.has(one));
}

/** An approval that could not be given by the policy as it is now is none. */
function couldBeGiven({ actions, as, digest }: Held, { stepUp }: Grant): boolean {
  return [...actions].every((action) => {
    const rule = stepUp.get(action);
    return rule?.approvers.has(as) === true && (digest !== undefined || !rule.bound);
  });
}

function refusal(message: string, hint: string): Fault {
  return new Fault('task-refused', message, { hint });
}

/** Milliseconds that a task may last from its opening: as long as its purpose has it, and no longer than its parent. */
function longest({ parent, opened }: Task, lifetime: number): number {
  return parent === undefined ? lifetime : parent.opened.monotonic + parent.lifetime - opened.monotonic;
}

function sizeOf({ destinations, actions, stepUp, dataClasses, uses }: Task['grant']): string {
  return [destinations.size, actions.size, stepUp.size, dataClasses.size, uses].join();
}

function openedDetail(task: Task, isolated: boolean, refused: number): TaskEvent['detail'] {
  const { intent, grant, parent, lifetime } = task;
  return {
    purpose: intent.purpose,
    ...(intent.owner === undefined ? undefined : { owner: intent.owner }),
    ...(intent.onBehalfOf === undefined ? undefined : { onBehalfOf: intent.onBehalfOf }),
    ...(parent === undefined ? undefined : { parent: parent.id }),
    destinations: [...grant.destinations].join(' '),
    actions: [...grant.actions].join(' '),
    stepUp: [...grant.stepUp.keys()].join(' '),
    dataClasses: [...grant.dataClasses].join(' '),
    uses: grant.uses,
    lifetime: Math.floor(lifetime),
    isolated: isolated ? 'yes' : 'no',
    refused,
  };
}
