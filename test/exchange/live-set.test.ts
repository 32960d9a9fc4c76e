import { DENIED_GRACE_MS } from '../../lib/exchange/interlude.ts';
import type { IdentityState, X509Bundle } from '../../lib/spiffe/identity.ts';
import { type TestConnection, refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { type TestAuthority, testAuthority } from '../support/authority.ts';
import { policyOf, rule, testDestination } from '../support/destination.ts';
import { KEY_TYPES } from '../support/key-types.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { serviceOf } from '../support/service.ts';
import { until } from '../support/until.ts';
import { type MtlsUpstream, mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import { stream, streaming } from './streaming.ts';
import t from 'tap';

t.test(
  'a policy that no longer allows it cuts an open stream within a second; what is still allowed goes on',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await streaming(authority);
    const at = { host: '127.0.0.1', port: upstream.port };
    await using proxy = await testProxy({
      authority,
      destinations: [testDestination({ upstream: at })],
    });
    const line = await stream(proxy);
    proxy.policy.set(
      policyOf(
        testDestination({
          upstream: at,
          rules: [rule('streams', 'allow', { paths: ['/stream'] })],
        }),
      ),
    );
    t.match(
      proxy.audit.of('redecided'),
      [{ effect: 'allow', code: 'allowed' }],
      'another rule allows it',
    );
    t.notOk(line.reset);
    const began = performance.now();
    proxy.policy.set(
      policyOf(testDestination({ upstream: at, rules: [rule('none', 'deny', {})] })),
    );
    await until('the agent sees a cut', () => line.reset);
    t.ok(performance.now() - began < 1000);
    await proxy.quiet();
    t.match(proxy.audit.of('redecided')[1], {
      effect: 'deny',
      reason: /rule none .* denies GET \/stream/,
    });
    t.match(proxy.audit.of('ended'), [{ outcome: 'no-longer-allowed' }]);
    await upstream.quiet();
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'a large live set is decided again in turns, what has lost its destination first',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await streaming(authority);
    const at = { host: '127.0.0.1', port: upstream.port };
    // Some milliseconds of work for each.
    const dear = rule('dear', 'deny', {
      when:
        'request.header("x-data").exists(v, (v + request.path).matches("(x+x+)+y") || ' +
        '(request.path + v).matches("(x+x+)+z") || v.matches("(x*x*)+w"))',
    });
    const open = rule('open', 'allow', {});
    const crm = testDestination({ upstream: at, rules: [dear, open], limits: { concurrent: 256 } });
    const gone = testDestination({
      name: 'gone',
      hosts: ['gone.internal'],
      upstream: at,
      rules: [open],
    });
    await using proxy = await testProxy({ authority, destinations: [crm, gone] });
    const data = `x-data: ${'x'.repeat(200)}\r\n`.repeat(30);
    const ask = async (host: string, path: string): Promise<TestConnection> => {
      const line = await proxy.open();
      line.write(`GET http://${host}${path} HTTP/1.1\r\nHost: ${host}\r\n${data}\r\n`);
      await line.sees('first');
      return line;
    };
    const kept: TestConnection[] = [];
    for (let i = 0; i < 191; i += 1) kept.push(await ask('crm.internal', '/stream'));
    const lost = await ask('gone.internal', '/stream');
    let turnsOfOthers = 0;
    const other = (): void => {
      turnsOfOthers += 1;
      if (proxy.audit.of('redecided').length < 192) setImmediate(other);
    };
    proxy.policy.set(
      policyOf({
        ...crm,
        service: serviceOf({ rules: [dear, rule('other', 'allow', {})] }, 'mtls'),
      }),
    );
    t.match(
      proxy.audit.of('redecided')[0],
      { effect: 'deny', reason: /gone/ },
      'in the same turn, though it came last',
    );
    other();
    await until('all are decided again', () => proxy.audit.of('redecided').length === 192);
    t.ok(turnsOfOthers > 1, `${turnsOfOthers} turns of others in between`);
    await until('it is cut', () => lost.reset);
    t.notOk(kept.some(({ reset }) => reset));
    proxy.policy.set(
      policyOf({
        ...crm,
        service: serviceOf({ rules: [dear, rule('third', 'allow', {})] }, 'mtls'),
      }),
    );
    proxy.policy.set(policyOf({ ...crm, service: serviceOf({ rules: [dear] }, 'mtls') }));
    await until('all are cut, by the newest policy', () => kept.every(({ reset }) => reset));
  },
);

const CHANGES: readonly (readonly [
  title: string,
  change: Parameters<typeof testDestination>[0],
  reason: RegExp,
])[] = [
  ['a peer that is no longer one', { peers: ['spiffe://example.org/other'] }, /no longer a peer/],
  ['another mode', { mode: 'web' }, /now has tls\.mode web/],
  [
    'a destination that is gone',
    { name: 'other', hosts: ['other.internal'] },
    /no destination has/,
  ],
];

for (const [title, change, reason] of CHANGES) {
  t.test(`an open stream is cut by ${title}`, async (t) => {
    const authority = await testAuthority();
    await using upstream = await streaming(authority);
    const at = { host: '127.0.0.1', port: upstream.port };
    await using proxy = await testProxy({
      authority,
      destinations: [testDestination({ upstream: at })],
    });
    const line = await stream(proxy);
    proxy.policy.set(policyOf(testDestination({ upstream: at, ...change })));
    await until('the agent sees a cut', () => line.reset);
    await proxy.quiet();
    t.match(proxy.audit.of('redecided'), [{ effect: 'deny', reason }]);
  });
}

t.test(
  'identity withdrawn: open streams are cut with that reason, idle connections too, and nothing falls back',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await streaming(authority);
    await using proxy = await testProxy({
      authority,
      destinations: [testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } })],
    });
    await proxy.get('http://crm.internal/');
    const line = await stream(proxy);
    proxy.identity.set({
      kind: 'withdrawn',
      since: Date.now(),
      denied: false,
      problem: 'PermissionDenied',
    });
    await until('the agent sees a cut', () => line.reset);
    await proxy.quiet();
    t.match(proxy.audit.of('redecided'), [{ effect: 'deny', code: 'no-identity', identity: 0 }]);
    await upstream.quiet();
    t.same(proxy.server.pools(), { keys: 0, idle: 0, leased: 0, dialling: 0, waiting: 0 });
  },
);

async function withStream(
  authority: TestAuthority,
): Promise<{ upstream: MtlsUpstream; proxy: TestProxy; line: TestConnection }> {
  const upstream = await streaming(authority);
  const destinations = [testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } })];
  const proxy = await testProxy({
    authority,
    identity: authority.identity(await authority.svid('/agent')),
    destinations,
  });
  return { upstream, proxy, line: await stream(proxy) };
}

const DENIED: IdentityState = {
  kind: 'withdrawn',
  since: Date.now(),
  denied: true,
  problem: 'PermissionDenied',
};

async function as(authority: TestAuthority, path: string): Promise<IdentityState> {
  const identity = authority.identity(await authority.svid(path), [], 2);
  return { kind: 'current', identity, problem: undefined };
}

t.test(
  'identity denied: new requests are refused at once, what is open is cut two seconds later',
  async (t) => {
    const authority = await testAuthority();
    const { upstream, proxy, line } = await withStream(authority);
    await using _ = upstream;
    await using __ = proxy;
    const began = performance.now();
    proxy.identity.set(DENIED);
    const seen = upstream.received();
    t.equal(refusal(await proxy.get('http://crm.internal/')).code, 'no-identity');
    t.equal(upstream.received(), seen, 'not one byte of it');
    t.notOk(line.reset);
    await until('the agent sees a cut', () => line.reset, 20_000);
    t.ok(performance.now() - began >= DENIED_GRACE_MS - 50);
    await proxy.quiet();
    t.match(proxy.audit.of('redecided'), [{ effect: 'deny', code: 'no-identity', identity: 0 }]);
  },
);

t.test(
  'identity denied for a moment: what is open goes on when the same SPIFFE ID is back',
  async (t) => {
    const authority = await testAuthority();
    const { upstream, proxy, line } = await withStream(authority);
    await using _ = upstream;
    await using __ = proxy;
    proxy.identity.set(DENIED);
    proxy.identity.set({ ...DENIED, problem: 'again' } as IdentityState);
    proxy.identity.set(await as(authority, '/agent'));
    await new Promise((resolve) => setTimeout(resolve, DENIED_GRACE_MS + 500));
    t.notOk(line.reset);
    t.same(proxy.audit.of('redecided'), []);
    t.equal(statusOf(await proxy.get('http://crm.internal/')), 200);
  },
);

t.test(
  'identity denied, and another SPIFFE ID is there after it: what is open is cut at once',
  async (t) => {
    const authority = await testAuthority();
    const { upstream, proxy, line } = await withStream(authority);
    await using _ = upstream;
    await using __ = proxy;
    proxy.identity.set(DENIED);
    proxy.identity.set(await as(authority, '/other'));
    await until('the agent sees a cut', () => line.reset);
    await proxy.quiet();
    t.match(proxy.audit.of('redecided'), [
      { code: 'no-identity', reason: /we are now spiffe:\/\/example\.org\/other/ },
    ]);
  },
);

t.test('identity denied and then not issued any more: what is open is cut at once', async (t) => {
  const authority = await testAuthority();
  const { upstream, proxy, line } = await withStream(authority);
  await using _ = upstream;
  await using __ = proxy;
  proxy.identity.set(DENIED);
  proxy.identity.set({ ...DENIED, denied: false } as IdentityState);
  t.match(proxy.audit.of('redecided'), [{ code: 'no-identity' }], 'in the same turn');
  await until('the agent sees a cut', () => line.reset);
});

t.test('our SVID expires: what is open is cut when that is looked at', async (t) => {
  const authority = await testAuthority();
  await using upstream = await streaming(authority);
  const destinations = [testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } })];
  const svid = await authority.svid('/agent', { notAfter: Date.now() + 4000 });
  await using proxy = await testProxy({
    authority,
    identity: authority.identity(svid),
    destinations,
  });
  const line = await stream(proxy);
  proxy.server.reauthorize();
  t.notOk(line.reset);
  await until('it has expired', () => Date.now() > svid.x509Svid.notAfter, 20_000);
  proxy.server.reauthorize();
  await until('the agent sees a cut', () => line.reset);
  t.match(proxy.audit.of('redecided'), [{ code: 'identity-expired' }]);
});

t.test(
  "the bundle of the peer's trust domain, gone or without its anchor, cuts; with another beside it does not",
  async (t) => {
    const authority = await testAuthority();
    const foreign = await testAuthority({ trustDomain: 'foreign.org' });
    const renewed = await testAuthority({ trustDomain: 'foreign.org' });
    await using upstream = await mtlsUpstream({
      authority: foreign,
      trusts: [authority],
      http: (_, response) => void response.writeHead(200).write('first'),
    });
    const svid = await authority.svid('/agent');
    const destination = testDestination({
      peers: ['spiffe://foreign.org/upstream'],
      upstream: { host: '127.0.0.1', port: upstream.port },
    });
    const identity = authority.identity(svid, [foreign], 1);
    await using proxy = await testProxy({ authority, identity, destinations: [destination] });
    const both: X509Bundle = {
      trustDomain: foreign.trustDomain,
      anchors: [...foreign.bundle.anchors, ...renewed.bundle.anchors],
    };
    const having = (generation: number, bundle: X509Bundle | undefined): void => {
      const bundles = new Map(authority.identity(svid).bundles);
      if (bundle !== undefined) bundles.set(foreign.trustDomain, bundle);
      proxy.identity.set({
        kind: 'current',
        identity: { ...identity, generation, bundles },
        problem: undefined,
      });
    };
    const first = await stream(proxy);
    having(2, both);
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.notOk(first.reset, 'a second anchor changes nothing');
    having(3, renewed.bundle);
    await until('the anchor is gone and the stream is cut', () => first.reset);
    t.match(proxy.audit.of('redecided'), [
      { effect: 'deny', code: 'no-trust-bundle', identity: 3 },
    ]);
    having(4, both);
    const second = await stream(proxy);
    having(5, undefined);
    await until('the bundle is gone and the stream is cut', () => second.reset);
    await proxy.quiet();
    t.match(proxy.audit.of('redecided')[1], { code: 'no-trust-bundle', identity: 5 });
    t.equal(statusOf(await proxy.get('http://crm.internal/')), 503);
  },
);

for (const { name, make } of KEY_TYPES.filter(({ proves }) => proves)) {
  t.test(`an upstream with a key of ${name} is verified again when an anchor goes`, async (t) => {
    const authority = await testAuthority();
    const renewed = await testAuthority();
    const upstreamSvid = await authority.svid('/upstream', { pair: make() });
    await using upstream = await mtlsUpstream({
      authority,
      svid: upstreamSvid,
      http: (_, response) => void response.writeHead(200).write('first'),
    });
    const svid = await authority.svid('/agent');
    const at = { host: '127.0.0.1', port: upstream.port };
    const identity = authority.identity(svid, [], 1);
    await using proxy = await testProxy({
      authority,
      identity,
      destinations: [testDestination({ upstream: at })],
    });
    const having = (generation: number, anchors: X509Bundle['anchors']): void => {
      const bundles = new Map([
        [authority.trustDomain, { trustDomain: authority.trustDomain, anchors }],
      ]);
      proxy.identity.set({
        kind: 'current',
        identity: { ...identity, generation, bundles },
        problem: undefined,
      });
    };
    having(2, [...renewed.bundle.anchors, ...authority.bundle.anchors]);
    const line = await stream(proxy);
    having(3, authority.bundle.anchors);
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.notOk(line.reset, 'the anchor that vouched for it is still there');
    having(4, renewed.bundle.anchors);
    await until('the anchor is gone and the stream is cut', () => line.reset);
    await proxy.quiet();
    t.match(proxy.audit.of('redecided'), [
      { effect: 'deny', code: 'no-trust-bundle', identity: 4 },
    ]);
  });
}

t.test('a change between decision and connection is found before a byte is sent', async (t) => {
  await using upstream = await rawUpstream();
  const at = { host: '127.0.0.1', port: upstream.port };
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<readonly string[]>();
  const resolver = { resolve: () => (asked.resolve(), answer.promise) };
  const named = {
    mode: 'plaintext',
    insecure: true,
    hosts: ['crm.internal'],
    ports: [80],
  } as const;
  await using proxy = await testProxy({
    identity: 'none',
    options: { resolver },
    destinations: [testDestination({ ...named })],
  });
  const waiting = proxy.get('http://crm.internal/');
  await asked.promise;
  proxy.policy.set(policyOf(testDestination({ ...named, rules: [], upstream: at })));
  answer.resolve(['127.0.0.1']);
  const refused = await waiting;
  t.equal(statusOf(refused), 403);
  t.equal(refusal(refused).code, 'no-longer-allowed');
  t.same(upstream.connections, []);
  await proxy.quiet();
  t.same(unpaired(proxy.audit.records), []);
});

t.test('a peer that a change took out between decision and connection gets nothing', async (t) => {
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({ authority });
  const to = (peer: string): ReturnType<typeof testDestination> =>
    testDestination({ upstream: { host: '127.0.0.1', port: upstream.port }, peers: [peer] });
  await using proxy = await testProxy({
    authority,
    destinations: [to('spiffe://example.org/upstream')],
  });
  const recorded = Promise.withResolvers<void>();
  proxy.audit.before = recorded.promise;
  const waiting = proxy.get('http://crm.internal/');
  await until('it is decided', () => proxy.audit.of('decided').length === 1);
  proxy.policy.set(policyOf(to('spiffe://example.org/other')));
  recorded.resolve();
  const refused = await waiting;
  t.equal(statusOf(refused), 403);
  t.match(refusal(refused), {
    code: 'no-longer-allowed',
    message: /upstream is no longer a peer/,
  });
  t.equal(upstream.received(), 0, 'not one byte');
  await proxy.quiet();
  t.match(proxy.audit.of('redecided'), [{ effect: 'deny', code: 'no-longer-allowed' }]);
  t.same(unpaired(proxy.audit.records), []);
});

t.test('a reload retires only connections whose settings changed (invariant 8)', async (t) => {
  const authority = await testAuthority();
  await using one = await mtlsUpstream({ authority });
  await using two = await mtlsUpstream({ authority });
  const first = testDestination({
    name: 'one',
    hosts: ['one.internal'],
    upstream: { host: '127.0.0.1', port: one.port },
  });
  const second = testDestination({
    name: 'two',
    hosts: ['two.internal'],
    upstream: { host: '127.0.0.1', port: two.port },
  });
  await using proxy = await testProxy({ authority, destinations: [first, second] });
  await proxy.get('http://one.internal/');
  await proxy.get('http://two.internal/');
  const changed = testDestination({
    name: 'two',
    hosts: ['two.internal'],
    upstream: { host: '127.0.0.1', port: two.port },
    peers: ['spiffe://example.org/*'],
  });
  proxy.policy.set(
    policyOf(
      testDestination({
        name: 'one',
        hosts: ['one.internal'],
        upstream: { host: '127.0.0.1', port: one.port },
      }),
      changed,
    ),
  );
  t.match(proxy.server.pools(), { idle: 1 });
  await proxy.get('http://one.internal/');
  await proxy.get('http://two.internal/');
  t.equal(one.connections.length, 1);
  t.equal(two.connections.length, 2);
});

t.test('an upstream whose certificate has expired since is verified anew', async (t) => {
  const authority = await testAuthority();
  const svid = await authority.svid('/upstream', {
    notAfter: Math.ceil(Date.now() / 1000) * 1000 + 2000,
  });
  await using upstream = await mtlsUpstream({ authority, svid });
  await using proxy = await testProxy({
    authority,
    destinations: [testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } })],
  });
  t.equal(statusOf(await proxy.get('http://crm.internal/')), 200);
  await until('it has expired', () => Date.now() > svid.x509Svid.notAfter);
  t.equal(statusOf(await proxy.get('http://crm.internal/')), 502);
  t.equal(upstream.connections.length, 2);
});
