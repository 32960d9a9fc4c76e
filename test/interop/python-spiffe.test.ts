/** The `spiffe` package of Python as Workload API client of the dev server. */
import { execFile, execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';

const run = promisify(execFile);

function installed(): boolean {
  try {
    execFileSync('python3', ['-c', 'import spiffe'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

t.test(
  'Python spiffe reads SVIDs, bundles and JWT-SVIDs (S-20)',
  { skip: !installed() && 'python3 has no package spiffe' },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'py-spiffe-'));
    t.teardown(() => rmSync(folder, { recursive: true, force: true }));
    const federated = [await createDevTrustDomain({ name: 'partner.test', clock: systemClock })];
    const domain = await createDevTrustDomain({ name: 'dev.local', clock: systemClock });
    const identities = [{ id: '/agent' }, { id: '/crm', hint: 'crm' }];
    await using workload = await startDevWorkloadApi({
      socket: join(folder, 'w', 's.sock'),
      domain,
      identities,
      federated,
    });
    const env = { ...process.env, SPIFFE_ENDPOINT_SOCKET: workload.endpoint };
    const { stdout } = await run('python3', [join(import.meta.dirname, 'fetch_spiffe.py')], { env, timeout: 30_000 });
    t.match(stdout, /^svid spiffe:\/\/dev\.local\/agent\nsvid spiffe:\/\/dev\.local\/crm$/m);
    t.match(stdout, /^bundle dev\.local 1$/m);
    t.match(stdout, /^bundle partner\.test 1$/m);
    t.match(stdout, /^jwt spiffe:\/\/dev\.local\/agent spiffe:\/\/dev\.local\/agent$/m);
    t.match(stdout, /^other audience refused/m);
  },
);
