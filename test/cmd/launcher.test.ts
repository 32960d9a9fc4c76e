/**
 * The command that npm installs: it finds the Node to run on, whatever Node it was started by, or
 * says what is missing.
 */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';

import t from 'tap';

const ROOT = resolve(import.meta.dirname, '../..');
const LAUNCHER = join(ROOT, 'bin/chaperone');

interface Ended {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

function run(node: string, args: readonly string[]): Promise<Ended> {
  return new Promise((settle) =>
    execFile(node, args, (error, out, err) => {
      settle({
        status: typeof error?.code === 'number' ? error.code : error === null ? 0 : -1,
        out,
        err,
      });
    }),
  );
}

/** Other Nodes on the path: the host's own, mostly. */
const OTHERS = (process.env['PATH'] ?? '')
  .split(delimiter)
  .map((folder) => join(folder, 'node'))
  .filter((file) => !file.startsWith(ROOT) && existsSync(file));

t.test('it runs the program and hands on its words and its exit status', async (t) => {
  for (const node of [process.execPath, ...OTHERS]) {
    const version = execFileSync(node, ['--version']).toString().trim();
    if (Number(/\d+/.exec(version)?.[0]) < 18) continue;
    t.match(
      await run(node, [LAUNCHER, '--version']),
      { status: 0, out: /^\d+\.\d+\.\d+\n/, err: '' },
      version,
    );
    const failed = await run(node, [LAUNCHER, 'check', '-c', join(t.testdir(), 'none.yaml')]);
    t.match(failed, { status: 66, err: /cannot be read/ }, version);
  }
});

t.test('where the Node that it needs is missing it says so in one sentence', async (t) => {
  // Above it there is no node_modules.
  const folder = mkdtempSync(join(tmpdir(), 'chaperone-launcher-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  writeFileSync(
    join(folder, 'old.cjs'),
    `Object.defineProperty(process, 'versions', { value: { node: '20.1.0' } });`,
  );
  const app = join(folder, 'app');
  mkdirSync(app);
  cpSync(join(ROOT, 'bin'), join(app, 'bin'), { recursive: true });
  const launcher = join(app, 'bin/chaperone');
  t.match(await run(process.execPath, [launcher]), {
    status: 69,
    err: /^chaperone: there is no program beside [^\n]*: install the package again\n$/,
  });
  writeFileSync(join(app, 'chaperone.mjs'), 'process.exitCode = 7;');
  t.match(
    await run(process.execPath, [launcher]),
    { status: 7, err: '' },
    'the wanted Node itself will do',
  );
  writeFileSync(
    join(app, 'chaperone.mjs'),
    'process.exitCode = process.pid === Number(process.env.LISTEN_PID) ? 7 : 8;',
  );
  writeFileSync(join(folder, 'handed.cjs'), 'process.env.LISTEN_PID = String(process.pid);');
  const handed = await run(process.execPath, ['-r', join(folder, 'handed.cjs'), launcher]);
  t.match(handed, { status: 7 }, 'it becomes the program: what was handed over stays');
  writeFileSync(join(app, 'chaperone.mjs'), 'process.exitCode = 7;');
  t.match(await run(process.execPath, ['-r', join(folder, 'old.cjs'), launcher]), {
    status: 69,
    err: /^chaperone: Node 26 is needed, and this is 20\.1\.0 on [^\n]*: install Node 26, or the package [^\n]*\n$/,
  });
});

t.test('a checkout whose packages are not installed says what to run first', async (t) => {
  const folder = t.testdir({ cmd: { 'chaperone.ts': '' } });
  cpSync(join(ROOT, 'bin'), join(folder, 'bin'), { recursive: true });
  t.match(await run(process.execPath, [join(folder, 'bin/chaperone')]), {
    status: 69,
    err: /run `make demo`, or `npm ci`, first/,
  });
});
