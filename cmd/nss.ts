/**
 * The trust database of NSS (sql: cert9.db), which Chromium and Firefox on Linux read in place of
 * variables and PEM files. It is written by certutil of the NSS tools: the format is theirs alone.
 */
import { spawnSync } from 'node:child_process';
import type { X509Certificate } from 'node:crypto';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '../lib/base/fault.ts';

const NAME = 'chaperone interception';
/** Trusted to issue certificates of servers, and for nothing else. */
const TRUSTED = 'C,,';
const PATIENCE = 30_000;

/** Makes the database where there is none, and takes the place of a CA that was added before. */
export function writeNss(folder: string, ca: X509Certificate): void {
  certutil(['--version'], folder);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const database = `sql:${folder}`;
  if (!existsSync(join(folder, 'cert9.db')))
    succeed(['-N', '-d', database, '--empty-password'], folder);
  // Until none is left: several may have the name.
  for (
    let tries = 0;
    tries < 100 && certutil(['-D', '-d', database, '-n', NAME], folder).status === 0;
    tries++
  );
  succeed(['-A', '-a', '-d', database, '-n', NAME, '-t', TRUSTED], folder, ca.toString());
}

function succeed(args: readonly string[], folder: string, input = ''): void {
  const { status, stderr } = certutil(args, folder, input);
  if (status === 0) return;
  const hint =
    'a database with a password has to be written by hand: certutil -A -t C,, -a -i ca.pem';
  throw new Fault('trust-files', `certutil cannot write ${folder}: ${stderr.trim()}`, { hint });
}

function certutil(
  args: readonly string[],
  folder: string,
  input = '',
): { status: number | null; stderr: string } {
  const { error, status, stderr } = spawnSync('certutil', args, {
    input,
    encoding: 'utf8',
    timeout: PATIENCE,
  });
  if (error === undefined) return { status, stderr };
  const missing = 'code' in error && error.code === 'ENOENT';
  throw new Fault(
    'trust-files',
    `${folder} cannot be written: ${missing ? 'there is no certutil' : error.message}`,
    {
      hint:
        'install libnss3-tools (Debian, Ubuntu), nss-tools (Fedora, RHEL, Alpine), ' +
        'mozilla-nss-tools (SUSE) or nss (Arch)',
    },
  );
}
