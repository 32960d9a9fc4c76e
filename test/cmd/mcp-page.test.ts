/** docs/mcp.md: its commands say what the page says they do. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t from 'tap';
import { startChaperone } from '../support/program.ts';

const page = readFileSync(
  resolve(import.meta.dirname, '..', '..', 'docs', 'mcp.md'),
  'utf8',
).replaceAll(/ \\\n +/g, ' ');

t.test('every explain of the page says what the page says', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'chaperone-page-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'mcp.yaml');
  writeFileSync(file, /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '');
  const commands = [...page.matchAll(/^\$ chaperone (explain .*)\n(.*)$/gm)];
  t.ok(commands.length >= 6);
  for (const [, command = '', said = ''] of commands) {
    const words = [...command.matchAll(/'([^']*)'|(\S+)/g)].map(
      ([, quoted, plain]) => quoted ?? plain ?? '',
    );
    const { out, status } = await startChaperone(
      words.map((word) => (word === 'mcp.yaml' ? file : word)),
    ).ended;
    t.equal(out.split('\n')[0], said, command);
    t.equal(status, said.startsWith('allow') ? 0 : 77);
  }
});
