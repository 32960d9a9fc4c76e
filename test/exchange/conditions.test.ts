import t from 'tap';
import { encodeRecord } from '../../lib/audit/encode.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { policyOf, rule, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { mtlsUpstream } from '../support/upstream.ts';

const CANARY = 'canary-8842';

function get(proxy: TestProxy, target: string, fields = ''): Promise<string> {
  return proxy.ask(
    `GET http://crm.internal${target} HTTP/1.1\r\nHost: ` +
      `crm.internal\r\n${fields}Connection: close\r\n\r\n`,
  );
}

t.test(
  'conditions decide over query, fields and identity as they arrive; what is denied is not sent',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority });
    const rules = [
      rule('no-force', 'deny', { when: 'request.query.exists(q, q.name == "force")' }),
      rule('tenant', 'allow', {
        when:
          'request.header("x-tenant") == ["blue"] && identity.spiffeId == ' +
          '"spiffe://example.org/agent"',
      }),
    ];
    await using proxy = await testProxy({
      authority,
      destinations: [
        testDestination({ upstream: { host: '127.0.0.1', port: upstream.port }, rules }),
      ],
    });
    t.equal(statusOf(await get(proxy, '/a?id=7', 'X-Tenant: blue\r\n')), 200);
    const before = upstream.connections.length;
    t.match(refusal(await get(proxy, '/a?id=7')), {
      message: /no rule of destination crm allows GET \/a;/,
    });
    t.match(
      refusal(await get(proxy, '/a', 'X-Tenant: blue\r\nX-Tenant: red\r\n')),
      { message: /no rule/ },
      'every value counts (H6)',
    );
    t.match(
      refusal(await get(proxy, '/a?x=1&%66orce', 'X-Tenant: blue\r\n')),
      { rule: 'no-force' },
      'however it is escaped',
    );
    t.equal(upstream.connections.length, before, 'nothing that is denied opens a connection');
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'what cannot be evaluated: a deny rule denies, an allow rule does not allow, records say so without a value (C5)',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority });
    const at = { host: '127.0.0.1', port: upstream.port };
    const broken = 'int(request.header("x-count")[0]) > 5';
    const allows = [
      rule('many', 'allow', { when: broken }),
      rule('rest', 'allow', { paths: ['/rest'] }),
    ];
    await using proxy = await testProxy({
      authority,
      destinations: [testDestination({ upstream: at, rules: allows })],
    });
    const secret = `X-Count: ${CANARY}\r\nAuthorization: Bearer ${CANARY}\r\nCookie: a=${CANARY}\r\n`;
    const refused = await get(proxy, `/?t=${CANARY}`, secret);
    t.match(refusal(refused), {
      message: /no rule .*; a condition could not be evaluated: many: a text is no number;/,
    });
    t.equal(statusOf(await get(proxy, '/rest', secret)), 200);
    proxy.policy.set(
      policyOf(
        testDestination({
          upstream: at,
          rules: [rule('few', 'deny', { when: broken }), rule('all', 'allow')],
        }),
      ),
    );
    const denied = await get(proxy, '/rest', secret);
    t.match(refusal(denied), {
      rule: 'few',
      message: /could not be evaluated for GET \/rest \(a text is no number\)/,
    });
    t.equal(statusOf(await get(proxy, '/rest', 'X-Count: 3\r\n')), 200);
    await proxy.quiet();
    t.match(proxy.audit.of('decided'), [
      { effect: 'deny', code: 'no-rule-matched', policyError: 'many: a text is no number' },
      { effect: 'allow', code: 'allowed', rule: 'rest', policyError: 'many: a text is no number' },
      {
        effect: 'deny',
        code: 'condition-failed',
        rule: 'few',
        policyError: 'few: a text is no number',
      },
      { effect: 'allow', code: 'allowed', rule: 'all', policyError: undefined },
    ]);
    t.notMatch(refused + denied + proxy.audit.records.map(encodeRecord).join(''), CANARY);
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('mode report lets through what a condition would deny, and says why', async (t) => {
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({ authority });
  const rules = [rule('few', 'deny', { when: 'task.uses > 3' }), rule('all', 'allow')];
  await using proxy = await testProxy({
    authority,
    destinations: [
      testDestination({
        upstream: { host: '127.0.0.1', port: upstream.port },
        rules,
        report: true,
      }),
    ],
  });
  t.equal(statusOf(await get(proxy, '/')), 200);
  await proxy.quiet();
  t.match(proxy.audit.of('decided'), [
    { effect: 'allow', code: 'reported', rule: 'few', policyError: /^few: .*not known here/ },
  ]);
});

t.test(
  'an open stream is decided again by the conditions of a new policy, over its own facts',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({
      authority,
      http: (_request, response) => void (response.writeHead(200), response.write('first')),
    });
    const at = { host: '127.0.0.1', port: upstream.port };
    await using proxy = await testProxy({
      authority,
      destinations: [testDestination({ upstream: at })],
    });
    const [blue, red] = [await proxy.open(), await proxy.open()];
    for (const [line, tenant] of [
      [blue, 'blue'],
      [red, 'red'],
    ] as const) {
      line.write(
        `GET http://crm.internal/s HTTP/1.1\r\nHost: crm.internal\r\nX-Tenant: ${tenant}\r\n\r\n`,
      );
      await line.sees('first');
    }
    const only = rule('blue', 'allow', { when: 'request.header("x-tenant") == ["blue"]' });
    proxy.policy.set(policyOf(testDestination({ upstream: at, rules: [only] })));
    await red.ended();
    t.ok(red.reset);
    t.notOk(blue.reset);
    const effects = proxy.audit.of('redecided').map((one) => ('effect' in one ? one.effect : ''));
    t.ok(
      effects.length === 2 && effects.includes('allow') && effects.includes('deny'),
      effects.join(),
    );
    blue.socket.destroy();
  },
);
