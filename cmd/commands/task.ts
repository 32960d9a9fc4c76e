/**
 * `chaperone task open|list|end|watch` for people, and the operator's `approve`, `deny` and
 * `revoke`.
 */
import { userInfo } from 'node:os';
import { intentBody } from '../../lib/tasks/intent.ts';
import { apiClient, field, textOf, wordsOf } from '../api-client.ts';
import { agentSocket, operator, type DoorOptions } from '../api-socket.ts';
import { done, type Io } from '../io.ts';
import { counted, table } from '../table.ts';
import { intentText, variables } from './task-run.ts';
import { questionLines, stepUpWords } from './questions.ts';
import { quoted } from './trust.ts';

interface Shown extends DoorOptions {
  readonly json?: boolean;
}

/** Prints what a shell needs to act as the task, and to complete it; `--json` the whole answer. */
export async function taskOpen(
  options: Shown & { readonly intent: string },
  io: Io,
): Promise<void> {
  const body = intentBody(options.intent, await intentText(options.intent), {});
  const opened = await apiClient(await agentSocket(options, io)).ask({
    method: 'POST',
    path: '/v1/tasks',
    body,
  });
  if (options.json === true) {
    io.out(JSON.stringify(opened));
    return;
  }
  for (const one of list(opened, 'refused'))
    io.err(`refused: ${textOf(one, 'part')} ${textOf(one, 'value')}: ${textOf(one, 'reason')}`);
  const all = {
    ...(await variables(opened, options, io)),
    CHAPERONE_TASK_AUTHORIZATION: textOf(opened, 'authorization'),
  };
  for (const [name, value] of Object.entries(all)) io.out(`export ${name}=${quoted(value)}`);
}

export async function taskList(options: Shown, io: Io): Promise<void> {
  const api = await operator(options, io);
  const tasks = list(await api.ask({ method: 'GET', path: '/v1/tasks' }), 'tasks');
  const stepUps = list(await api.ask({ method: 'GET', path: '/v1/step-ups' }), 'stepUps');
  if (options.json === true) {
    io.out(JSON.stringify({ tasks, stepUps }));
    return;
  }
  if (tasks.length === 0) io.out('no task is open');
  else for (const line of table(TASK_HEAD, tasks.map(taskCells), io)) io.out(line);
  for (const one of stepUps)
    io.out(`${textOf(one, 'id')}  waits for an approval: ${stepUpWords(one)}`);
  if (stepUps.length > 0) io.out('what they would do: chaperone task questions');
}

/** Every question that waits, with the call that it is about, in one screen. */
export async function taskQuestions(options: Shown, io: Io): Promise<void> {
  const api = await operator(options, io);
  const stepUps = list(await api.ask({ method: 'GET', path: '/v1/step-ups' }), 'stepUps');
  const tasks = list(await api.ask({ method: 'GET', path: '/v1/tasks' }), 'tasks');
  if (options.json === true) {
    io.out(JSON.stringify({ stepUps }));
    return;
  }
  if (stepUps.length === 0) io.out('no question waits');
  for (const one of stepUps) {
    const task = tasks.find((other) => wordsOf(other, 'id') === wordsOf(one, 'task'));
    for (const line of questionLines(one, task)) io.out(line);
  }
}

export async function taskEnd(
  options: DoorOptions & { readonly task: string },
  io: Io,
): Promise<void> {
  const api = await operator(options, io);
  done(
    io,
    taskLine(
      await api.ask({
        method: 'POST',
        path: `/v1/tasks/${encodeURIComponent(options.task)}/complete`,
      }),
    ),
  );
}

/** Events until SIGINT. */
export async function taskWatch(options: Shown, io: Io): Promise<void> {
  const api = await operator(options, io);
  using lines = await api.lines({ method: 'GET', path: '/v1/events' });
  process.once('SIGINT', () => lines[Symbol.dispose]());
  for await (const line of lines) {
    if (field(line, 'watching') === true) continue;
    io.out(options.json === true ? JSON.stringify(line) : eventLine(line));
  }
}

export interface AnswerOptions extends DoorOptions {
  readonly stepUp: string;
  readonly by?: string;
  readonly ttl?: string;
  readonly maxCalls?: string;
  readonly reason?: string;
}

/** Says what was approved, which is what `task questions` showed. */
export async function approve(
  { stepUp, ttl, maxCalls, ...options }: AnswerOptions,
  io: Io,
): Promise<void> {
  const body = {
    by: who(options.by),
    ttl,
    maxCalls: maxCalls === undefined ? undefined : Number(maxCalls),
  };
  const api = await operator(options, io);
  const answer = await api.ask({
    method: 'POST',
    path: `/v1/step-ups/${encodeURIComponent(stepUp)}/approve`,
    body,
  });
  done(io, `approved: ${stepUpWords(answer)}`);
}

export async function deny(
  { stepUp, reason, ttl, ...options }: AnswerOptions,
  io: Io,
): Promise<void> {
  const api = await operator(options, io);
  const path = `/v1/step-ups/${encodeURIComponent(stepUp)}/deny`;
  const answer = await api.ask({
    method: 'POST',
    path,
    body: { by: who(options.by), reason, ttl },
  });
  done(io, `denied: ${stepUpWords(answer)}`);
}

export interface RevokeOptions extends DoorOptions {
  /** undefined: every task. */
  readonly task: string | undefined;
  readonly by?: string;
  readonly reason?: string;
}

export async function revoke(
  { task, reason, by, ...options }: RevokeOptions,
  io: Io,
): Promise<void> {
  const api = await operator(options, io);
  const body = { by: who(by), reason };
  if (task === undefined) {
    const answer = await api.ask({ method: 'POST', path: '/v1/revoke-all', body });
    done(io, `revoked: ${counted(Number(field(answer, 'revoked')), 'task')}`);
    return;
  }
  done(
    io,
    taskLine(
      await api.ask({ method: 'POST', path: `/v1/tasks/${encodeURIComponent(task)}/revoke`, body }),
    ),
  );
}

function who(by: string | undefined): string {
  return by ?? userInfo().username;
}

function list(value: unknown, name: string): readonly unknown[] {
  const found = field(value, name);
  return Array.isArray(found) ? found : [];
}

const TASK_HEAD = ['task', 'state', 'purpose', 'for', 'may', 'on', 'until'] as const;

/** Actions in parentheses wait for an approval. */
function taskCells(task: unknown): readonly string[] {
  const owner = wordsOf(task, 'onBehalfOf') || wordsOf(task, 'owner');
  const grant = field(task, 'grant');
  const may = [
    ...list(grant, 'actions'),
    ...list(grant, 'stepUp').map((one) => `(${String(one)})`),
  ].join(' ');
  const on = list(grant, 'destinations').join(' ');
  return [
    textOf(task, 'id'),
    textOf(task, 'state'),
    textOf(task, 'purpose'),
    owner,
    may,
    on,
    textOf(task, 'expiresAt'),
  ];
}

function taskLine(task: unknown): string {
  const [id, state, purpose, owner, may, on, until] = taskCells(task);
  return [id, state, purpose, `for ${owner}`, may, `on ${on}`, `until ${until}`].join('  ');
}

function eventLine(line: unknown): string {
  const detail = Object.entries(Object(field(line, 'detail'))).map(
    ([name, value]) => `${name}=${String(value)}`,
  );
  return `${textOf(line, 'task')}  ${textOf(line, 'event')}  ${detail.join(' ')}`;
}
