/**
 * Envoy as mTLS upstream and as mTLS client of ours, its secrets in the files that `svid write`
 * keeps; it authorises by SPIFFE ID, and so do we.
 */
import { once } from 'node:events';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { connect } from 'node:tls';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDemoUpstream } from '../../lib/dev/upstream.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { type IdentitySource, startIdentity } from '../../lib/identity/source.ts';
import { writeSvidFiles } from '../../lib/identity/svid-files.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { NO_ENVOY, envoyProgram, fileSecrets, startEnvoy } from './envoy.ts';
import t from 'tap';

t.setTimeout(180_000);

const AGENT = 'spiffe://dev.local/agent';
const ENVOY = 'spiffe://dev.local/envoy';
const program = envoyProgram();

async function identityOf(endpoint: string, id: string): Promise<IdentitySource> {
  const source = startIdentity({
    endpoint,
    select: { spiffeId: parseSpiffeId(id) },
    clock: systemClock,
    onNote: () => {},
  });
  await source.firstUpdate(AbortSignal.timeout(10_000));
  return source;
}

/** Serial number of the certificate that a server shows to a caller with this identity. */
async function shownSerial(port: number, caller: IdentitySource): Promise<string | undefined> {
  const { chain, privateKey } = caller.current().svid;
  const key = privateKey.export({ type: 'pkcs8', format: 'pem' });
  // Only what it shows is looked at; the proxy verifies it.
  const socket = connect({
    host: '127.0.0.1',
    port,
    cert: chain.map(String).join(''),
    key,
    rejectUnauthorized: false,
  });
  await once(socket, 'secureConnect');
  const serial = socket.getPeerX509Certificate()?.serialNumber.toUpperCase();
  socket.destroy();
  return serial;
}

t.test('Envoy with secrets from files', { skip: program === undefined && NO_ENVOY }, async (t) => {
  const folder = shortFolder(t);
  await using workload = await startDevWorkloadApi({
    socket: join(folder, 'w', 's.sock'),
    domain: await createDevTrustDomain({ name: 'dev.local', clock: systemClock }),
    identities: ['/agent', '/envoy', '/other'].map((id) => ({ id })),
  });
  await using own = await identityOf(workload.endpoint, AGENT);
  await using its = await identityOf(workload.endpoint, ENVOY);
  await using other = await identityOf(workload.endpoint, 'spiffe://dev.local/other');
  await using upstream = await startDemoUpstream({
    endpoint: workload.endpoint,
    select: { spiffeId: parseSpiffeId(AGENT) },
    callers: [ENVOY],
    service: 'api',
    clock: systemClock,
  });
  const mirror = join(folder, 'mirror');
  await writeSvidFiles(mirror, its.current());
  await using envoy = await startEnvoy({
    program: program ?? '',
    folder: join(folder, 'envoy'),
    secrets: fileSecrets(mirror, 'dev.local', folder),
    reader: AGENT,
    upstream: { port: Number(upstream.address.split(':').at(-1)), peer: AGENT },
  });
  const at = { host: '127.0.0.1', port: envoy.server };
  const destinations = [
    testDestination({ name: 'envoy', hosts: ['envoy.internal'], upstream: at, peers: [ENVOY] }),
    testDestination({
      name: 'wrong',
      hosts: ['wrong.internal'],
      upstream: at,
      peers: ['spiffe://dev.local/somebody'],
    }),
  ];
  await using proxy = await testProxy({ destinations, options: { identity: own } });

  await t.test(
    'as upstream: it sees our SPIFFE ID, lets /ok through and refuses the rest',
    async (t) => {
      const answer = await proxy.get('http://envoy.internal/ok');
      t.equal(statusOf(answer), 200, answer);
      t.match(answer, /x-caller: spiffe:\/\/dev\.local\/agent\r\n[\s\S]*from envoy$/);
      t.equal(statusOf(await proxy.get('http://envoy.internal/no')), 403);
      t.equal(refusal(await proxy.get('http://wrong.internal/ok')).code, 'upstream-identity');
      await proxy.quiet();
      t.match(proxy.audit.of('ended')[0], { outcome: 'completed', status: 200, peer: ENVOY });
      t.same(unpaired(proxy.audit.records), []);
    },
  );

  await t.test('another of our identities is refused by its RBAC', async (t) => {
    await using second = await testProxy({ destinations, options: { identity: other } });
    t.equal(statusOf(await second.get('http://envoy.internal/ok')), 403);
  });

  await t.test('a set that svid write replaced is in force without a restart', async (t) => {
    const before = its.current().svid.serial;
    await workload.rotate();
    await until('a new SVID for it', () => its.current().svid.serial !== before);
    await writeSvidFiles(mirror, its.current());
    const { serial } = its.current().svid;
    await until(
      'the new serial is shown',
      async () => (await shownSerial(envoy.server, own)) === serial,
    );
    t.equal(statusOf(await proxy.get('http://envoy.internal/ok')), 200);
  });

  await t.test(
    'as client: our server sees it as /envoy, and it refuses a server that is another',
    async (t) => {
      const asked = request({
        host: '127.0.0.1',
        port: envoy.client,
        path: '/v1/customers/1001',
        agent: false,
      }).end();
      const [answer] = (await once(asked, 'response')) as [IncomingMessage];
      t.equal(answer.statusCode, 200, await text(answer));
      t.equal(upstream.requests().at(-1)?.peer.spiffeId, ENVOY);
    },
  );
});
