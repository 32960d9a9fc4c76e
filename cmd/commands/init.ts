/**
 * `chaperone init`: a starter configuration, and the schema that editors hold it against; never
 * over an existing file.
 */
import { writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Fault } from '../../lib/base/fault.ts';
import { whyUnread } from '../../lib/base/read-file.ts';
import { jsonSchema } from '../../lib/config/reference/json-schema.ts';
import { SCHEMA_FILE, STARTER } from '../../lib/config/reference/starter.ts';
import { done, type Io } from '../io.ts';

export async function init(file: string, io: Io): Promise<void> {
  try {
    await writeFile(file, STARTER, { flag: 'wx', mode: 0o644 });
  } catch (failure) {
    if ((failure as NodeJS.ErrnoException).code === 'EEXIST') {
      throw new Fault('usage', `cannot write ${file}: it exists already`, {
        hint: 'name another file, or remove it first',
      });
    }
    throw new Fault('config-unreadable', `cannot write ${file} (${whyUnread(failure)})`, {
      hint: 'its folder must be there, and be yours to write',
      cause: failure,
    });
  }
  const schema = join(dirname(file), SCHEMA_FILE);
  await writeFile(schema, `${JSON.stringify(jsonSchema(), null, 2)}\n`, { flag: 'wx' }).catch(
    (cause: unknown) =>
      io.err(`${schema}: not written, so editors go by what is there (${whyUnread(cause)})`),
  );
  done(io, `wrote ${file}, and ${SCHEMA_FILE} for editors; next: chaperone check -c ${file}`);
}
