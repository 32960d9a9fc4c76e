/**
 * The operator's door to tasks: all of the agent's, for every task, and what the agent's does not
 * have: approve, refuse, revoke, watch. Its guard is the socket's folder.
 */
import { Fault } from '../base/fault.ts';
import type { Agent } from '../policy/model/agent.ts';
import { intentSchema } from '../tasks/intent.ts';
import type { Task } from '../tasks/task.ts';
import type { Tasks } from '../tasks/tasks.ts';
import { type Api, type Call, type Operation, api, decodeBody } from './api.ts';
import { openApi } from './openapi.ts';
import { approval, refusal, revocation } from './task-bodies.ts';
import type { TaskFeed } from './task-feed.ts';
import { type TaskDoor, opened, taskOperations } from './task-operations.ts';
import { type Ways, stepUpView, taskView } from './task-view.ts';

export interface OperatorApiOptions {
  readonly tasks: Tasks;
  readonly ways: Ways;
  readonly feed: TaskFeed;
}

export function operatorApi({ tasks, ways, feed }: OperatorApiOptions): Api {
  const task = ({ path }: Call): Task => {
    const found = tasks.get(path['task'] ?? '');
    if (found !== undefined) return found;
    throw new Fault('no-such-task', `there is no task ${path['task'] ?? ''}`, {
      hint: 'it may have ended',
    });
  };
  const door = { tasks, ways, feed, task };
  const operations: readonly Operation[] = [
    ...taskOperations(door),
    openingFor(door),
    ...overseeing(tasks, task),
    ...answering(tasks),
    {
      method: 'GET',
      path: '/v1/events',
      summary: 'What happens to tasks from now on, as JSON Lines.',
      status: 200,
      answer: ({ gone }) => ({ status: 200, body: { watching: true }, lines: feed.all(gone) }),
    },
  ];
  return api([...operations, openApi('Chaperone: the API of the operator', () => operations)]);
}

function openingFor(door: TaskDoor): Operation {
  const agent = ({ path }: Call): Agent => {
    const found = door.tasks.agents.find(({ name }) => name === path['agent']);
    if (found !== undefined) return found;
    const known = door.tasks.agents.map(({ name }) => name).join(', ');
    throw new Fault('no-such-agent', `there is no agent ${path['agent'] ?? ''}`, {
      hint: `there is ${known}`,
    });
  };
  return {
    method: 'POST',
    path: '/v1/agents/{agent}/tasks',
    summary: 'Open a task for one of several agents.',
    request: intentSchema,
    status: 201,
    answer: (call) =>
      opened(door, door.tasks.open(decodeBody(intentSchema, call.body), agent(call)), call),
  };
}

function overseeing(tasks: Tasks, task: (call: Call) => Task): readonly Operation[] {
  return [
    {
      method: 'GET',
      path: '/v1/tasks',
      summary: 'Every task that is open or ending.',
      status: 200,
      answer: () => ({ status: 200, body: { tasks: tasks.list().map(taskView) } }),
    },
    {
      method: 'POST',
      path: '/v1/tasks/{task}/revoke',
      summary: 'Revoke a task and those derived from it.',
      request: revocation,
      urgent: true,
      status: 200,
      answer(call) {
        const { by, reason } = decodeBody(revocation, call.body);
        const one = task(call);
        tasks.end(one, 'revoked', `${reason} (${by})`);
        return { status: 200, body: taskView(one) };
      },
    },
    {
      method: 'POST',
      path: '/v1/revoke-all',
      summary: 'Revoke every task.',
      request: revocation,
      urgent: true,
      status: 200,
      answer(call) {
        const { by, reason } = decodeBody(revocation, call.body);
        return { status: 200, body: { revoked: tasks.endAll('revoked', `${reason} (${by})`) } };
      },
    },
  ];
}

function answering({ stepUps }: Tasks): readonly Operation[] {
  const id = ({ path }: Call): string => path['stepUp'] ?? '';
  return [
    {
      method: 'GET',
      path: '/v1/step-ups',
      summary: 'Step-ups that wait for an answer.',
      status: 200,
      answer: () => ({ status: 200, body: { stepUps: stepUps.pending().map(stepUpView) } }),
    },
    {
      method: 'POST',
      path: '/v1/step-ups/{stepUp}/approve',
      summary: 'Approve a step-up, for no longer and no more calls than the policy has it.',
      request: approval,
      status: 200,
      async answer(call) {
        const answer = decodeBody(approval, call.body);
        return {
          status: 200,
          body: stepUpView(await stepUps.approve(id(call), { ...answer, as: 'operator' })),
        };
      },
    },
    {
      method: 'POST',
      path: '/v1/step-ups/{stepUp}/deny',
      summary: 'Refuse a step-up.',
      request: refusal,
      status: 200,
      answer(call) {
        const { by, reason, ttl } = decodeBody(refusal, call.body);
        return {
          status: 200,
          body: stepUpView(stepUps.deny(id(call), { by, why: reason, ttl })),
        };
      },
    },
  ];
}
