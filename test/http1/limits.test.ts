import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';

import { HTTP_LIMITS, httpLimits } from '../../lib/http/limits.ts';

t.test(
  'every limit has a default, a unit and a sentence, and can be changed alone (R1-R3, H9)',
  async (t) => {
    const defaults = httpLimits();
    for (const [name, row] of Object.entries(HTTP_LIMITS)) {
      t.ok(row.default > 0, name);
      t.match(row.doc, /^[A-Z].*\.$/, name);
      t.strictSame(httpLimits({ [name]: 7 }), { ...defaults, [name]: 7 });
    }
    t.ok(Object.isFrozen(defaults));
  },
);

t.test('every limit is met by name in a test of what happens at it', async (t) => {
  const folders = [
    import.meta.dirname,
    ...['exchange', 'forward', 'listen', 'upstream'].map((name) =>
      join(import.meta.dirname, '..', name),
    ),
  ];
  const tests = folders.flatMap((folder) => readdirSync(folder).map((file) => join(folder, file)));
  const others = tests.filter((file) => file.endsWith('.test.ts') && file !== import.meta.filename);
  const text = others.map((file) => readFileSync(file, 'utf8')).join('\n');
  for (const name of Object.keys(HTTP_LIMITS)) t.match(text, new RegExp(`\\b${name}\\b`), name);
});
