/** `chaperone status`: how a running sidecar stands, as its admin socket says. */
import { field, wordsOf } from '../api-client.ts';
import { operator, type DoorOptions } from '../api-socket.ts';
import type { Io } from '../io.ts';
import { counted, onOneLine } from '../table.ts';

export interface StatusOptions extends DoorOptions {
  readonly json?: boolean;
}

/** Gives whether it is ready. */
export async function status(options: StatusOptions, io: Io): Promise<boolean> {
  const api = await operator(options, io);
  const now = await api.ask({ method: 'GET', path: '/status' });
  const { tasks } = Object(await api.ask({ method: 'GET', path: '/v1/tasks' }));
  const { stepUps } = Object(await api.ask({ method: 'GET', path: '/v1/step-ups' }));
  const ready = field(now, 'ready') === true;
  const counts = { tasks: lengthOf(tasks), questions: lengthOf(stepUps) };
  if (options.json === true) io.out(JSON.stringify({ ...Object(now), ...counts }));
  else
    for (const [name, words] of rows(now, counts)) io.out(`${name.padEnd(11)} ${onOneLine(words)}`);
  return ready;
}

interface Counts {
  readonly tasks: number;
  readonly questions: number;
}

function rows(now: unknown, { tasks, questions }: Counts): readonly (readonly [string, string])[] {
  const waiting = list(now, 'waiting').map(
    (one) => `${wordsOf(one, 'name')}: ${wordsOf(one, 'detail')}, ${numberOf(one, 'seconds')} s`,
  );
  const degraded = wordsOf(now, 'degraded');
  const digest = wordsOf(now, 'policyDigest').slice(0, 16);
  return [
    ['sidecar', `${wordsOf(now, 'name')}, process ${numberOf(now, 'pid')}`],
    ...(waiting.length === 0
      ? ([['ready', 'yes']] as const)
      : waiting.map((words, i) => [i === 0 ? 'ready' : '', `no: ${words}`] as const)),
    ['policy', `generation ${numberOf(now, 'policy')}, digest ${digest}`],
    ['degraded', degraded === '' ? 'no' : `for ${numberOf(now, 'stale')} s: ${degraded}`],
    ['identity', identityWords(now)],
    ['live', counted(numberOf(now, 'live'), 'exchange')],
    [
      'tasks',
      `${counted(tasks, 'task')} open, ${counted(questions, 'question')} waiting for an approval`,
    ],
    ...Object.entries(Object(field(now, 'listening'))).map(
      ([name, at], i) => [i === 0 ? 'listening' : '', `${name} ${String(at)}`] as const,
    ),
  ];
}

function identityWords(now: unknown): string {
  const identity = field(now, 'identity');
  const problem = wordsOf(now, 'identityProblem');
  if (identity === undefined) return problem === '' ? 'none yet' : `none: ${problem}`;
  const expires = wordsOf(identity, 'expires');
  const words =
    `${wordsOf(identity, 'spiffeId')}, generation ${numberOf(identity, 'generation')}, ` +
    `until ${expires}`;
  return problem === '' ? words : `${words}; ${problem}`;
}

function numberOf(value: unknown, name: string): number {
  return Number(field(value, name) ?? 0);
}

function list(value: unknown, name: string): readonly unknown[] {
  const found = field(value, name);
  return Array.isArray(found) ? found : [];
}

function lengthOf(value: unknown): number {
  return Array.isArray(value) ? value.length : 0;
}
