import { createPrivateKey, X509Certificate } from 'node:crypto';
import { status } from '@grpc/grpc-js';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { until } from '../support/until.ts';
import { shortFolder } from '../support/folder.ts';
import { workloadClient } from '../support/workload-client.ts';

async function serve(t: Test) {
  const domain = await createDevTrustDomain({ name: 'example.org', clock: systemClock });
  const federated = await createDevTrustDomain({ name: 'other.test', clock: systemClock });
  const api = await startDevWorkloadApi({
    socket: `${shortFolder(t)}/private/api.sock`,
    domain,
    federated: [federated],
    identities: [
      { id: '/agent', hint: 'one' },
      { id: '/other', hint: 'two' },
    ],
  });
  const client = workloadClient(api.endpoint);
  t.teardown(async () => {
    await client[Symbol.asyncDispose]();
    await api[Symbol.asyncDispose]();
  });
  return { api, client, federated };
}

t.test('the next calls fail with the given status, then heal (S-21)', async (t) => {
  const { client, api } = await serve(t);
  for (const code of [
    'PERMISSION_DENIED',
    'UNAVAILABLE',
    'INVALID_ARGUMENT',
    'UNIMPLEMENTED',
    'CANCELLED',
  ] as const) {
    api.failNext({ code, calls: 2, method: 'FetchX509SVID' });
    for (const _ of [1, 2])
      t.equal((await client.stream('fetchX509SVID').ended()).code, status[code], code);
    const stream = client.stream('fetchX509SVID');
    await stream.message(1);
    stream.cancel();
  }
  api.failNext({ code: 'UNAVAILABLE', calls: Infinity });
  await t.rejects(client.fetchJwtSvid(['a']), { code: status.UNAVAILABLE });
  t.equal((await client.stream('fetchX509Bundles').ended()).code, status.UNAVAILABLE);
  api.heal();
  await client.stream('fetchX509Bundles').message(1);
  t.equal(api.calls('FetchX509SVID'), 15);
});

t.test('open streams are ended with any status, a clean end included (S-21)', async (t) => {
  const { client, api } = await serve(t);
  for (const code of ['OK', 'UNAVAILABLE', 'CANCELLED', 'PERMISSION_DENIED'] as const) {
    const stream = client.stream('fetchX509SVID');
    await stream.message(1);
    t.equal(api.open('FetchX509SVID'), 1);
    api.endCalls({ code, details: 'for a test' });
    t.match(await stream.ended(), { code: status[code] });
    t.equal(api.open(), 0);
  }
  const left = client.stream('fetchX509SVID');
  await left.message(1);
  left.cancel();
  await until('the server knows that the client has gone', () => api.open() === 0);
});

t.test('each mandatory field can be sent empty (S-21, C-24)', async (t) => {
  const { client, api } = await serve(t);
  const stream = client.stream('fetchX509SVID');
  await stream.message(1);
  const fields = [
    ['svids', 'svids'],
    ['spiffe_id', 'spiffeId'],
    ['x509_svid', 'x509Svid'],
    ['x509_svid_key', 'x509SvidKey'],
    ['bundle', 'bundle'],
  ] as const;
  for (const [at, [blank, name]] of fields.entries()) {
    await api.breakResponses({ blank });
    const message = await stream.message(at + 2);
    if (name === 'svids') t.equal(message.svids.length, 0);
    else
      t.same(
        message.svids.map((svid) => svid[name].length),
        [0, 0],
        blank,
      );
  }
  await api.breakResponses({});
  t.equal((await stream.message(7)).svids[0]?.spiffeId, 'spiffe://example.org/agent');
});

t.test('duplicate hints, a foreign key, a foreign ID, raw bytes (S-21)', async (t) => {
  const { client, api } = await serve(t);
  const broken = async () => client.stream('fetchX509SVID').message(1);
  await api.breakResponses({ sameHint: 'one' });
  t.same(
    (await broken()).svids.map(({ hint }) => hint),
    ['one', 'one'],
  );
  await api.breakResponses({ foreignKey: true });
  const [svid] = (await broken()).svids;
  const key = createPrivateKey({
    key: Buffer.from(svid?.x509SvidKey ?? []),
    format: 'der',
    type: 'pkcs8',
  });
  t.notOk(new X509Certificate(svid?.x509Svid ?? Buffer.alloc(0)).checkPrivateKey(key));
  await api.breakResponses({ foreignId: 'spiffe://example.org/somebody' });
  const [other] = (await broken()).svids;
  t.equal(other?.spiffeId, 'spiffe://example.org/somebody');
  t.match(new X509Certificate(other?.x509Svid ?? Buffer.alloc(0)).subjectAltName, '/agent');
  await api.breakResponses({ raw: { FetchX509SVID: Buffer.from('ffff', 'hex') } });
  t.not(
    (await client.stream('fetchX509SVID').ended()).code,
    status.OK,
    'no client can decode that',
  );
});

t.test('a federated bundle goes empty, malformed, away and comes back (S-21, C-54)', async (t) => {
  const { client, api, federated } = await serve(t);
  const x509 = client.stream('fetchX509SVID');
  const jwt = client.stream('fetchJWTBundles');
  const right = (await x509.message(1)).federatedBundles['spiffe://other.test'];
  await jwt.message(1);
  await api.setFederatedBundle(federated.name, 'empty');
  t.equal((await x509.message(2)).federatedBundles['spiffe://other.test']?.length, 0);
  t.equal(
    Buffer.from((await jwt.message(2)).bundles['spiffe://other.test'] ?? []).toString(),
    '{"keys":[]}',
  );
  await api.setFederatedBundle(federated.name, 'malformed');
  const malformed = (await x509.message(3)).federatedBundles['spiffe://other.test'];
  t.throws(() => new X509Certificate(malformed ?? Buffer.alloc(0)));
  await api.unfederate(federated.name);
  t.same((await x509.message(4)).federatedBundles, {});
  await api.federate(federated);
  t.same((await x509.message(5)).federatedBundles['spiffe://other.test'], right);
});

t.test('the socket goes away and comes back; the first response may be slow (S-21)', async (t) => {
  const { client, api } = await serve(t);
  const stream = client.stream('fetchX509SVID');
  await stream.message(1);
  await api.stop();
  t.not((await stream.ended()).code, status.OK);
  t.equal((await client.stream('fetchX509SVID').ended()).code, status.UNAVAILABLE);
  await api.start();
  api.slowFirst(150);
  const again = await until('it is reachable again', async () => {
    const next = client.stream('fetchX509SVID');
    const start = performance.now();
    await until(
      'a message or the end',
      () => next.messages.length > 0 || next.status !== undefined,
    );
    return next.messages.length > 0 ? performance.now() - start : undefined;
  });
  t.ok(again >= 149, `the first message took ${again} ms`);
});

t.test('the lifetime can be cut, and rotation stopped so that SVIDs expire (S-21)', async (t) => {
  const { client, api } = await serve(t);
  const stream = client.stream('fetchX509SVID');
  await stream.message(1);
  await api.setRotation(false);
  await api.setTtl(3000);
  const [svid] = (await stream.message(2)).svids;
  const left =
    new X509Certificate(svid?.x509Svid ?? Buffer.alloc(0)).validToDate.getTime() - Date.now();
  t.ok(left > 0 && left <= 3000, `${left} ms left`);
});
