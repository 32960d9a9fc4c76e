/**
 * HTTP in the clear inside a CONNECT tunnel is judged request by request; anything else there goes
 * nowhere.
 */
import t from 'tap';
import { type TestConnection, testConnectionOver } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { hello } from '../support/client-hello.ts';
import { type DestinationOptions, rule, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { type MtlsUpstream, mtlsUpstream } from '../support/upstream.ts';

/** CONNECT, and the inside of the tunnel as a connection of its own. */
async function within(proxy: TestProxy, authority = 'crm.internal:80'): Promise<TestConnection> {
  const line = await proxy.open();
  line.write(`CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n\r\n`);
  await line.sees(/^HTTP\/1\.1 200 [^]*\r\n\r\n/);
  line.socket.removeAllListeners();
  return testConnectionOver(line.socket);
}

interface World extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly upstream: MtlsUpstream;
}

async function world(more: DestinationOptions = {}): Promise<World> {
  const authority = await testAuthority();
  const upstream = await mtlsUpstream({ authority });
  const rules = [
    rule('no-admin', 'deny', { paths: ['/admin/**'] }),
    rule('read', 'allow', { methods: ['GET'], paths: ['/**'] }),
  ];
  const at = { host: '127.0.0.1', port: upstream.port };
  const proxy = await testProxy({
    authority,
    destinations: [testDestination({ upstream: at, rules, ...more })],
  });
  return {
    proxy,
    upstream,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

t.test(
  'requests inside are judged one by one, in both forms, and leave their own records',
  async (t) => {
    await using w = await world();
    const { proxy, upstream } = w;
    const line = await within(proxy);
    line.write('GET /v1/a HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await line.sees(/^HTTP\/1\.1 200 /);
    line.write('GET http://crm.internal:80/v1/b HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await line.sees(/HTTP\/1\.1 200 [^]*HTTP\/1\.1 200 /);
    line.write('GET /admin/x HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await line.sees(/HTTP\/1\.1 403 [^]*rule no-admin/);
    line.socket.end();
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
    const [connect, ...requests] = proxy.audit.of('decided');
    t.match(connect, { entry: 'connect', effect: 'allow', reason: /inspected/ });
    const tunnel = connect?.kind === 'decided' ? connect.exchange : '';
    t.match(requests, [
      { entry: 'cleartext', effect: 'allow', path: '/v1/a', tunnel },
      { entry: 'cleartext', effect: 'allow', path: '/v1/b', tunnel },
      { entry: 'cleartext', effect: 'deny', rule: 'no-admin', tunnel },
    ]);
    const ended = proxy.audit
      .of('ended')
      .find((one) => one.kind === 'ended' && one.exchange === tunnel);
    t.ok(
      ended?.kind === 'ended' && ended.sent > 100 && ended.received > 300,
      'the bytes of the tunnel are counted',
    );
    t.equal(upstream.connections.length, 1);
    t.notMatch(upstream.connections[0]?.plain.text ?? '', /admin/);
  },
);

t.test(
  'a request for another host or port than that of the CONNECT is 421, and is sent nowhere',
  async (t) => {
    await using w = await world();
    for (const head of [
      'GET / HTTP/1.1\r\nHost: other.internal',
      'GET / HTTP/1.1\r\nHost: crm.internal:8080',
      'GET http://other.internal/ HTTP/1.1\r\nHost: other.internal',
      'GET http://crm.internal/ HTTP/1.1\r\nHost: other.internal',
    ]) {
      const line = await within(w.proxy);
      line.write(`${head}\r\n\r\n`);
      t.match(await line.sees(/\r\n\r\n/), /^HTTP\/1\.1 421 /, head);
      line.socket.destroy();
    }
    await w.proxy.quiet();
    t.same(w.upstream.connections, []);
    t.same(unpaired(w.proxy.audit.records), []);
  },
);

t.test('TLS where nothing is intercepted gets an alert and the record wrong-entry', async (t) => {
  await using w = await world();
  const line = await within(w.proxy);
  line.write(await hello('crm.internal'));
  const seen = Buffer.from(await line.ended(), 'latin1');
  t.same([...seen], [0x15, 3, 3, 0, 2, 2, 49], 'a fatal alert access_denied');
  t.equal(line.reset, false, 'which no reset overtakes');
  await w.proxy.quiet();
  t.match(w.proxy.audit.of('ended'), [
    { outcome: 'wrong-entry', reason: /there is TLS in the tunnel/ },
  ]);
  t.same(w.upstream.connections, []);
});

t.test('443 means TLS: a CONNECT to it stays refused where nothing is intercepted', async (t) => {
  await using w = await world({ ports: [443] });
  const answer = await w.proxy.ask(
    'CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal:443\r\n\r\n',
  );
  t.match(answer, /^HTTP\/1\.1 403 chaperone: destination crm is not served over CONNECT/);
});

t.test(
  'what says nothing is waited for only so long, and what is neither TLS nor HTTP is refused',
  async (t) => {
    await using w = await world();
    const line = await within(w.proxy);
    line.write('SSH-2.0-client\r\n\r\n');
    t.match(await line.ended(), /^HTTP\/1\.1 400 /);
    await w.proxy.quiet();
    t.same(unpaired(w.proxy.audit.records), []);
    t.same(w.upstream.connections, []);
  },
);
