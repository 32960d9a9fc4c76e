import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { YAML_LIMITS } from '../../lib/schema/yaml.ts';
import { folder, problemsIn, SIDECAR } from './documents.ts';

t.test('a file that is too large is a problem, to the byte', async (t) => {
  const path = folder(t);
  const file = join(path, 'c.yaml');
  const padded = (bytes: number): void => {
    writeFileSync(file, SIDECAR);
    writeFileSync(file, `${SIDECAR}#${' '.repeat(bytes - SIDECAR.length - 1)}`);
  };
  padded(YAML_LIMITS.bytes);
  t.same(await problemsIn(path, [file]), []);
  truncateSync(file, YAML_LIMITS.bytes + 1);
  t.match(await problemsIn(path, [file]), [/c\.yaml: .*larger than 16777216 bytes/]);
});
