/** Tasks over a policy of three destinations, on a clock that the test moves. */
import { randomUUID } from 'node:crypto';
import { type Cell, cell } from '../../lib/base/cell.ts';
import type { Clock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { StepUpPolicy, TaskPolicy } from '../../lib/policy/model/grant.ts';
import type { CallView } from '../../lib/policy/review/call-view.ts';
import type { TaskEvent } from '../../lib/tasks/events.ts';
import { type Intent, parseIntent } from '../../lib/tasks/intent.ts';
import type { RefusedCall } from '../../lib/tasks/refused-calls.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { StepUp } from '../../lib/tasks/step-up.ts';
import type { Task } from '../../lib/tasks/task.ts';
import type { Tasks, TasksOptions } from '../../lib/tasks/tasks.ts';
import { destination } from '../policy/destination.ts';

export interface ManualClock extends Clock {
  /** Moves both clocks and runs what has become due. */
  pass(ms: number): void;
  /** Moves the wall clock alone. */
  jump(ms: number): void;
}

export function manualClock(): ManualClock {
  let [wall, monotonic] = [Date.UTC(2026, 0, 2), 1000];
  const due = new Set<{ readonly at: number; readonly act: () => void }>();
  return {
    now: () => wall,
    monotonic: () => monotonic,
    after(ms, act) {
      const one = { at: monotonic + ms, act };
      due.add(one);
      return () => due.delete(one);
    },
    pass(ms) {
      const end = monotonic + ms;
      for (;;) {
        const first = [...due].sort((a, b) => a.at - b.at)[0];
        if (first === undefined || first.at > end) break;
        wall += first.at - monotonic;
        monotonic = first.at;
        due.delete(first);
        first.act();
      }
      wall += end - monotonic;
      monotonic = end;
    },
    jump: (ms) => void (wall += ms),
  };
}

export const STEP_UP: StepUpPolicy = {
  actions: new Set(['write']),
  approvers: new Set(['operator']),
  ttl: 60_000,
  maxCalls: 1,
  bound: false,
  maxBody: 65_536,
};

export function rule(given: Partial<TaskPolicy> = {}): TaskPolicy {
  return {
    name: 'support',
    purposes: ['support'],
    owners: undefined,
    destinations: new Set(['crm', 'wiki']),
    actions: new Set(['read']),
    dataClasses: new Set(['public', 'internal', 'confidential']),
    lifetime: 900_000,
    maxCalls: 100,
    maxOpenTasks: 8,
    depth: 2,
    quotas: {},
    isolated: false,
    stepUp: [STEP_UP],
    when: undefined,
    at: 'test.yaml:1:1',
    ...given,
  };
}

export function policyWith(...taskPolicies: readonly TaskPolicy[]): Policy {
  const destinations = [
    destination('crm', { dataClass: 'confidential', task: 'required' }),
    destination('wiki', { dataClass: 'internal' }),
    destination('vault', { dataClass: 'restricted' }),
  ];
  return buildPolicy({ generation: 1, digest: 'd', destinations, unlisted: 'deny', taskPolicies });
}

export interface Desk {
  readonly tasks: Tasks;
  readonly clock: ManualClock;
  readonly policy: Cell<Policy>;
  readonly events: TaskEvent[];
  /** Times that what is live was to be decided again. */
  readonly changes: { count: number };
}

export function desk(given: Partial<TasksOptions> = {}, ...rules: readonly TaskPolicy[]): Desk {
  const clock = manualClock();
  const policy = cell(policyWith(...(rules.length > 0 ? rules : [rule()])));
  const events: TaskEvent[] = [];
  const changes = { count: 0 };
  const registry = tasks({
    clock,
    policy,
    tell: (event) => events.push(event),
    onChange: () => (changes.count += 1),
    ...given,
  });
  return { tasks: registry, clock, policy, events, changes };
}

/** An intent: `support` by alice, reading the crm, unless said otherwise. */
export function intent(given: Readonly<Record<string, unknown>> = {}): Intent {
  return parseIntent(
    'intent',
    JSON.stringify({
      purpose: 'support',
      owner: 'alice',
      targets: ['crm'],
      actions: ['read'],
      ...given,
    }),
  );
}

export const VIEW: CallView = {
  method: 'POST',
  host: 'crm.internal',
  port: 80,
  path: '/v1/notes',
  query: [],
  fields: [],
  leftOut: [],
};

/** A call of the task that was refused because it waits for an approval; gives its decision. */
export function refusedCall(
  { tasks: registry }: Desk,
  task: Task,
  given: Partial<RefusedCall> = {},
): string {
  const id = given.id ?? randomUUID();
  const call = {
    action: 'write',
    destination: 'crm',
    rule: 'write',
    digest: undefined,
    view: VIEW,
  };
  registry.stepUps.refused(task, { ...call, ...given, id });
  return id;
}

/** The same, asked for. */
export function asks(
  d: Desk,
  task: Task,
  given: Partial<RefusedCall> = {},
  reason?: string,
): Promise<StepUp> {
  return d.tasks.stepUps.ask(task, { decision: refusedCall(d, task, given), reason });
}

/** Something under way for a task. */
export function member(id: string): {
  readonly id: string;
  readonly reasons: string[];
  abort(reason: Error): void;
} {
  const reasons: string[] = [];
  return { id, reasons, abort: (reason) => void reasons.push(reason.message) };
}
