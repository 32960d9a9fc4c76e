/** A supervisor that waits for READY=1 is told when there is something to wait no longer for. */
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { until } from '../support/until.ts';
import { startInheriting } from '../support/sidecar-process.ts';
import { sidecarSetup } from '../support/sidecar.ts';

t.setTimeout(240_000);

const has = (program: string): boolean => spawnSync(program, ['--version']).status === 0;
const REAL = has('systemd-notify') && has('python3') ? false : 'systemd-notify and python3';

/** A datagram socket, and what came by it. */
function listening(t: Test, path: string): () => string {
  const script = `import socket,sys
s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM);s.bind(sys.argv[1])
while True: print(s.recv(4096).decode(),flush=True)`;
  const child = spawn('python3', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout.on('data', (chunk: Buffer) => (text += chunk.toString()));
  return () => text;
}

t.test('it is told when the sidecar is ready and when it stops', { skip: REAL }, async (t) => {
  await using w = await sidecarSetup();
  const path = join(w.folder, 'notify');
  const told = listening(t, path);
  await until('somebody listens', () => existsSync(path), 30_000);
  const { child } = startInheriting(t, w.folder, [], { NOTIFY_SOCKET: path });
  await until('it is told', () => told().includes('READY=1'), 60_000);
  t.notMatch(told(), /STOPPING/);
  child.kill('SIGTERM');
  await until('it is told', () => told().includes('STOPPING=1'), 60_000);
  await until('it ends', () => child.exitCode !== null, 60_000);
});

t.test(
  'not before the sidecar is ready, and a program that fails is told in the log alone',
  async (t) => {
    await using w = await sidecarSetup();
    const [bin, said] = [join(w.folder, 'bin'), join(w.folder, 'said')];
    mkdirSync(bin);
    const program = `#!/bin/sh\necho "$@" >> ${said}\nexit 3\n`;
    writeFileSync(join(bin, 'systemd-notify'), program);
    chmodSync(join(bin, 'systemd-notify'), 0o755);
    const file = join(w.folder, 'sidecar.yaml');
    const text = readFileSync(file, 'utf8');
    writeFileSync(
      file,
      text.replace(/workloadApi: '[^']*'/, `workloadApi: 'unix://${w.folder}/later.sock'`),
    );
    const env = {
      NOTIFY_SOCKET: join(w.folder, 'notify'),
      PATH: `${bin}:${process.env['PATH'] ?? ''}`,
    };
    const early = startInheriting(t, w.folder, [], env);
    await until('it waits for its identity', () => early.text().includes('listening:'), 60_000);
    early.child.kill('SIGTERM');
    await until('it ends', () => early.child.exitCode !== null, 60_000);
    t.equal(readFileSync(said, 'utf8'), 'STOPPING=1 STATUS=draining\n');
    writeFileSync(file, text);
    const one = startInheriting(t, w.folder, [], env);
    await until(
      'it is ready',
      () => readFileSync(said, 'utf8').includes('READY=1 STATUS=ready'),
      60_000,
    );
    await until(
      'the failure is logged',
      () => /READY=1 .* could not be told/.test(one.text()),
      60_000,
    );
    t.equal(one.child.exitCode, null);
  },
);
