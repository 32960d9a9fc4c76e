/**
 * Calls that were refused because they wait for an approval, kept for a while so that a question
 * can name one: what is shown to whoever decides is the call itself, and not what the agent says
 * about it. Bounded for each task and each agent; the oldest is forgotten.
 */
import type { CallView } from '../policy/review/call-view.ts';
import type { Task } from './task.ts';

export interface RefusedCall {
  /** Id of its exchange, which its refusal names as `decision`. */
  readonly id: string;
  readonly action: string;
  readonly destination: string;
  /** undefined for a connection. */
  readonly rule: string | undefined;
  /** What an approval is bound to; undefined where it is bound to no parameters. */
  readonly digest: string | undefined;
  readonly view: CallView;
}

export const REFUSED_LIMITS = Object.freeze({ perTask: 8, perAgent: 64 });

export class RefusedCalls {
  /** The oldest first. */
  readonly #ofTask = new Map<Task, RefusedCall[]>();
  /** Of all tasks of an agent, the oldest first. */
  readonly #ofAgent = new Map<string, { readonly task: Task; readonly call: RefusedCall }[]>();

  keep(task: Task, call: RefusedCall): void {
    const own = this.#ofTask.get(task) ?? [];
    this.#ofTask.set(task, own);
    own.push(call);
    const all = this.#ofAgent.get(task.agent.name) ?? [];
    this.#ofAgent.set(task.agent.name, all);
    all.push({ task, call });
    const [oldest] = own.length > REFUSED_LIMITS.perTask ? [{ task, call: own[0] }] : all;
    if (own.length > REFUSED_LIMITS.perTask || all.length > REFUSED_LIMITS.perAgent)
      this.#drop(oldest);
  }

  find(task: Task, id: string): RefusedCall | undefined {
    return this.#ofTask.get(task)?.find((one) => one.id === id);
  }

  forget(task: Task): void {
    for (const call of this.#ofTask.get(task)?.slice() ?? []) this.#drop({ task, call });
    this.#ofTask.delete(task);
  }

  #drop(one: { readonly task: Task; readonly call: RefusedCall | undefined } | undefined): void {
    if (one?.call === undefined) return;
    const { task, call } = one;
    without(this.#ofTask.get(task) ?? [], (kept) => kept === call);
    without(this.#ofAgent.get(task.agent.name) ?? [], (kept) => kept.call === call);
  }
}

function without<T>(list: T[], is: (one: T) => boolean): void {
  const at = list.findIndex(is);
  if (at >= 0) list.splice(at, 1);
}
