import t from 'tap';
import { routes } from '../../lib/upstream/route.ts';
import { testAuthority } from '../support/authority.ts';
import { policyOf, testDestination } from '../support/destination.ts';

const facts = (host: string, port = 80) =>
  ({ entry: 'forward', host, port, listener: undefined, http: undefined, time: 0 }) as const;

t.test(
  'equal settings have equal keys whatever the generation; any setting of the connection changes it (invariant 8)',
  async (t) => {
    const table = routes();
    const key = (...given: Parameters<typeof testDestination>): string =>
      table
        .to(testDestination(...given), facts('crm.internal'))
        .key(undefined)
        .toString();
    const base = { upstream: { host: '10.0.0.1', port: 1 } };
    t.equal(
      key(base),
      key({ ...base, rules: [], timeouts: { idle: 1 }, limits: { concurrent: 1 } }),
      'rules and limits do not matter',
    );
    const changed = [
      { upstream: { host: '10.0.0.1', port: 2 } },
      { upstream: { host: '10.0.0.2', port: 1 } },
      { ...base, cidrs: ['10.0.0.0/8'] },
      { ...base, peers: ['spiffe://example.org/other'] },
      { ...base, serverName: 'x' },
      { ...base, mode: 'web-mtls' },
      { ...base, mode: 'web', roots: ['pem'] },
      { ...base, insecure: true },
      { ...base, name: 'other' },
    ] as const;
    t.equal(new Set([key(base), ...changed.map((one) => key(one))]).size, changed.length + 1);
  },
);

t.test(
  'keys name the identity generation where our SVID is shown, and only there (A15)',
  async (t) => {
    const authority = await testAuthority();
    const svid = await authority.svid('/agent');
    const table = routes();
    const [one, two] = [1, 2].map((generation) => authority.identity(svid, [], generation));
    const mtls = table.to(testDestination(), facts('crm.internal'));
    t.not(mtls.key(one).toString(), mtls.key(two).toString());
    t.equal(mtls.key(one), mtls.key(one));
    const web = table.to(testDestination({ mode: 'web' }), facts('crm.internal'));
    t.equal(web.key(one).toString(), web.key(two).toString());
  },
);

t.test('a policy and an identity keep exactly the keys that they would make', async (t) => {
  const authority = await testAuthority();
  const svid = await authority.svid('/agent');
  const one = authority.identity(svid, [], 1);
  const table = routes();
  const wild = testDestination({ name: 'wild', hosts: ['*.example.com'], mode: 'web' });
  const crm = testDestination();
  const keys = [
    table.to(crm, facts('crm.internal')).key(one),
    table.to(wild, facts('a.example.com')).key(one),
  ];
  t.same(keys.map(table.keep(policyOf(testDestination(), wild), 1)), [true, true]);
  t.same(keys.map(table.keep(policyOf(testDestination(), wild), 2)), [false, true]);
  t.same(
    keys.map(table.keep(policyOf(testDestination({ peers: ['spiffe://example.org/*'] })), 1)),
    [false, false],
  );
});

t.test('what the operator wrote is told from what the agent asked for', async (t) => {
  const table = routes();
  const of = (given: Parameters<typeof testDestination>[0], host = 'crm.internal') =>
    table.to(testDestination(given), facts(host));
  t.match(of({}), {
    host: 'crm.internal',
    written: false,
    literal: false,
    addresses: { loopback: false, private: false },
  });
  t.match(of({ upstream: { host: 'crm.prod', port: 8443 } }), {
    host: 'crm.prod',
    port: 8443,
    written: true,
    addresses: { private: true },
  });
  t.match(
    of({ mode: 'web', upstream: { host: 'crm.prod', port: 8443 } }),
    { addresses: { private: false } },
    'only mTLS proves who is there',
  );
  t.match(of({ upstream: { host: '127.0.0.1', port: 1 } }), {
    literal: true,
    addresses: { loopback: true },
  });
  t.match(
    of({ hosts: ['127.0.0.1'] }, '127.0.0.1'),
    { literal: true, addresses: { loopback: true } },
    'a literal among the hosts',
  );
});
