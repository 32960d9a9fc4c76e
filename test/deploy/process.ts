/**
 * Node in a folder of its own with the environment of an image: nothing of this checkout is in
 * reach.
 */
import { type ChildProcess, spawn } from 'node:child_process';

export interface Ended {
  readonly status: number | null;
  readonly out: string;
  readonly err: string;
}

export interface Started extends AsyncDisposable {
  readonly child: ChildProcess;
  /** Everything printed so far, both streams. */
  text(): string;
  readonly ended: Promise<Ended>;
}

export function startIn(cwd: string, args: readonly string[]): Started {
  const child = spawn(process.execPath, args, {
    cwd,
    env: { NODE_ENV: 'production' },
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
