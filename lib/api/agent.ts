/**
 * The agent's door: it opens tasks, sees and ends its own, and asks for more. It never approves,
 * and never sees the tasks of another. Whoever reaches the door may ask for a task, which a task
 * policy decides; what touches a task needs what opening it gave (`Authorization: Basic`): to see
 * it and to ask for a step-up either secret will do, to extend it, derive from it and complete it
 * `authorization` alone, and a derived task is extended by nothing of its own. So a program that
 * uses a task lifts none of its limits.
 */
import { Fault } from '../base/fault.ts';
import type { Agent } from '../policy/model/agent.ts';
import { type Task, tree } from '../tasks/task.ts';
import type { Proved, Tasks } from '../tasks/tasks.ts';
import { type Api, type Call, api } from './api.ts';
import { openApi } from './openapi.ts';
import type { TaskFeed } from './task-feed.ts';
import { type May, taskOperations } from './task-operations.ts';
import { type Ways, taskView } from './task-view.ts';

export interface AgentApiOptions {
  /** Whose API this is; may be left out where there is one agent. */
  readonly agent?: Agent;
  readonly tasks: Tasks;
  readonly ways: Ways;
  readonly feed: TaskFeed;
}

export function agentApi({ agent, tasks, ways, feed }: AgentApiOptions): Api {
  const caller = ({ authorization }: Call): Proved => {
    const found =
      authorization === undefined ? undefined : tasks.prove(authorization, 'authorization');
    if (found !== undefined && (agent === undefined || found.task.agent === agent)) return found;
    if (found !== undefined)
      throw new Fault('task-unknown', 'these are the credentials of another agent’s task');
    throw new Fault('task-unknown', 'there are no credentials of a task', {
      at: 'authorization',
      hint: 'send the authorization, or the credentials, that opening the task gave',
    });
  };
  /** The caller's own task, or one derived from it. */
  const task = (call: Call, may: May): Task => {
    const { task: own, control } = caller(call);
    const found = tree(own).find(({ id }) => id === call.path['task']);
    if (found === undefined)
      throw new Fault('not-yours', `${call.path['task'] ?? ''} is not a task of these credentials`);
    if (may !== 'use' && !control) throw usesOnly(found, may);
    if (may === 'extend' && found === own && own.parent !== undefined) {
      const hint = `send the authorization of task ${own.parent.id}, or ask the operator`;
      throw new Fault('not-yours', `task ${own.id} is extended by what it was derived from`, {
        hint,
      });
    }
    return found;
  };
  const operations = taskOperations({ agent, tasks, ways, feed, task });
  return api([
    ...operations,
    {
      method: 'GET',
      path: '/v1/tasks',
      summary: 'The task of the credentials, and those derived from it.',
      status: 200,
      answer: (call) => ({ status: 200, body: { tasks: tree(caller(call).task).map(taskView) } }),
    },
    openApi('Chaperone: the API of the agent', () => operations),
  ]);
}

function usesOnly({ id }: Task, may: Exclude<May, 'use'>): Fault {
  const hint = 'send the authorization that opening the task gave';
  return new Fault('not-yours', `these credentials use task ${id}: they do not ${may} it`, {
    hint,
  });
}
