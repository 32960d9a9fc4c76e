/**
 * A JWT-SVID in the agent's stead, from a real Workload API to an upstream that writes down every
 * byte.
 */
import { join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { startIdentity } from '../../lib/identity/source.ts';
import { validateJwtSvid } from '../../lib/spiffe/jwt-svid.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream } from '../support/upstream.ts';
import t from 'tap';

const authority = await testAuthority();
const credential = { kind: 'jwt-svid', audience: 'crm' } as const;

t.test(
  'a JWT-SVID for the audience replaces the Authorization of the agent, and no record holds it (J-11, H8, C5)',
  async (t) => {
    const domain = await createDevTrustDomain({ name: 'example.org', clock: systemClock });
    const socket = join(shortFolder(t), 'api', 'a.sock');
    await using workload = await startDevWorkloadApi({
      socket,
      domain,
      identities: [{ id: '/agent' }],
    });
    await using source = startIdentity({
      endpoint: workload.endpoint,
      select: {},
      clock: systemClock,
      onNote: () => {},
    });
    await source.firstUpdate(AbortSignal.timeout(10_000));
    await using upstream = await mtlsUpstream({
      authority,
      id: '/upstream',
      http: (_, response) => void response.end('ok'),
    });
    await using proxy = await testProxy({
      authority,
      destinations: [
        testDestination({ upstream: { host: '127.0.0.1', port: upstream.port }, credential }),
      ],
      fetchJwtSvid: (audience, signal) => source.fetchJwtSvid(audience, signal),
    });
    const answer = await proxy.ask(
      'GET http://crm.internal/a HTTP/1.1\r\nHost: crm.internal\r\nAuthorization: Bearer ' +
        'agents-own\r\nConnection: close\r\n\r\n',
    );
    t.equal(statusOf(answer), 200, answer);
    const seen = upstream.connections[0]?.plain.text ?? '';
    t.notMatch(seen, /agents-own/);
    const sent = [...seen.matchAll(/^authorization: Bearer (\S+)\r$/gim)].map(
      ([, token = '']) => token,
    );
    t.equal(sent.length, 1, 'one Authorization');
    await until('JWT authorities', () => source.jwtBundles().size > 0);
    const token = sent[0] ?? '';
    const valid = await validateJwtSvid(token, {
      audience: 'crm',
      bundles: source.jwtBundles(),
      now: Date.now(),
    });
    t.equal(valid.id, 'spiffe://example.org/agent');
    await proxy.quiet();
    const records = JSON.stringify(proxy.audit.records);
    t.notOk(
      records.includes(token) || records.includes(token.split('.')[2] ?? ''),
      'no record holds the token',
    );
    t.match(proxy.audit.of('ended')[0], { credential: 'jwt-svid', outcome: 'completed' });
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('without a token nothing is sent: 503, and the upstream sees no connection', async (t) => {
  await using upstream = await mtlsUpstream({
    authority,
    id: '/upstream',
    http: (_, response) => void response.end('ok'),
  });
  await using proxy = await testProxy({
    authority,
    destinations: [
      testDestination({ upstream: { host: '127.0.0.1', port: upstream.port }, credential }),
    ],
    fetchJwtSvid: () => Promise.reject(new Fault('workload-api-denied', 'no identity issued')),
  });
  const answer = await proxy.get('http://crm.internal/a');
  t.equal(statusOf(answer), 503);
  t.match(refusal(answer), { code: 'credential-unavailable', message: /no identity issued/ });
  t.equal(upstream.connections.length, 0);
  await proxy.quiet();
  t.same(unpaired(proxy.audit.records), []);
});

t.test('a destination without credentials passes what the agent sent', async (t) => {
  await using upstream = await mtlsUpstream({
    authority,
    id: '/upstream',
    http: (_, response) => void response.end('ok'),
  });
  await using proxy = await testProxy({
    authority,
    destinations: [testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } })],
  });
  await proxy.ask(
    'GET http://crm.internal/a HTTP/1.1\r\nHost: crm.internal\r\nAuthorization: Bearer ' +
      'own\r\nConnection: close\r\n\r\n',
  );
  t.match(upstream.connections[0]?.plain.text ?? '', /authorization: Bearer own/i);
});
