/** A text that changes when a file, or what is directly in a folder, does. */
import { readdir, realpath, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** For a file that is not there, or cannot be read, the reason. */
export async function fingerprintOf(path: string): Promise<string> {
  try {
    const { text, folder } = await ofOne(path);
    if (!folder) return text;
    // What begins with one dot is an editor's; `..data` and its kind are the links of a mounted
    // ConfigMap.
    const names = (await readdir(path))
      .filter((name) => /^(?:\.\.|[^.].*\.ya?ml$)/.test(name))
      .sort();
    const parts = await Promise.all(names.map((name) => fingerprintOfEntry(join(path, name))));
    return parts.join('\n');
  } catch (failure) {
    return reason(failure);
  }
}

async function fingerprintOfEntry(path: string): Promise<string> {
  try {
    return (await ofOne(path)).text;
  } catch (failure) {
    return `${path} ${reason(failure)}`;
  }
}

async function ofOne(path: string): Promise<{ readonly text: string; readonly folder: boolean }> {
  const real = await realpath(path);
  const found = await stat(real, { bigint: true });
  const folder = found.isDirectory();
  // A folder's own times change with files that do not concern us.
  const state = folder
    ? [found.dev, found.ino]
    : [found.dev, found.ino, found.size, found.mtimeNs, found.ctimeNs];
  return { text: [path, real, ...state].join(' '), folder };
}

function reason(failure: unknown): string {
  return failure instanceof Error && 'code' in failure ? String(failure.code) : String(failure);
}
