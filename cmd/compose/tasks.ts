/** Tasks put together: the registry, who may open and answer, and what is told of them. */
import { mkdir, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { agentApi } from '../../lib/admin/agent-api.ts';
import { startAgentDoor, taskFolder, type AgentDoor } from '../../lib/admin/agent-door.ts';
import type { Api } from '../../lib/admin/api.ts';
import { approvalWebhook, type WebhookOptions } from '../../lib/admin/approval-webhook.ts';
import { operatorApi } from '../../lib/admin/operator-api.ts';
import { readSecret } from '../../lib/admin/secret-file.ts';
import { taskFeed, type TaskFeed } from '../../lib/admin/task-feed.ts';
import type { Ways } from '../../lib/admin/task-view.ts';
import { Fault } from '../../lib/base/fault.ts';
import { ignore } from '../../lib/base/signal.ts';
import type { SidecarSpec } from '../../lib/config/compile.ts';
import { formatAuthority } from '../../lib/policy/authority.ts';
import type { Proxy } from '../../lib/proxy/proxy.ts';
import { tasks as registry, type Tasks } from '../../lib/tasks/registry.ts';
import type { TaskEvent } from '../../lib/tasks/events.ts';
import type { StepUp } from '../../lib/tasks/step-ups.ts';
import type { Late, Parts } from '../compose.ts';

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
  const tell = (event: TaskEvent): void => {
    log.log('info', 'tasks', event.event, { task: event.task, ...event.detail });
    const record = { kind: 'task', time: new Date(clock.now()).toISOString(), ...event } as const;
    written = audit.write(record);
    ignore(written, 'the audit log counts its failures, and what must not go on without its record waits for it');
    feed.tell(event);
  };
  const recorded = (): Promise<void> => (onFailure === 'deny' ? written.catch(unrecorded) : Promise.resolve());
  const ask = await webhookOf(config.sidecar, {
    clock,
    tell,
    signal,
    stepUps: () => tasks.stepUps,
    task: (id) => tasks.get(id),
  });
  const tasks = registry({
    clock,
    policy,
    tell,
    recorded,
    unknownPast: await startedBefore(config.sidecar.adminApi?.socket),
    onAsked: (stepUp) => {
      if (stepUp.approvers.includes('webhook')) ignore(ask?.(stepUp) ?? Promise.resolve(), 'it never rejects');
    },
    onChange: () => late.proxy?.reconsider(),
    release: async (task) => (await late.proxy?.release(task)) ?? [],
  });
  return { tasks, feed };
}

function unrecorded(cause: unknown): never {
  const { message } = Fault.from(cause, 'audit-unavailable');
  const hint = 'nothing was opened; free the disk or repair the sink, or set audit.onFailure to continue';
  throw new Fault('audit-unavailable', `the task could not be recorded: ${message}`, { hint, cause });
}

async function webhookOf(
  { tasks: { webhook } }: SidecarSpec,
  around: Omit<WebhookOptions, 'url' | 'secret' | 'timeout'>,
): Promise<((stepUp: StepUp) => Promise<void>) | undefined> {
  if (webhook === undefined) return undefined;
  const { url, timeout, secretFile } = webhook;
  return approvalWebhook({ ...around, url, timeout, secret: await readSecret(secretFile) });
}

/**
 * Whether a sidecar has run with this folder before: then what the agent did until now is not known. The folder of the operator's door lives as long as the pod
 * and belongs to the sidecar alone; without one nothing can be told, and nothing is assumed.
 */
async function startedBefore(socket: string | undefined): Promise<boolean> {
  if (socket === undefined) return false;
  try {
    await mkdir(dirname(socket), { recursive: true, mode: 0o700 });
    await writeFile(join(dirname(socket), '.started'), '', { flag: 'wx', mode: 0o600 });
    return false;
  } catch {
    // It is there already, or that cannot be told.
    return true;
  }
}

export interface Doors {
  /** For the operator's socket. */
  readonly operator: Api;
  /** undefined where the document has none. */
  readonly agent: AgentDoor | undefined;
}

export async function openDoors({ config }: Parts, { tasks, feed }: TaskParts, proxy: Proxy): Promise<Doors> {
  const door = config.sidecar.agentApi;
  const ways: Ways = {
    proxy() {
      const bound = proxy.addresses.get('forward');
      return bound === undefined ? undefined : formatAuthority(bound.address, bound.port);
    },
    sockets: (task) =>
      door === undefined
        ? Promise.resolve({})
        : proxy.taskSockets(task, { folder: taskFolder(door.socket), mode: door.mode }),
  };
  const operator = operatorApi({ tasks, ways, feed });
  if (door === undefined) return { operator, agent: undefined };
  return { operator, agent: await startAgentDoor({ ...door, api: agentApi({ tasks, ways, feed }) }) };
}
