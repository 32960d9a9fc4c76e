/**
 * The reference implementation on the other side: go-spiffe v2 as Workload API client of the dev
 * server, as mTLS server behind the proxy and as mTLS client.
 */
import { execFile, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDemoUpstream } from '../../lib/dev/upstream.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { startIdentity } from '../../lib/identity/source.ts';
import { startProxy } from '../../lib/listen/proxy.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import { refusal, statusOf, testConnection } from '../support/agent.ts';
import { memoryAudit } from '../support/audit.ts';
import { policyOf, testDestination } from '../support/destination.ts';
import t from 'tap';

const run = promisify(execFile);
const AGENT = 'spiffe://dev.local/agent';

function toolchain(): boolean {
  try {
    execFileSync('go', ['version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

t.test('go-spiffe v2', { skip: !toolchain() && 'there is no Go toolchain' }, async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'go-spiffe-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, 'gospiffe');
  await run('go', ['build', '-mod=readonly', '-o', program, '.'], {
    cwd: join(import.meta.dirname, 'gospiffe'),
  });
  const partner = await createDevTrustDomain({ name: 'partner.test', clock: systemClock });
  const domain = await createDevTrustDomain({ name: 'dev.local', clock: systemClock });
  const identities = [{ id: '/agent' }, { id: '/crm' }];
  await using workload = await startDevWorkloadApi({
    socket: join(folder, 'w', 's.sock'),
    domain,
    identities,
    federated: [partner],
  });
  const env = (pick: string): NodeJS.ProcessEnv => ({
    ...process.env,
    SPIFFE_ENDPOINT_SOCKET: workload.endpoint,
    PICK: pick,
  });
  await using source = startIdentity({
    endpoint: workload.endpoint,
    select: {},
    clock: systemClock,
    onNote: () => {},
  });
  await source.firstUpdate(AbortSignal.timeout(10_000));

  await t.test('reads SVIDs, bundles and JWT-SVIDs from the dev Workload API', async (t) => {
    const { stdout } = await run(program, ['fetch'], { env: env('/agent') });
    t.match(stdout, /^svid spiffe:\/\/dev\.local\/agent\nsvid spiffe:\/\/dev\.local\/crm$/m);
    t.match(stdout, /^bundle dev\.local 1$/m);
    t.match(stdout, /^bundle partner\.test 1$/m);
    t.match(stdout, /^jwt spiffe:\/\/dev\.local\/agent spiffe:\/\/dev\.local\/agent$/m);
    t.match(stdout, /other audience refused: true/);
  });

  await t.test(
    'answers the proxy as mTLS server, and is refused where another peer is expected',
    async (t) => {
      const server = spawn(program, ['serve', AGENT], {
        env: env('/crm'),
        stdio: ['ignore', 'pipe', 'inherit'],
      });
      t.teardown(() => server.kill());
      const [line] = (await once(server.stdout, 'data')) as [Buffer];
      const upstream = {
        host: '127.0.0.1',
        port: Number(line.toString().trim().split(':').at(-1)),
      };
      await using proxy = await startProxy({
        sidecar: { forward: { host: '127.0.0.1', port: 0 }, audit: { onFailure: 'deny' } },
        policy: cell(
          policyOf(
            testDestination({ upstream, peers: ['spiffe://dev.local/crm'] }),
            testDestination({
              name: 'other',
              hosts: ['other.internal'],
              upstream,
              peers: ['spiffe://dev.local/other'],
            }),
          ),
        ),
        identity: source,
        audit: memoryAudit(),
        contexts: tlsContexts(),
        clock: systemClock,
        shutdown: new AbortController().signal,
      });
      const get = async (host: string): Promise<string> => {
        const connection = await testConnection(proxy.addresses.get('forward')?.port ?? 0);
        connection.write(
          `GET http://${host}/a/b HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
        );
        return connection.ended();
      };
      const answer = await get('crm.internal');
      t.equal(statusOf(answer), 200, answer);
      t.match(answer, new RegExp(`GET /a/b from ${AGENT}`));
      const refused = await get('other.internal');
      t.equal(statusOf(refused), 502);
      t.match(refusal(refused), { code: 'upstream-identity' });
    },
  );

  await t.test(
    'is accepted by our server as the caller it proves to be, and refuses a server that is another',
    async (t) => {
      await using upstream = await startDemoUpstream({
        endpoint: workload.endpoint,
        select: { spiffeId: parseSpiffeId('spiffe://dev.local/crm') },
        callers: [AGENT],
        service: 'api',
        clock: systemClock,
      });
      const { stdout } = await run(program, ['get', upstream.address, 'spiffe://dev.local/crm'], {
        env: env('/agent'),
      });
      t.match(stdout, /^200 /);
      t.equal(upstream.requests()[0]?.peer.spiffeId, AGENT);
      await t.rejects(
        run(program, ['get', upstream.address, 'spiffe://dev.local/other'], { env: env('/agent') }),
        /unexpected ID/,
      );
      await t.rejects(
        run(program, ['get', upstream.address, 'spiffe://dev.local/crm'], { env: env('/crm') }),
      );
      t.equal(upstream.requests().length, 1, 'a caller that is not expected is not served');
    },
  );
});
