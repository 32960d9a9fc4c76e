/** Runs the command line as a process of its own. */
import { spawn, type ChildProcess } from 'node:child_process';
import { join, resolve } from 'node:path';
import { until } from '../support/until.ts';

const ROOT = resolve(import.meta.dirname, '../..');

export interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Running extends AsyncDisposable {
  readonly child: ChildProcess;
  /** Everything printed so far, both streams. */
  text(): string;
  readonly ended: Promise<Ended>;
}

/** `under` is a command that runs another in its own place, such as prlimit. */
export function start(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  under: readonly string[] = [],
): Running {
  const [command = process.execPath, ...rest] = [
    ...under,
    process.execPath,
    join(ROOT, 'cmd/chaperone.ts'),
    ...args,
  ];
  const child = spawn(command, rest, {
    env: { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const ended = new Promise<Ended>((settle) =>
    child.on('close', (status) => settle({ status, out, err })),
  );
  return {
    child,
    text: () => out + err,
    ended,
    async [Symbol.asyncDispose]() {
      if (child.exitCode === null) child.kill('SIGKILL');
      await ended;
    },
  };
}

export const cli = (
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Ended> => start(args, env).ended;

/** `until`, with the patience that processes of their own need. */
export const eventually = <T>(what: string, probe: () => T | Promise<T>): Promise<NonNullable<T>> =>
  until(what, probe, 120_000);
