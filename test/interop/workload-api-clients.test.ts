/**
 * Workload API clients of other languages against the dev server: each prints what it read.
 * go-spiffe has a file of its own.
 */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { type DevWorkloadApi, startDevWorkloadApi } from '../../lib/dev/workload-api.ts';

const run = promisify(execFile);
const RUST = join(import.meta.dirname, 'rustspiffe');
const TARGET = resolve(import.meta.dirname, '../../.cache/rust');

/** The reason to skip, unless the command succeeds. */
function unless(program: string, ...args: readonly string[]): string | false {
  try {
    execFileSync(program, args, { stdio: 'ignore' });
    return false;
  } catch {
    return `not on this machine: ${[program, ...args].join(' ')}`;
  }
}

async function devServer(folder: string): Promise<DevWorkloadApi> {
  const partner = await createDevTrustDomain({ name: 'partner.test', clock: systemClock });
  return startDevWorkloadApi({
    socket: join(folder, 'w', 's.sock'),
    domain: await createDevTrustDomain({ name: 'dev.local', clock: systemClock }),
    identities: [{ id: '/agent' }, { id: '/crm', hint: 'crm' }],
    federated: [partner],
  });
}

async function readsAll(t: Test, program: string, args: readonly string[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'clients-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  await using workload = await devServer(folder);
  const env = { ...process.env, SPIFFE_ENDPOINT_SOCKET: workload.endpoint };
  const { stdout } = await run(program, args, { env, timeout: 30_000 });
  t.match(stdout, /^svid spiffe:\/\/dev\.local\/agent\nsvid spiffe:\/\/dev\.local\/crm$/m);
  t.match(stdout, /^bundle dev\.local 1$/m);
  t.match(stdout, /^bundle partner\.test 1$/m);
  t.match(stdout, /^jwt spiffe:\/\/dev\.local\/agent spiffe:\/\/dev\.local\/agent$/m);
  t.match(stdout, /^other audience refused/m);
  t.notMatch(stdout, /refused false/);
}

t.test(
  'the spiffe package of Python reads SVIDs, bundles and JWT-SVIDs (S-20)',
  { skip: unless('python3', '-c', 'import spiffe') },
  (t) => readsAll(t, 'python3', [join(import.meta.dirname, 'fetch_spiffe.py')]),
);

t.test(
  'the spiffe crate of Rust reads SVIDs, bundles and JWT-SVIDs (S-19, S-20)',
  { skip: unless('cargo', '--version'), timeout: 900_000 },
  async (t) => {
    await run('cargo', ['build', '--quiet', '--release', '--locked', '--target-dir', TARGET], {
      cwd: RUST,
    });
    await readsAll(t, join(TARGET, 'release', 'rustspiffe'), []);
  },
);
