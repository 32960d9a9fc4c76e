/**
 * The end of the process, whatever hangs. The engine ends by itself when nothing is left to do, and
 * `exit` waits for its threads: one that is held (a look-up of the system, a file that does not
 * answer) would hold the process as well. So what is left after everything was closed is not waited
 * for, and where a thread is held, the last resort is the signal that cannot be refused.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { systemClock } from '../lib/base/clock.ts';

/** For what everything that was closed may still have to say. */
const GRACE_MS = 200;

/** Ends the process with the status it has by then, shortly, unless it ends before. */
export function endSoon(): void {
  systemClock.after(GRACE_MS, () => endNow(Number(process.exitCode ?? 0)));
}

/** Ends the process after `ms`, unless it has ended before. */
export function endAfter(ms: number, status: number): void {
  systemClock.after(ms, () => endNow(status));
}

function endNow(status: number): never {
  if (isThreadHeld()) process.kill(process.pid, 'SIGKILL');
  process.exit(status);
}

/** What a thread of the engine's waits in while it has nothing to do (futex), by architecture. */
const IDLE: Readonly<Record<string, string>> = { x64: '202', arm64: '98' };
const TASKS = '/proc/self/task';

/** Whether a thread that does work for the engine is inside a call of the system. */
function isThreadHeld(): boolean {
  const read = (task: string, name: string): string =>
    readFileSync(`${TASKS}/${task}/${name}`, 'utf8').trim();
  try {
    return readdirSync(TASKS)
      .filter((task) => read(task, 'comm').startsWith('libuv-worker'))
      .map((task) => read(task, 'syscall').split(' ')[0])
      .some((call) => call !== IDLE[process.arch] && call !== 'running');
  } catch {
    // Not told here: `exit` it is.
    return false;
  }
}
