/**
 * The files of a sidecar and what an environment names already, in a folder of the user's where the
 * sidecar's files lack some of it: the sidecar writes its own folder without knowing what programs
 * trusted before.
 */
import { createHash, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { certificatesIn, namedRoots } from './named-roots.ts';
import { BUNDLE_FILE, CA_FILE, writeTrust } from './trust.ts';

export interface JoinedTrust {
  readonly folder: string;
  /** What could not be joined, a sentence each. */
  readonly problems: readonly string[];
}

/**
 * Throws a Fault `trust-files`. The folder's name depends on what is joined alone, so that a
 * renewed CA replaces it.
 */
export async function joinTrust(
  folder: string,
  env: Readonly<Record<string, string | undefined>>,
): Promise<JoinedTrust> {
  const named = namedRoots(env);
  const { problems } = named;
  if (named.all.length === 0) return { folder, problems };
  let files: { readonly own: string; readonly bundle: string };
  try {
    const text = (name: string): string => readFileSync(join(folder, name), 'latin1');
    files = { own: text(CA_FILE), bundle: text(BUNDLE_FILE) };
  } catch {
    const problem =
      `${folder} cannot be read yet: certificates that were named before are not joined; ` +
      'start the sidecar, then say this again';
    return { folder, problems: [...problems, problem] };
  }
  const [before, roots] = [new Set(certificatesIn(files.own)), certificatesIn(files.bundle)];
  const [added, more] = [named.adding.filter((pem) => !before.has(pem)), without(named.all, roots)];
  if (added.length === 0 && more.length === 0) return { folder, problems };
  const key = createHash('sha256').update([resolve(folder), ...added, '', ...more].join('\n'));
  const joined = join(cacheOf(env), 'chaperone', 'trust', key.digest('hex').slice(0, 16));
  await writeTrust(joined, new X509Certificate(files.own), { roots, named, apt: folder });
  return { folder: joined, problems };
}

function without(all: readonly string[], known: readonly string[]): readonly string[] {
  const set = new Set(known);
  return all.filter((pem) => !set.has(pem));
}

/** The XDG Base Directory Specification's folder for what can be made again. */
function cacheOf(env: Readonly<Record<string, string | undefined>>): string {
  const named = env['XDG_CACHE_HOME'] ?? '';
  return isAbsolute(named) ? named : join(env['HOME'] || homedir(), '.cache');
}
