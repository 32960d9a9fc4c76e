/**
 * What is measured of a process, from /proc, and how one is started on a core of its own. Linux
 * only.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { request } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';

/**
 * The program under test has this core to itself; what loads it and what it calls share the other
 * one.
 */
export const TESTED_CORE = 0;
export const OTHER_CORE = 1;

/**
 * USER_HZ, the unit of utime and stime: 100 on every Linux that Node runs on (proc_pid_stat(5)).
 */
const TICK_SECONDS = 1 / 100;
const READY_WITHIN_MS = 20_000;
const END_WITHIN_MS = 2000;

export interface Running extends AsyncDisposable {
  readonly pid: number;
  /** What it printed, for the message when it failed. */
  output(): string;
}

/** Starts a program on one core; it is ended when disposed of. */
export function start(
  core: number,
  command: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Running {
  const child = spawn('taskset', ['-c', String(core), ...command], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  const keep = (chunk: Buffer): void => void (output = (output + chunk.toString()).slice(-4000));
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  const ended = new Promise<void>((resolve) => {
    child.on('error', (error) => ((output += error.message), resolve()));
    child.on('exit', () => resolve());
  });
  return {
    pid: child.pid ?? 0,
    output: () => output,
    async [Symbol.asyncDispose]() {
      stop(child);
      await ended;
    },
  };
}

/** Asks first: a master process that is killed leaves its workers behind. */
function stop(child: ChildProcess): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGTERM');
  setTimeout(() => child.kill('SIGKILL'), END_WITHIN_MS).unref();
}

/** Runs a program to its end and gives what it printed; throws when it fails. */
export async function run(core: number, command: readonly string[]): Promise<string> {
  const child = spawn('taskset', ['-c', String(core), ...command], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const status = await new Promise((resolve, reject) =>
    child.on('error', reject).on('close', resolve),
  );
  if (status !== 0) throw new Error(`${command.join(' ')} ended with ${String(status)}: ${output}`);
  return output;
}

/** Seconds of CPU that all threads of a process used, in user and in kernel. */
export async function cpuSeconds(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name in brackets may hold anything; after it come fields 3 and on.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_SECONDS;
}

/** Resident memory, MB of 10^6 bytes. */
export async function residentMegabytes(pid: number): Promise<number> {
  const [, kilobytes] =
    /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return (Number(kilobytes) * 1024) / 1e6;
}

/** A loopback port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/**
 * Milliseconds until a GET is answered with 200; throws with what the program printed when it is
 * not in time.
 */
export async function untilOk(url: string, program: Running, asked?: string): Promise<number> {
  const began = performance.now();
  while ((await status(url, asked)) !== 200) {
    if (performance.now() - began > READY_WITHIN_MS)
      throw new Error(`${url} did not answer 200: ${program.output()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  return performance.now() - began;
}

function status(url: string, path: string | undefined): Promise<number | undefined> {
  return new Promise((resolve) => {
    const asked = request(
      url,
      { agent: false, ...(path !== undefined && { path, headers: hostOf(path) }) },
      (answer) => {
        answer.resume();
        resolve(answer.statusCode);
      },
    );
    asked.on('error', () => resolve(undefined));
    asked.end();
  });
}

function hostOf(path: string): { host: string } | undefined {
  return path.startsWith('http://') ? { host: new URL(path).host } : undefined;
}
