import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { chaperone } from '../support/program.ts';

const POLICIES = resolve(import.meta.dirname, '../../deploy/policies');

for (const name of readdirSync(POLICIES)) {
  t.test(
    `the example policy ${name} decides every one of its cases as they say, and every rule of it decides one`,
    async (t) => {
      const folder = join(POLICIES, name);
      t.match(
        readFileSync(join(folder, 'policy.yaml'), 'utf8'),
        /^# [A-Z](?:.*\n# )*.*\.\n/,
        'it says what it is for',
      );
      t.ok(existsSync(join(folder, 'policy.test.yaml')));
      const { status, out, err } = await chaperone([
        'test',
        '-c',
        folder,
        '--coverage',
        '100',
        '--json',
      ]);
      const { cases, failed, coverage } = JSON.parse(out || '{}');
      t.equal(status, 0, out + err);
      t.same([failed, coverage.missing], [0, []]);
      t.ok(cases.length >= coverage.rules, `${cases.length} cases`);
    },
  );
}

t.test('there are several', async (t) => {
  t.ok(readdirSync(POLICIES).length >= 5);
});
