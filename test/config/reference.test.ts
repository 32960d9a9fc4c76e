import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { referencePages } from '../../lib/config/reference/pages.ts';
import { recordOrder } from '../../lib/config/reference/record-order.ts';
import { destinationDocument, sidecarDocument } from '../../lib/config/documents/schema.ts';
import type { Shape } from '../../lib/schema/shape.ts';

const FOLDER = join(import.meta.dirname, '..', '..', 'docs', 'reference');
const ORDER = join(import.meta.dirname, '..', '..', 'lib', 'audit', 'gen', 'order.ts');

t.test(
  'the committed reference pages are what the schema says (make docs writes them)',
  async (t) => {
    const pages = referencePages();
    t.same(readdirSync(FOLDER).sort(), [...pages.keys()].sort());
    for (const [name, text] of pages) t.equal(readFileSync(join(FOLDER, name), 'utf8'), text, name);
    t.equal(readFileSync(ORDER, 'utf8'), recordOrder(), 'the order of the fields of records');
  },
);

function keysOf(shape: Shape, prefix: string): readonly string[] {
  if (shape.kind === 'list') return keysOf(shape.item, `${prefix}[]`);
  if (shape.kind !== 'record') return [];
  return Object.entries(shape.fields).flatMap(([name, field]) => {
    const key = prefix === '' ? name : `${prefix}.${name}`;
    return [key, ...keysOf(field.shape, key)];
  });
}

t.test('every key is on its page with a sentence of its own', async (t) => {
  for (const [page, { shape }] of [
    ['sidecar.md', sidecarDocument],
    ['destination.md', destinationDocument],
  ] as const) {
    const text = referencePages().get(page) ?? '';
    const keys = keysOf(shape, '');
    t.ok(keys.length > 20);
    for (const key of keys) {
      const row = text.split('\n').find((line) => line.startsWith(`| \`${key}\` |`)) ?? '';
      t.match(row, /\| [^|]{10,} \|$/, `${page} ${key}`);
    }
  }
});

t.test('tables are tables: every row has the cells of its head', async (t) => {
  for (const [name, text] of referencePages()) {
    let cells = 0;
    for (const line of text.split('\n')) {
      const count = line.startsWith('|') ? line.replaceAll('\\|', '').split('|').length : 0;
      if (count > 0 && cells > 0) t.equal(count, cells, `${name}: ${line}`);
      cells = count;
    }
  }
});
