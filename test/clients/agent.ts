/**
 * An agent of a few words, in a process of its own, which knows its sidecar by the environment
 * alone:
 *   fetch URL     as a task of its own; prints the status, or the code of the refusal
 *   inherited URL the same, in the task that it was started in
 *   hang          opens a task, prints its id, and stays until it is killed
 *   leave         opens a task and forgets it: the process ends by itself
 */
import { currentTask, openTask, Refused, type Task } from 'chaperone/client';

const [what = '', url = ''] = process.argv.slice(2);
const INTENT = {
  purpose: 'answer-ticket',
  owner: 'agent',
  targets: ['crm', 'web'],
  actions: ['read'],
};
const print = (text: string): void => void process.stdout.write(`${text}\n`);

async function show(task: Task): Promise<void> {
  try {
    const answer = await task.fetch(url);
    print(`${answer.status} ${await answer.text()}`);
    await (await task.fetch(url)).text();
  } catch (failure) {
    if (!(failure instanceof Refused)) throw failure;
    print(`refused: ${failure.code} ${failure.status} ${failure.message}`);
  }
}

if (what === 'inherited') {
  await using task = await currentTask();
  await show(task);
} else if (what === 'fetch') {
  await using task = await openTask(INTENT);
  await show(task);
} else {
  const task = await openTask(INTENT);
  print(task.id);
  if (what === 'hang') setInterval(() => {}, 1000);
}
