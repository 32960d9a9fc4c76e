/**
 * The agents of a sidecar as tasks see them: what each may open, and the history of its session.
 */
import { Fault } from '../base/fault.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { TaskPolicy } from '../policy/model/grant.ts';
import { type History, history } from './history.ts';
import type { Intent } from './intent.ts';
import type { Task } from './task.ts';

export class Agents {
  readonly all: readonly Agent[];
  readonly #sessions: ReadonlyMap<Agent, History>;
  readonly #open = new Map<Agent, number>();

  /** `assumed`: as in `history`, for each of them. */
  constructor(all: readonly Agent[], assumed: readonly string[]) {
    this.all = all;
    this.#sessions = new Map(all.map((agent) => [agent, history(assumed)]));
  }

  /** The only one. @throws Fault `task-refused` where there are several */
  get sole(): Agent {
    const [first, ...others] = this.all;
    if (first !== undefined && others.length === 0) return first;
    const hint = `open it as one of ${this.all.map(({ name }) => name).join(', ')}`;
    throw new Fault('task-refused', 'there are several agents, and none is named', { hint });
  }

  /** @throws Fault `too-many` where it has its part of so many tasks open */
  requireRoom(agent: Agent, most: number): void {
    const open = this.#open.get(agent) ?? 0;
    if (open >= Math.floor(most / this.all.length))
      throw new Fault('too-many', `${open} tasks of agent ${agent.name} are open already`);
  }

  /** Tasks that are open or ending. */
  count(agent: Agent, by: 1 | -1): void {
    this.#open.set(agent, (this.#open.get(agent) ?? 0) + by);
  }

  sessionOf(agent: Agent): History {
    const found = this.#sessions.get(agent);
    if (found === undefined) throw new TypeError(`${agent.name} is no agent of this registry`);
    return found;
  }

  /**
   * Of a task that is opened: one apart begins with what its session has done, and does not flow
   * back.
   */
  historyFor(agent: Agent, isolated: boolean): History {
    const session = this.sessionOf(agent);
    return isolated ? session.copy() : session;
  }

  /** Where a call is marked. What nobody has proved to be one agent's may be any agent's. */
  recordsOf(task: Task | undefined, agent: Agent | undefined): readonly History[] {
    if (task !== undefined) return [task.history];
    return agent === undefined ? [...this.#sessions.values()] : [this.sessionOf(agent)];
  }
}

/** Whether the policy, and the agent's own purposes, let it open such a task. */
export function mayOpen(
  { agents }: TaskPolicy,
  { purpose }: Intent,
  { name, purposes }: Agent,
): boolean {
  return agents?.has(name) !== false && purposes?.has(purpose) !== false;
}

/** Of all agents together: each has as large a part. */
export const MAX_TASKS = 20_000;
