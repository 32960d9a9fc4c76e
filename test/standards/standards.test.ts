/** docs/standards.md is held to the rows and to the titles of tests. */
import { readFileSync } from 'node:fs';
import t from 'tap';
import { ROWS } from '../attacks/rows.ts';
import { PAGE, provenBy, standardsPage } from './page.ts';
import { GROUPS } from './rows.ts';

const IDS = GROUPS.flatMap(({ rows }) => rows.map(({ id }) => id));

t.test('each row of the standards is there once and has a test', async (t) => {
  const proven = provenBy();
  t.ok(IDS.length > 80, `${IDS.length} rows`);
  t.equal(new Set(IDS).size, IDS.length, 'no id is there twice');
  for (const id of IDS) t.ok(proven.has(id), `${id} is in the title of a test`);
});

t.test('each id in the title of a test is a row here, or an attack of assurance.md', async (t) => {
  const known = new Set([...IDS, ...ROWS.map(({ id }) => id)]);
  for (const [id, files] of provenBy()) t.ok(known.has(id), `${id}: ${[...files].join(', ')}`);
});

t.test('the page is what the rows and the titles say', async (t) => {
  t.equal(readFileSync(PAGE, 'utf8'), standardsPage(), 'make docs');
});
