/**
 * `chaperone task run`: a program inside a task. The task is opened by a connection that is held
 * for as long as the program runs, so that it ends whatever happens to either of them; the program
 * finds the way through the sidecar in its environment, and with it what uses the task: what would
 * extend it, derive from it or complete it stays here.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { Fault } from '../../lib/base/fault.ts';
import { readBounded, whyUnread } from '../../lib/base/read-file.ts';
import { ignore } from '../../lib/base/signal.ts';
import { loadConfig } from '../../lib/config/load/load.ts';
import { intentBody } from '../../lib/tasks/intent.ts';
import { apiClient, textOf } from '../api-client.ts';
import { AGENT_API, agentSocket, type DoorOptions } from '../api-socket.ts';
import { environmentOf } from '../environment.ts';
import type { Io } from '../io.ts';
import { startRelay, type Relay } from '../relay/relay.ts';

export interface TaskRunOptions extends DoorOptions {
  readonly intent: string;
  readonly command: readonly string[];
}

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Gives the exit status of the program, 128 and the number of the signal that killed it, or as
 * shells have it 127 or 126 where it could not be run.
 */
export async function taskRun(options: TaskRunOptions, io: Io): Promise<number> {
  const [program, ...args] = options.command;
  if (program === undefined)
    throw new Fault('usage', 'there is no program to run', { hint: 'write it behind --' });
  const socket = await agentSocket(options, io);
  const body = intentBody(options.intent, await intentText(options.intent), { hold: true });
  const client = apiClient(socket);
  using lines = await client.lines({ method: 'POST', path: '/v1/tasks', body });
  const events = lines[Symbol.asyncIterator]();
  const opened = (await events.next()).value;
  const id = textOf(opened, 'id');
  const authorization = textOf(opened, 'authorization');
  await using relay = await relayOf(textOf(opened, 'proxyUrl'), io);
  const env = { ...io.env, ...(await variables(opened, options, io, relay)), [AGENT_API]: socket };
  const ended = run(spawn(program, args, { env, stdio: 'inherit' }), program, io);
  ignore(watch(events, id, io), 'the sidecar may go before the program does');
  const status = await ended;
  await client.ask({ method: 'POST', path: `/v1/tasks/${id}/complete`, authorization }).catch(gone);
  return status;
}

/**
 * For programs that send no credentials to a proxy; none where the kernel does not show whose a
 * connection is.
 */
async function relayOf(proxy: string, io: Io): Promise<Relay | undefined> {
  if (!existsSync('/proc/self/net/tcp')) return undefined;
  let told = false;
  const refused = (): void => {
    if (!told)
      io.err('relay: refused a connection that is not shown to be of a program below this one');
    told = true;
  };
  return startRelay({ proxy, root: process.pid, refused });
}

/** Bytes, as the agent API takes them. */
const MAX_INTENT = 65_536;

export async function intentText(path: string): Promise<string> {
  const bytes = await readBounded(path, { most: MAX_INTENT, pipes: true }).catch(
    (cause: unknown) => {
      throw new Fault(
        'config-unreadable',
        `the intent ${path} cannot be read (${whyUnread(cause)})`,
        {
          hint: 'name a file that holds it; docs/tasks.md shows one',
          cause,
        },
      );
    },
  );
  return bytes.toString('utf8');
}

/**
 * What sends a program through the sidecar as this task, and lets it ask for approvals; says what
 * cannot be kept.
 */
export async function variables(
  opened: unknown,
  { config }: DoorOptions,
  io: Io,
  relay?: Relay,
): Promise<Record<string, string>> {
  const known = await loadConfig(config, { generation: 1 }).catch(() => undefined);
  const { variables: all, notes } = await environmentOf(
    {
      proxy: textOf(opened, 'proxyUrl'),
      bare: relay?.url,
      trust: known?.sidecar.intercept?.trustFolder,
      hosts: known?.policy.destinations.flatMap(({ hosts }) => hosts),
    },
    io,
  );
  for (const note of notes) io.err(note);
  return {
    ...all,
    ...(relay === undefined ? {} : { CHAPERONE_RELAY: relay.url }),
    CHAPERONE_TASK: textOf(opened, 'id'),
    CHAPERONE_TASK_CREDENTIALS: textOf(opened, 'credentials'),
  };
}

/** What shells exit with, and say. */
const NOT_RUN: ReadonlyMap<unknown, readonly [number, string]> = new Map([
  ['ENOENT', [127, 'command not found; is it in PATH?']],
  ['EACCES', [126, 'it may not be run; look at its mode']],
]);

function run(child: ChildProcess, program: string, io: Io): Promise<number> {
  const pass = (signal: NodeJS.Signals): void => void child.kill(signal);
  for (const signal of SIGNALS) process.on(signal, pass);
  return new Promise<number>((resolve, reject) => {
    child.once('error', (cause) => {
      const status = NOT_RUN.get('code' in cause ? cause.code : undefined);
      if (status === undefined) {
        reject(new Fault('usage', `${program} cannot be run: ${cause.message}`, { cause }));
        return;
      }
      io.err(`chaperone: ${program}: ${status[1]}`);
      resolve(status[0]);
    });
    child.once('exit', (code, signal) =>
      resolve(code ?? 128 + (signal === null ? 0 : constants.signals[signal])),
    );
  }).finally(() => {
    for (const signal of SIGNALS) process.off(signal, pass);
  });
}

/** Says when the task ended before the program did. */
async function watch(events: AsyncIterator<unknown>, id: string, io: Io): Promise<void> {
  for (let next = await events.next(); next.done !== true; next = await events.next()) {
    const event = textOf(next.value, 'event');
    if (event === 'revoked' || event === 'expired') io.err(`task ${id}: ${event}`);
  }
}

/** The sidecar, or the task, may be gone already. */
function gone(): void {}
