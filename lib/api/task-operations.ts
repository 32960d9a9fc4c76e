/**
 * What may be done with a task over either API, once it is known which task and that the caller
 * may.
 */
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import type { Agent } from '../policy/model/agent.ts';
import { intentSchema } from '../tasks/intent.ts';
import type { Task } from '../tasks/task.ts';
import type { Opened, Tasks } from '../tasks/tasks.ts';
import { type Call, type Operation, type Reply, decodeBody } from './api.ts';
import { extension, question } from './task-bodies.ts';
import type { TaskFeed } from './task-feed.ts';
import { type Ways, openedView, stepUpView, taskView } from './task-view.ts';

/** What is to be done with a task: `use` is to see it and to ask for a step-up. */
export type May = 'use' | 'derive' | 'extend' | 'complete';

export interface TaskDoor {
  /** Whose tasks are opened; undefined: those of the only agent. */
  readonly agent?: Agent | undefined;
  readonly tasks: Tasks;
  readonly ways: Ways;
  readonly feed: TaskFeed;
  /** The task of the path. @throws Fault when there is none, or the caller may not touch it */
  readonly task: (call: Call, may: May) => Task;
}

/** Opening, seeing, extending, deriving and ending tasks, and asking for step-ups. */
export function taskOperations(door: TaskDoor): readonly Operation[] {
  const { tasks, task } = door;
  return [
    {
      method: 'POST',
      path: '/v1/tasks',
      summary:
        'Open a task. The answer is the only place in which its secrets stand. With `hold` ' +
        'it goes on as JSON Lines, and the task ends when it is closed.',
      request: intentSchema,
      status: 201,
      answer: (call) =>
        opened(door, tasks.open(decodeBody(intentSchema, call.body), door.agent), call),
    },
    {
      method: 'GET',
      path: '/v1/tasks/{task}',
      summary: 'One task.',
      status: 200,
      answer: (call) => ({ status: 200, body: taskView(task(call, 'use')) }),
    },
    {
      method: 'POST',
      path: '/v1/tasks/{task}/tasks',
      summary: 'Derive a task for a sub-agent: never wider than this one, and ended with it.',
      request: intentSchema,
      status: 201,
      answer: (call) =>
        opened(door, tasks.derive(task(call, 'derive'), decodeBody(intentSchema, call.body)), call),
    },
    {
      method: 'POST',
      path: '/v1/tasks/{task}/extend',
      summary: 'Move the end of a task, within the ceiling of its purpose.',
      request: extension,
      status: 200,
      answer(call) {
        const one = task(call, 'extend');
        tasks.extend(one, decodeBody(extension, call.body).lifetime);
        return { status: 200, body: taskView(one) };
      },
    },
    {
      method: 'POST',
      path: '/v1/tasks/{task}/complete',
      summary: 'End a task: what is under way for it is cut, and its secret is worth nothing.',
      status: 200,
      answer(call) {
        const one = task(call, 'complete');
        tasks.end(one, 'completed', 'its agent completed it');
        return { status: 200, body: taskView(one) };
      },
    },
    ...stepUpOperations(door),
  ];
}

function stepUpOperations({ tasks, task }: TaskDoor): readonly Operation[] {
  return [
    {
      method: 'POST',
      path: '/v1/tasks/{task}/step-ups',
      summary:
        'Ask for an approval of a call that was refused because it needs one. The answer ' +
        'comes at once; whether it was approved is to be asked for.',
      request: question,
      status: 202,
      answer: async (call) => ({
        status: 202,
        body: stepUpView(
          await tasks.stepUps.ask(task(call, 'use'), decodeBody(question, call.body)),
        ),
      }),
    },
    {
      method: 'GET',
      path: '/v1/tasks/{task}/step-ups',
      summary: 'The step-ups that a task has asked for.',
      status: 200,
      answer: (call) => ({
        status: 200,
        body: { stepUps: tasks.stepUps.of(task(call, 'use')).map(stepUpView) },
      }),
    },
    {
      method: 'GET',
      path: '/v1/tasks/{task}/step-ups/{stepUp}',
      summary: 'One of them.',
      status: 200,
      answer(call) {
        const own = task(call, 'use');
        const found = tasks.stepUps.of(own).find(({ id }) => id === call.path['stepUp']);
        if (found === undefined)
          throw new Fault('no-such-step-up', `task ${own.id} has asked for no such step-up`);
        return { status: 200, body: stepUpView(found) };
      },
    },
  ];
}

/** What cannot be handed out whole, or stands in no record, is not left open. */
export async function opened(
  { tasks, ways, feed }: TaskDoor,
  one: Opened,
  { gone }: Call,
): Promise<Reply> {
  const { task } = one;
  const { hold } = task.intent;
  const lines = hold ? feed.of(task.id, gone) : undefined;
  if (hold) onAbort(gone, () => tasks.end(task, 'revoked', 'the connection that held it closed'));
  try {
    await one.recorded;
    const body = await openedView(one, ways);
    return { status: 201, body, ...(lines && { lines }) };
  } catch (failure) {
    tasks.end(task, 'revoked', 'it could not be handed out');
    throw failure;
  }
}
