/** Tasks put together: the registry, who may open and answer, and what is told of them. */
import { agentHome, forwardSocket } from '../../lib/api/agent-folder.ts';
import { AGENT_TCP, startAgentDoor } from '../../lib/api/agent-socket.ts';
import { agentApi } from '../../lib/api/agent.ts';
import type { Api } from '../../lib/api/api.ts';
import { type WebhookOptions, approvalWebhook } from '../../lib/api/approval-webhook.ts';
import { operatorApi } from '../../lib/api/operator.ts';
import type { Pages } from '../../lib/api/pages.ts';
import { readSecret } from '../../lib/api/secret-file.ts';
import { type TaskFeed, taskFeed } from '../../lib/api/task-feed.ts';
import type { Ways } from '../../lib/api/task-view.ts';
import type { Disposer } from '../../lib/base/dispose.ts';
import { Fault } from '../../lib/base/fault.ts';
import { ignore } from '../../lib/base/signal.ts';
import type { SidecarSpec } from '../../lib/config/load/compile.ts';
import { type Inherited, agentSocketName } from '../../lib/listen/inherited.ts';
import type { Proxy } from '../../lib/listen/proxy.ts';
import { formatAuthority } from '../../lib/net/authority.ts';
import type { Agent } from '../../lib/policy/model/agent.ts';
import type { StepUp } from '../../lib/tasks/approvals.ts';
import type { TaskEvent } from '../../lib/tasks/events.ts';
import { type Tasks, tasks as registry } from '../../lib/tasks/registry.ts';
import { resolverOf } from '../system-resolver.ts';
import type { Late, Parts } from './parts.ts';
import { openState } from './state.ts';

export interface TaskParts {
  readonly tasks: Tasks;
  readonly feed: TaskFeed;
}

/** The registry, before there is a proxy. */
export async function startTasks(
  { config, clock, policy, audit, log }: Parts,
  late: Late,
  signal: AbortSignal,
): Promise<TaskParts> {
  const feed = taskFeed();
  const { onFailure } = config.sidecar.audit;
  let written = Promise.resolve();
  const counts = (late.taskEvents = new Map<string, number>());
  const tell = (told: TaskEvent): void => {
    counts.set(told.event, (counts.get(told.event) ?? 0) + 1);
    const event = { ...told, agent: tasks.get(told.task)?.agent.name };
    log.log('info', 'tasks', event.event, {
      task: event.task,
      agent: event.agent,
      ...event.detail,
    });
    const record = { kind: 'task', time: new Date(clock.now()).toISOString(), ...event } as const;
    written = audit.write(record);
    ignore(
      written,
      'the audit log counts its failures, and what must not go on without its record waits for it',
    );
    feed.tell(event);
  };
  const recorded = (): Promise<void> =>
    onFailure === 'deny' ? written.catch(unrecorded) : Promise.resolve();
  const ask = await webhookOf(config.sidecar, {
    clock,
    tell,
    signal,
    stepUps: () => tasks.stepUps,
    task: (id) => tasks.get(id),
  });
  const tasks = registry({
    agents: config.sidecar.agents,
    clock,
    policy,
    tell,
    recorded,
    ...(await openState(config.sidecar)),
    onAsked: (stepUp) => {
      if (stepUp.approvers.includes('webhook'))
        ignore(ask?.(stepUp) ?? Promise.resolve(), 'it never rejects');
    },
    onChange: () => late.proxy?.reauthorize(),
    release: async (task) => (await late.proxy?.release(task)) ?? [],
  });
  return { tasks, feed };
}

function unrecorded(cause: unknown): never {
  const { message } = Fault.from(cause, 'audit-unavailable');
  const hint =
    'nothing was opened; free the disk or repair the sink, or set audit.onFailure to continue';
  throw new Fault('audit-unavailable', `the task could not be recorded: ${message}`, {
    hint,
    cause,
  });
}

async function webhookOf(
  { tasks: { webhook }, resolver }: SidecarSpec,
  around: Omit<WebhookOptions, 'url' | 'secret' | 'timeout' | 'resolver'>,
): Promise<((stepUp: StepUp) => Promise<void>) | undefined> {
  if (webhook === undefined) return undefined;
  const { url, timeout, secretFile } = webhook;
  const names = resolverOf(resolver, around.clock);
  return approvalWebhook({
    ...around,
    url,
    timeout,
    resolver: names,
    secret: await readSecret(secretFile),
  });
}

export interface Doors {
  /** The operator's. */
  readonly api: Api;
  /** What listens for agents. */
  readonly pages: readonly Pages[];
}

export interface Around {
  readonly proxy: Proxy;
  readonly opened: Disposer;
  readonly inherited: Inherited;
}

/** The operator's API; those of the agents listen. */
export async function openDoors(
  { config: { sidecar }, budget, drops }: Parts,
  { tasks, feed }: TaskParts,
  { proxy, opened, inherited }: Around,
): Promise<Doors> {
  const homes = new Map<
    Agent,
    { readonly forward: string | undefined; readonly tasks: string; readonly mode: number }
  >();
  const ways: Ways = {
    proxy() {
      const bound = proxy.addresses.get('forward');
      return bound === undefined ? undefined : formatAuthority(bound.address, bound.port);
    },
    forward: ({ agent }) => homes.get(agent)?.forward,
    async sockets(task) {
      const home = homes.get(task.agent);
      return home === undefined
        ? {}
        : proxy.taskSockets(task, { folder: home.tasks, mode: home.mode });
    },
  };
  const pages: Pages[] = [];
  const tcp = sidecar.agentApi?.tcp && {
    ...sidecar.agentApi.tcp,
    fd: inherited.take({ name: AGENT_TCP, ...sidecar.agentApi.tcp.address }),
  };
  for (const agent of sidecar.agents) {
    const { home } = agent;
    if (home === undefined) continue;
    const fd = inherited.take({ name: agentSocketName(agent, 'api'), path: home.socket });
    const path = forwardSocket(home);
    const forward = home.forward
      ? inherited.take({ name: agentSocketName(agent, 'forward'), path })
      : undefined;
    const shared = { api: fd !== undefined, forward: forward !== undefined };
    const made = opened.use(await agentHome(home, shared));
    homes.set(agent, {
      forward: home.forward ? path : undefined,
      tasks: made.tasks,
      mode: home.mode,
    });
    if (home.forward) await proxy.openForward(agent, { path, mode: home.mode, fd: forward });
    const api = agentApi({ agent, tasks, ways, feed });
    const onDropped = (): void => drops.count(`API of ${agent.name}`);
    const limits = { connections: budget.api, onDropped };
    pages.push(opened.use(await startAgentDoor({ ...home, fd, ...limits, tcp, api })));
  }
  return { api: operatorApi({ tasks, ways, feed }), pages };
}
