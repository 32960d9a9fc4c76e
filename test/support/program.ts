/**
 * Programs as processes of their own: the command line, and Node where nothing of it is in reach.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import { join, resolve } from 'node:path';
import { until } from './until.ts';

const ROOT = resolve(import.meta.dirname, '../..');
export const CHAPERONE = join(ROOT, 'cmd/chaperone.ts');

export interface ProgramEnd {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

export interface TestProgram extends AsyncDisposable {
  readonly child: ChildProcess;
  /** Everything printed so far, both streams. */
  text(): string;
  readonly ended: Promise<ProgramEnd>;
}

export interface ProgramOptions {
  readonly cwd?: string;
  readonly env: Readonly<Record<string, string>>;
  /** Descriptors that it is started with, from 3 on. */
  readonly descriptors?: readonly number[];
}

/** Killed when it is disposed. */
export function startProgram(
  [command = process.execPath, ...args]: readonly string[],
  { descriptors = [], ...options }: ProgramOptions,
): TestProgram {
  const child = spawn(command, args, {
    ...options,
    stdio: ['ignore', 'pipe', 'pipe', ...descriptors],
  });
  let [out, err] = ['', ''];
  child.stdout?.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const ended = new Promise<ProgramEnd>((settle) =>
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

/** `under` is a command that runs another in its own place, such as prlimit. */
export function startChaperone(
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
  under: readonly string[] = [],
): TestProgram {
  const own = { PATH: process.env['PATH'] ?? '', HOME: process.env['HOME'] ?? '/' };
  return startProgram([...under, process.execPath, CHAPERONE, ...args], {
    env: { ...own, ...env },
  });
}

export const chaperone = (
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<ProgramEnd> => startChaperone(args, env).ended;

/** `until`, with the patience that processes of their own need. */
export const eventually = <T>(what: string, probe: () => T | Promise<T>): Promise<NonNullable<T>> =>
  until(what, probe, 120_000);

/** The ports that a sidecar says it listens on, by listener. */
export async function portsOf(program: TestProgram): Promise<Readonly<Record<string, number>>> {
  const line = await eventually('it listens', () => {
    if (program.child.exitCode !== null) throw new Error(`it ended: ${program.text()}`);
    return /listening: ([^"\n]*)/.exec(program.text())?.[1];
  });
  return Object.fromEntries(
    line.split(', ').map((part) => [part.split(' ')[0] ?? '', Number(part.split(':').at(-1))]),
  );
}
