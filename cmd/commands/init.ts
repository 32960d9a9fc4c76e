/** `chaperone init`: a starter configuration; never over an existing file. */
import { writeFile } from 'node:fs/promises';
import { Fault } from '../../lib/base/fault.ts';
import { whyUnread } from '../../lib/base/read-file.ts';
import { STARTER } from '../../lib/config/starter.ts';
import type { Io } from '../io.ts';

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
  io.out(`wrote ${file}; next: chaperone check -c ${file}`);
}
