import t from 'tap';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { rule, testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { mtlsUpstream } from '../support/upstream.ts';

t.test(
  'absolute-form to an mTLS upstream: the peer is verified, the SVID shown, both records written',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority });
    await using proxy = await testProxy({
      authority,
      destinations: [testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } })],
    });
    const answer = await proxy.get('http://crm.internal/v1/customers?q=1');
    t.equal(statusOf(answer), 200, answer);
    t.match(answer, /chaperone-decision: [0-9a-f-]{36}/);
    const seen = upstream.connections[0];
    t.equal(seen?.spiffeId, 'spiffe://example.org/agent');
    t.match(seen?.plain.text, /^GET \/v1\/customers\?q=1 HTTP\/1\.1\r\nhost: crm\.internal\r\n/);
    await proxy.quiet();
    const [decided] = proxy.audit.of('decided');
    const [ended] = proxy.audit.of('ended');
    t.match(decided, {
      entry: 'forward',
      effect: 'allow',
      rule: 'all',
      path: '/v1/customers',
      host: 'crm.internal',
      identity: 1,
    });
    t.match(ended, {
      outcome: 'completed',
      status: 200,
      peer: 'spiffe://example.org/upstream',
      address: `127.0.0.1:${upstream.port}`,
    });
    t.notMatch(JSON.stringify(proxy.audit.records), 'q=1', 'no query in a record');
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'a denial has the words of the decision, resolves nothing and opens no connection (S10)',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority });
    const rules = [
      rule('no-admin', 'deny', { paths: ['/admin/**'] }),
      rule('read', 'allow', { methods: ['GET'] }),
    ];
    await using proxy = await testProxy({
      authority,
      destinations: [
        testDestination({ upstream: { host: '127.0.0.1', port: upstream.port }, rules }),
      ],
    });
    const answer = await proxy.get('http://crm.internal/%61dmin/users');
    t.equal(statusOf(answer), 403);
    t.match(refusal(answer), {
      code: 'denied',
      rule: 'no-admin',
      message:
        /^rule no-admin of destination crm denies GET \/admin\/users; .*; do not repeat it as it is$/,
    });
    const unlisted = await proxy.get('http://secret.evil.com/');
    t.match(refusal(unlisted), {
      code: 'denied',
      message: /^no destination has secret.evil.com:80/,
    });
    for (const path of ['/x/../admin/users', '/x//admin/users', '/./admin/users']) {
      const unclear = await proxy.get(`http://crm.internal${path}`);
      t.match([statusOf(unclear), refusal(unclear).code], [400, 'ambiguous'], path);
    }
    await proxy.quiet();
    const reasons = proxy.audit
      .of('decided')
      .map((one) => ('reason' in one ? (one.reason ?? '') : ''));
    for (const [i, one] of [answer, unlisted].entries())
      t.ok(refusal(one).message.startsWith(reasons[i] ?? '?'), 'the words of the record');
    t.same(upstream.connections, []);
    t.same(proxy.asked, []);
    t.same(unpaired(proxy.audit.records), []);
  },
);
