/**
 * One task: its grant, its clock, its approvals and what is under way for it. The registry drives
 * it; whoever holds one can only read it. Rules:
 * - uses are counted in the same synchronous step as the decision, here and in every task it was
 *   derived from, so that parallel calls cannot share one;
 * - it ends by completion, revocation or expiry; then what is under way is aborted at once, and
 *   with it every task derived from it;
 * - the monotonic clock ends it in time, and the wall clock too when a suspended machine wakes up
 *   late.
 */
import { Fault } from '../base/fault.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { Approval, Grant, StepUpPolicy, TaskFacts } from '../policy/model/grant.ts';
import { type History, highest } from './history.ts';
import type { Intent } from './intent.ts';
import type { Whose } from './quotas.ts';
import { type End, OPEN, type TaskState, next } from './state.ts';
import type { Claim, HeldApproval, Member } from './task-parts.ts';

export class Task {
  readonly id: string;
  /** Whose it is, and all that is derived from it. */
  readonly agent: Agent;
  readonly intent: Intent;
  readonly parent: Task | undefined;
  readonly history: History;
  readonly isolated: boolean;
  readonly secret: Buffer;
  readonly control: Buffer;
  readonly depth: number;
  readonly opened: TaskParts['opened'];
  /** Milliseconds from the opening. */
  lifetime: number;
  grant: Grant;
  uses = 0;
  readonly children = new Set<Task>();
  #state: TaskState = OPEN;
  #approvals: readonly HeldApproval[] = [];
  readonly whose: Whose;
  readonly #spentByAll: TaskParts['spent'];
  readonly #members = new Map<Member, Claim>();
  #idle: (() => void)[] = [];

  constructor(parts: TaskParts) {
    const {
      id,
      agent,
      intent,
      grant,
      parent,
      history,
      isolated,
      secret,
      control,
      opened,
      lifetime,
    } = parts;
    this.id = id;
    this.agent = agent;
    this.intent = intent;
    this.grant = grant;
    this.parent = parent;
    this.history = history;
    this.isolated = isolated;
    this.secret = secret;
    this.control = control;
    this.opened = opened;
    this.lifetime = lifetime;
    this.whose = parts.whose;
    this.#spentByAll = parts.spent;
    this.depth = parent === undefined ? 0 : parent.depth + 1;
    parent?.children.add(this);
  }

  get root(): Task {
    return this.parent?.root ?? this;
  }

  get state(): TaskState {
    return this.#state;
  }

  get open(): boolean {
    return this.#state.kind === 'open';
  }

  /** Wall clock, milliseconds since the epoch. */
  get expiresAt(): number {
    return Math.min(this.opened.wall + this.lifetime, this.parent?.expiresAt ?? Infinity);
  }

  expired(monotonic: number, wall: number): boolean {
    return monotonic - this.opened.monotonic >= this.lifetime || wall >= this.expiresAt;
  }

  get approvals(): readonly HeldApproval[] {
    return this.#approvals;
  }

  /**
   * What a decision is to know: of a new call, or of a member that is decided again, which keeps
   * what it took and does not see its own marks.
   * @param classes data classes, the least sensitive first
   */
  facts(classes: readonly string[], member?: Member): TaskFacts {
    const claim = member === undefined ? undefined : this.#members.get(member);
    const { intent, grant } = this;
    const done = this.history.before(member?.id);
    return {
      id: this.id,
      purpose: intent.purpose,
      owner: intent.owner ?? intent.onBehalfOf ?? '',
      onBehalfOf: intent.onBehalfOf,
      depth: this.depth,
      grant,
      approvals:
        claim === undefined
          ? this.#approvals
          : claim.approval === undefined
            ? NONE
            : [claim.approval],
      uses: claim === undefined || claim === NOTHING ? this.#spent() : claim.before,
      spent: claim === undefined ? this.#spentByAll() : undefined,
      read: highest(done.read, classes),
      wrote: highest(done.wrote, classes),
      actions: done.actions,
      destinations: done.destinations,
    };
  }

  /** A task derived from one whose uses are spent has none left either. */
  #spent(): number {
    const { parent } = this;
    if (parent !== undefined && parent.#spent() >= parent.grant.maxCalls)
      return Math.max(this.uses, this.grant.maxCalls);
    return this.uses;
  }

  enter(member: Member): void {
    this.#members.set(member, NOTHING);
  }

  /** Takes what an allowed call uses; synchronous with its decision. */
  claim(member: Member, approval: Approval | undefined): void {
    const before = this.#spent();
    this.#count();
    const held = approval && this.#approvals.find((one) => one === approval);
    if (this.#members.has(member)) this.#members.set(member, { approval: held, before });
    if (held === undefined) return;
    held.callsLeft -= 1;
    held.spent += 1;
    if (held.callsLeft === 0) this.#approvals = this.#approvals.filter((one) => one !== held);
  }

  #count(): void {
    this.uses += 1;
    if (this.parent !== undefined) this.parent.#count();
  }

  exit(member: Member): void {
    this.#members.delete(member);
    if (this.#members.size > 0 || this.#idle.length === 0) return;
    const waiting = this.#idle;
    this.#idle = [];
    for (const resolve of waiting) resolve();
  }

  approve(approval: HeldApproval): void {
    this.#approvals = [...this.#approvals, approval];
  }

  /** Takes approvals back that are not to be kept, and cuts what lives on them. */
  withdraw(keep: (one: HeldApproval) => boolean): void {
    this.#approvals = this.#approvals.filter(keep);
    for (const [member, { approval }] of this.#members) {
      if (approval === undefined || keep(approval)) continue;
      const why = `the approval that this call of task ${this.id} lived on is no longer one`;
      member.abort(new Fault('no-longer-allowed', why));
    }
  }

  /**
   * Holds approvals to what the policy has now: what it would not let anybody approve is taken
   * back, what it would let be approved for a shorter time or fewer calls is cut to that. Returns
   * what has lapsed, as `expireApprovals`.
   */
  narrowApprovals(stepUp: Grant['stepUp'], monotonic: number): readonly HeldApproval[] {
    const all = new Set([
      ...this.#approvals,
      ...[...this.#members.values()].flatMap(({ approval }) => approval ?? []),
    ]);
    for (const held of all) {
      const rule = stepUp.get(held.action);
      held.until = Math.min(held.until, held.at + (rule?.ttl ?? 0));
      held.callsLeft = Math.min(held.callsLeft, (rule?.maxCalls ?? 0) - held.spent);
    }
    this.withdraw((held) => held.callsLeft >= 0 && couldBeGiven(held, stepUp.get(held.action)));
    this.#approvals = this.#approvals.filter(({ callsLeft }) => callsLeft > 0);
    return this.expireApprovals(monotonic);
  }

  /**
   * Lets go of what has lapsed, and cuts what lives on it. Returns the approvals that were still
   * unused.
   */
  expireApprovals(monotonic: number): readonly HeldApproval[] {
    if (this.#approvals.length === 0 && this.#members.size === 0) return NONE;
    const lapsed = this.#approvals.filter(({ until }) => until <= monotonic);
    if (lapsed.length > 0)
      this.#approvals = this.#approvals.filter(({ until }) => until > monotonic);
    for (const [member, { approval }] of this.#members) {
      if (approval === undefined || approval.until > monotonic) continue;
      member.abort(
        new Fault(
          'no-longer-allowed',
          `the approval that this call of task ${this.id} lived on has lapsed`,
        ),
      );
    }
    return lapsed;
  }

  /** Ends the task and aborts all that is under way for it; false when it was ending already. */
  end(end: End, why: string): boolean {
    const ending = next(this.#state, { kind: end });
    if (ending === this.#state) return false;
    this.#state = ending;
    const reason = new Fault('task-ended', `task ${this.id} ${WORDS[end]}: ${why}`, {
      hint: 'open another task',
    });
    for (const member of this.#members.keys()) member.abort(reason);
    return true;
  }

  /** Exchanges under way. */
  get live(): number {
    return this.#members.size;
  }

  /** Settles when nothing of the task is under way. */
  whenIdle(): Promise<void> {
    return this.#members.size === 0
      ? Promise.resolve()
      : new Promise((resolve) => this.#idle.push(resolve));
  }

  /** The end of the ending. */
  finish(): void {
    this.#state = next(this.#state, { kind: 'quiet' });
    this.parent?.children.delete(this);
  }
}

/** An approval that could not be given by the policy as it is now is none. */
function couldBeGiven({ as, digest }: HeldApproval, rule: StepUpPolicy | undefined): boolean {
  return rule?.approvers.has(as) === true && (digest !== undefined || !rule.bound);
}

const NONE: readonly HeldApproval[] = Object.freeze([]);
const NOTHING: Claim = Object.freeze({ approval: undefined, before: 0 });

const WORDS: Readonly<Record<End, string>> = Object.freeze({
  completed: 'was completed',
  revoked: 'was revoked',
  expired: 'has expired',
});

/** The task and all that are derived from it. */
export function tree(task: Task): readonly Task[] {
  return [task, ...[...task.children].flatMap(tree)];
}

export interface TaskParts {
  readonly id: string;
  readonly agent: Agent;
  readonly intent: Intent;
  readonly grant: Grant;
  readonly parent: Task | undefined;
  readonly history: History;
  /** Its history is not that of the session. */
  readonly isolated: boolean;
  /** Digest of what proves that a call may use the task. */
  readonly secret: Buffer;
  /** Digest of what proves that it may be extended, derived from and completed. */
  readonly control: Buffer;
  /** Monotonic, and wall clock: milliseconds. */
  readonly opened: { readonly monotonic: number; readonly wall: number };
  readonly lifetime: number;
  /** Against whose quotas it counts. */
  readonly whose: Whose;
  /** What the agent has used up for now, over all its tasks of this purpose. */
  readonly spent: () => TaskFacts['spent'];
}
