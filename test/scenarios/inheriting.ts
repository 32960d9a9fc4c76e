/** Sidecars as processes that are started with listening sockets, as a supervisor starts them. */
import { spawn, type ChildProcess } from 'node:child_process';
import { resolve } from 'node:path';
import type { Test } from 'tap';
import type { HeldSocket } from '../support/held-sockets.ts';

export interface Started {
  readonly child: ChildProcess;
  /** What it has written. */
  text(): string;
}

const CLI = resolve('cmd/chaperone.ts');

export function inheriting(
  t: Test,
  folder: string,
  sockets: readonly HeldSocket[],
  env: Readonly<Record<string, string>> = {},
): Started {
  // LISTEN_PID is known to the process alone, so a shell says it and becomes it.
  const command = `LISTEN_PID=$$ exec "${process.execPath}" "${CLI}" run -c "${folder}"`;
  const child = spawn('sh', ['-c', command], {
    env: { PATH: process.env['PATH'] ?? '', LISTEN_FDS: String(sockets.length), ...env },
    stdio: ['ignore', 'pipe', 'pipe', ...sockets.map(({ fd }) => fd)],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  child.stderr?.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return { child, text: () => text };
}
