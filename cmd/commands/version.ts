/** `chaperone version`: which program this is, for reports of bugs. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Io } from '../io.ts';
import { COMMIT, VERSION } from '../version.ts';

export async function version({ json }: { readonly json?: boolean }, io: Io): Promise<void> {
  const commit = COMMIT ?? (await commitOfSources());
  const { version: node, platform, arch } = process;
  if (json === true) {
    io.out(JSON.stringify({ version: VERSION, commit, node, platform, arch }));
    return;
  }
  io.out(`chaperone ${VERSION}`);
  io.out(`commit    ${commit ?? 'unknown'}`);
  io.out(`node      ${node} ${platform} ${arch}`);
}

/** Where the sources run, out of their repository. */
async function commitOfSources(): Promise<string | undefined> {
  const asked = promisify(execFile)('git', [
    '-C',
    import.meta.dirname,
    'describe',
    '--always',
    '--dirty',
    '--abbrev=12',
  ]);
  return asked.then(
    ({ stdout }) => stdout.trim(),
    () => undefined,
  );
}
