/**
 * docs/clients.md: its program in TypeScript compiles and does what the page says. That in Python
 * is run by test/interop.
 */
import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { clientFixture } from './fixture.ts';

t.setTimeout(600_000);

const ROOT = resolve(import.meta.dirname, '../..');
const [, program = ''] =
  /```ts\n([\s\S]*?)```/.exec(readFileSync(join(ROOT, 'docs/clients.md'), 'utf8')) ?? [];
const NOTE = `const note = JSON.stringify({ customer: '1001', text: 'called' });\n`;

t.test('the program of the page reads, is refused, and is approved', async (t) => {
  const file = join(t.testdir(), 'page.mts');
  writeFileSync(
    file,
    program.replace(/^(import .*\n)/, `$1${NOTE}`).replace(/\}\n$/, '  console.log(state);\n}\n'),
  );
  const compile = [
    join(ROOT, 'node_modules/typescript/lib/tsc.js'),
    '--ignoreConfig',
    '--noEmit',
    '--strict',
  ];
  const options =
    '--module nodenext --target esnext --lib esnext --allowImportingTsExtensions --skipLibCheck --types node'.split(
      ' ',
    );
  await t.resolves(
    promisify(execFile)(process.execPath, [...compile, ...options, file], { cwd: ROOT }),
    'it compiles',
  );
  await using p = await clientFixture();
  const env = { ...process.env, CHAPERONE_AGENT_API: p.agentSocket };
  const running = promisify(execFile)(process.execPath, [file], { env });
  await p.answer('approve');
  t.equal((await running).stdout, 'approved\n');
  t.same(await p.eventsUntil('completed'), [
    'opened',
    'step-up-asked',
    'step-up-approved',
    'completed',
  ]);
});
