/**
 * The agent's door: it opens tasks, sees and ends its own, and asks for more. It never approves, and never sees the tasks of another. Whoever reaches the door may
 * ask for a task, which a task policy decides; what touches a task needs the credentials that opening it gave (`Authorization: Basic`).
 */
import { Fault } from '../base/fault.ts';
import type { Tasks } from '../tasks/registry.ts';
import { tree, type Task } from '../tasks/task.ts';
import { api, type Api, type Call } from './api.ts';
import { openApi } from './openapi.ts';
import type { TaskFeed } from './task-feed.ts';
import { taskOperations } from './task-operations.ts';
import { taskView, type Ways } from './task-view.ts';

export interface AgentApiOptions {
  readonly tasks: Tasks;
  readonly ways: Ways;
  readonly feed: TaskFeed;
}

export function agentApi({ tasks, ways, feed }: AgentApiOptions): Api {
  const caller = ({ authorization }: Call): Task => {
    if (authorization !== undefined) return tasks.authenticate(authorization, 'authorization');
    throw new Fault('task-unknown', 'there are no credentials of a task', {
      at: 'authorization',
      hint: 'send the authorization that opening the task gave',
    });
  };
  /** The caller's own task, or one derived from it. */
  const task = (call: Call): Task => {
    const own = caller(call);
    const found = tree(own).find(({ id }) => id === call.path['task']);
    if (found !== undefined) return found;
    throw new Fault('not-yours', `${call.path['task'] ?? ''} is not a task of these credentials`);
  };
  const operations = taskOperations({ tasks, ways, feed, task });
  return api([
    ...operations,
    {
      method: 'GET',
      path: '/v1/tasks',
      summary: 'The task of the credentials, and those derived from it.',
      status: 200,
      answer: (call) => ({ status: 200, body: { tasks: tree(caller(call)).map(taskView) } }),
    },
    openApi('Chaperone: the API of the agent', () => operations),
  ]);
}
