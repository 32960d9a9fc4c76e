/**
 * A folder that mirrors an identity, for programs that read PEM files. Rules:
 * - a set is never seen mixed: each is written whole into a folder of its own, and one rename of
 *   the link `..data` puts it in force, as Kubernetes does for volumes. `svid.pem`, `key.pem` and
 *   `bundle.<trust domain>.pem` are links through `..data`; who must have certificate and key of
 *   one set resolves `..data` once;
 * - a set that is out of force is removed at once, so that no key outlives its use; modes are set
 *   on every write, whatever the umask;
 * - what is not ours in the folder is left alone, unless it bears the name of a file of the set.
 */
import {
  chmod,
  lstat,
  mkdir,
  mkdtemp,
  readdir,
  readlink,
  rename,
  rm,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Fault } from '../base/fault.ts';
import type { Identity } from '../spiffe/identity.ts';

const DATA = '..data';
const SET = '..set-';
const OURS = /^(svid|key|bundle\.[a-z0-9._-]+)\.pem$/;
const KEY_MODE = 0o600;
const OPEN_MODE = 0o644;

/**
 * File name to PEM: leaf and intermediates, the PKCS#8 key, one bundle per trust domain. The value
 * of `key.pem` is a secret.
 */
function filesOf({ svid, bundles }: Identity): ReadonlyMap<string, string> {
  const files = new Map([
    ['svid.pem', svid.chain.map(String).join('')],
    ['key.pem', String(svid.privateKey.export({ type: 'pkcs8', format: 'pem' }))],
  ]);
  for (const { trustDomain, anchors } of bundles.values()) {
    files.set(`bundle.${trustDomain}.pem`, anchors.map(String).join(''));
  }
  return files;
}

/**
 * Puts the files of an identity in force in the folder, which is made (0700) when it is not there,
 * and takes away what the identity no longer has. Links come before what they lead to, so that
 * nothing is in force until all is.
 * @throws Fault `mirror`; the set before stays in force then
 */
export async function writeSvidFiles(folder: string, identity: Identity): Promise<void> {
  await guarded(folder, async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const files = filesOf(identity);
    const set = await mkdtemp(join(folder, SET));
    try {
      await chmod(set, 0o755);
      for (const [name, text] of files)
        await writeNew(join(set, name), text, name === 'key.pem' ? KEY_MODE : OPEN_MODE);
      for (const name of files.keys()) await replaceLink(set, name, join(DATA, name));
      await replaceLink(set, DATA, basename(set));
    } catch (failure) {
      await rm(set, { recursive: true, force: true });
      throw failure;
    }
    await sweep(folder, [...files.keys()], basename(set));
  });
}

/**
 * Takes the files away, `..data` first, so that all of them are gone at once. A folder that is not
 * there is fine.
 * @throws Fault `mirror`
 */
export async function removeSvidFiles(folder: string): Promise<void> {
  await guarded(folder, async () => {
    await rm(join(folder, DATA), { force: true });
    await sweep(folder, [], undefined);
  });
}

async function guarded(folder: string, act: () => Promise<void>): Promise<void> {
  try {
    await act();
  } catch (failure) {
    throw new Fault(
      'mirror',
      `${folder} cannot be brought up to date: ${Fault.from(failure, 'mirror').message}`,
      {
        hint: 'the folder must be on a file system with links and writable to whoever runs this',
        cause: failure,
      },
    );
  }
}

async function writeNew(path: string, text: string, mode: number): Promise<void> {
  await writeFile(path, text, { mode, flag: 'wx', flush: true });
  await chmod(path, mode);
}

/** The new link is made inside the set, so that what a crash leaves of it goes with the set. */
async function replaceLink(set: string, name: string, target: string): Promise<void> {
  const next = join(set, '.link');
  await symlink(target, next);
  await rename(next, join(dirname(set), name));
}

/** Removes links of ours that are not in `names`, and every set but the one in force. */
async function sweep(
  folder: string,
  names: readonly string[],
  inForce: string | undefined,
): Promise<void> {
  for (const name of await readdir(folder).catch(absent)) {
    const path = join(folder, name);
    if (name.startsWith(SET) && name !== inForce) await rm(path, { recursive: true, force: true });
    if (OURS.test(name) && !names.includes(name) && (await lstat(path)).isSymbolicLink()) {
      if ((await readlink(path)) === join(DATA, name)) await rm(path, { force: true });
    }
  }
}

function absent(failure: unknown): readonly string[] {
  if (failure instanceof Error && 'code' in failure && failure.code === 'ENOENT') return [];
  throw failure;
}
