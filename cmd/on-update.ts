/**
 * Telling the reader of the mirrored files that they changed: a program that is run, without a
 * shell, or a signal to the process of a pid file. A program that is still running after its time
 * is killed; so is one that runs when we are to end.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants } from 'node:os';
import { systemClock } from '../lib/base/clock.ts';
import { Fault } from '../lib/base/fault.ts';
import { readBounded } from '../lib/base/read-file.ts';
import { link, onAbort } from '../lib/base/signal.ts';
import { parseDuration } from '../lib/config/documents/scalars.ts';

/** Bytes of a pid file. */
const MAX_PID = 1024;

export interface OnUpdateOptions {
  readonly onUpdateCommand?: string;
  /** Arguments of onUpdateCommand. */
  readonly args: readonly string[];
  readonly onUpdateTimeout: string;
  readonly onUpdateSignal?: string;
  readonly pidFile?: string;
}

/** Rejects with a Fault `on-update`. */
export type Tell = (signal: AbortSignal) => Promise<void>;

/** @throws Fault `usage` at once when the options do not go together */
export function onUpdate(options: OnUpdateOptions): Tell {
  const {
    onUpdateCommand: command,
    args,
    onUpdateSignal: name,
    pidFile,
    onUpdateTimeout,
  } = options;
  if (command === undefined && args.length > 0)
    throw new Fault('usage', 'arguments without --on-update-command', {
      hint: 'say the program there',
    });
  if ((name === undefined) !== (pidFile === undefined))
    throw new Fault('usage', '--on-update-signal and --pid-file go together', {
      hint: 'give both or none',
    });
  const number = signalNumber(name);
  const limit = parseDuration(onUpdateTimeout);
  return async (signal) => {
    try {
      if (command !== undefined) await run([command, ...args], limit, signal);
      if (number === undefined || pidFile === undefined) return;
      const bytes = await readBounded(pidFile, { most: MAX_PID });
      process.kill(pidOf(bytes.toString('utf8')), number);
    } catch (failure) {
      const { message } = Fault.from(failure, 'on-update');
      throw new Fault(
        'on-update',
        `the files are written, but their reader could not be told: ${message}`,
        {
          cause: failure,
        },
      );
    }
  };
}

async function run(
  [command = '', ...args]: readonly string[],
  limit: number,
  signal: AbortSignal,
): Promise<void> {
  using ending = link(signal);
  const cancel = systemClock.after(limit, () =>
    ending.abort(
      new Fault('on-update', `${command} was still running after ${limit / 1000} s and was killed`),
    ),
  );
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'inherit'], shell: false });
  const off = onAbort(ending.signal, () => child.kill('SIGKILL'));
  try {
    const [status, killed] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
    ending.signal.throwIfAborted();
    if (status !== 0)
      throw new Fault('on-update', `${command} ended with ${killed ?? `status ${status}`}`);
  } finally {
    off();
    cancel();
  }
}

function signalNumber(name: string | undefined): number | undefined {
  if (name === undefined) return undefined;
  const found = Object.entries(constants.signals).find(
    ([known]) => known === name || known === `SIG${name}`,
  );
  if (found !== undefined) return found[1];
  throw new Fault('usage', `there is no signal ${JSON.stringify(name)}`, {
    hint: 'such as HUP or USR1',
  });
}

/** Only one process: 0 and negative numbers would be groups of them, and 1 is not a reader. */
function pidOf(text: string): number {
  const pid = /^[1-9][0-9]{0,9}$/.test(text.trim()) ? Number(text.trim()) : 0;
  if (pid > 1) return pid;
  throw new Fault('on-update', 'the pid file does not hold one process id');
}
