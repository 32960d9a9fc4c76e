/** Tasks put together: the registry, who may open and answer, and what is told of them. */
import { type WebhookOptions, approvalWebhook } from '../../lib/api/approval-webhook.ts';
import { readSecret } from '../../lib/api/secret-file.ts';
import { taskFeed } from '../../lib/api/task-feed.ts';
import { Fault } from '../../lib/base/fault.ts';
import { ignore } from '../../lib/base/signal.ts';
import type { SidecarSpec } from '../../lib/config/load/compile-sidecar.ts';
import type { TaskEvent } from '../../lib/tasks/events.ts';
import { tasks as registry } from '../../lib/tasks/registry.ts';
import type { StepUp } from '../../lib/tasks/step-up.ts';
import { resolverOf } from '../system-resolver.ts';
import type { Parts, TaskParts } from './parts.ts';
import { openState } from './state.ts';

/** The registry, before there is a proxy. */
export async function startTasks(
  { config, clock, policy, audit, log, services }: Parts,
  signal: AbortSignal,
): Promise<TaskParts> {
  const feed = taskFeed();
  const { onFailure } = config.sidecar.audit;
  let written = Promise.resolve();
  const taskEvents = new Map<string, number>();
  const tell = (happened: TaskEvent): void => {
    taskEvents.set(happened.event, (taskEvents.get(happened.event) ?? 0) + 1);
    const event = { ...happened, agent: tasks.get(happened.task)?.agent.name };
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
    onChange: () => services.get()?.proxy.reauthorize(),
    release: async (task) => (await services.get()?.proxy.release(task)) ?? [],
  });
  return { tasks, feed, taskEvents };
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
