/** Tasks as the APIs show them: plain values, no secret but the two that opening hands out. */
import type { Grant } from '../policy/model/grant.ts';
import { targetText } from '../policy/model/targets.ts';
import type { StepUp } from '../tasks/step-up.ts';
import type { Task } from '../tasks/task.ts';
import type { Opened } from '../tasks/tasks.ts';

/** What an API needs to know of the proxy to say how a task is used. */
export interface Ways {
  /** `host:port` of the forward proxy; undefined when there is none. */
  proxy(): string | undefined;
  /** Path of the forward proxy in the folder of its agent; undefined where there is none. */
  forward?(task: Task): string | undefined;
  /** Local sockets of the task, by destination. */
  sockets(task: Task): Promise<Readonly<Record<string, string>>>;
}

export async function openedView(
  { task, secret, control, refused }: Opened,
  ways: Ways,
): Promise<object> {
  const proxy = ways.proxy();
  const sockets = await ways.sockets(task);
  const forward = ways.forward?.(task);
  return {
    ...taskView(task),
    refused,
    credentials: basic(task, secret),
    authorization: basic(task, control),
    ...(proxy === undefined ? undefined : { proxyUrl: `http://${task.id}:${secret}@${proxy}` }),
    ...(forward === undefined ? undefined : { forwardSocket: forward }),
    sockets,
  };
}

function basic({ id }: Task, secret: string): string {
  return `Basic ${Buffer.from(`${id}:${secret}`).toString('base64')}`;
}

export function taskView(task: Task): object {
  const { id, agent, intent, parent, state, opened, expiresAt, uses, live, depth } = task;
  return {
    id,
    agent: agent.name,
    state:
      state.kind === 'open' ? 'open' : state.kind === 'ending' ? `ending: ${state.end}` : state.end,
    purpose: intent.purpose,
    owner: intent.owner,
    onBehalfOf: intent.onBehalfOf,
    parent: parent?.id,
    depth,
    openedAt: new Date(opened.wall).toISOString(),
    expiresAt: new Date(expiresAt).toISOString(),
    uses,
    live,
    grant: grantView(task.grant),
    approvals: task.approvals.map(({ id: stepUp, action, destination, rule, callsLeft }) => ({
      stepUp,
      action,
      destination,
      rule,
      callsLeft: counted(callsLeft),
    })),
  };
}

function grantView({ destinations, hosts, actions, stepUp, dataClasses, maxCalls }: Grant): object {
  return {
    destinations: [...destinations],
    actions: [...actions],
    stepUp: [...stepUp.keys()],
    dataClasses: [...dataClasses],
    maxCalls,
    /** What of a destination, where the intent named hosts. */
    ...(hosts === undefined || hosts.size === 0
      ? undefined
      : {
          hosts: Object.fromEntries([...hosts].map(([name, some]) => [name, some.map(targetText)])),
        }),
  };
}

/** What the agent says stands apart from what it would do. */
export function stepUpView({ askedAt, reason, maxCalls, ...stepUp }: StepUp): object {
  return {
    ...stepUp,
    maxCalls: counted(maxCalls),
    askedAt: new Date(askedAt).toISOString(),
    untrusted: { reason },
  };
}

function counted(calls: number): number | 'unlimited' {
  return calls === Infinity ? 'unlimited' : calls;
}
