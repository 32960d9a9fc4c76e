import { createServer } from 'node:net';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { policyOf, testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

t.test(
  'a local listener: origin-form to its own address or to a host of its destination, judged per request',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority });
    const destination = testDestination({
      listen: true,
      hosts: ['crm.internal', '*.crm.internal'],
      ports: [80, 8080],
      upstream: { host: '127.0.0.1', port: upstream.port },
    });
    await using proxy = await testProxy({ authority, destinations: [destination] });
    const port = proxy.port('crm');
    const rows: readonly (readonly [target: string, host: string, sent: string])[] = [
      ['/a', `127.0.0.1:${port}`, 'crm.internal'],
      ['/a', `localhost:${port}`, 'crm.internal'],
      ['/a', 'crm.internal', 'crm.internal'],
      ['/a', `crm.internal:${port}`, 'crm.internal'],
      ['/a', 'crm.internal:8080', 'crm.internal:8080'],
      ['/a', 'eu.crm.internal', 'eu.crm.internal'],
      ['http://crm.internal/a', 'crm.internal', 'crm.internal'],
    ];
    for (const [target, host, sent] of rows) {
      const answer = await proxy.ask(
        `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`,
        'crm',
      );
      t.equal(statusOf(answer), 200, `${target} ${host}`);
      t.match(answer, `"host","${sent}"`, `${target} ${host}`);
    }
    t.match(
      proxy.audit.of('decided'),
      rows.map(() => ({ entry: 'listener', destination: 'crm', path: '/a' })),
    );
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('a local listener turns away other hosts, other origins and tunnels (A4)', async (t) => {
  await using upstream = await rawUpstream();
  const other = testDestination({
    name: 'other',
    hosts: ['other.internal'],
    mode: 'plaintext',
    upstream: { host: '127.0.0.1', port: upstream.port },
  });
  const destination = testDestination({
    listen: true,
    mode: 'plaintext',
    upstream: { host: '127.0.0.1', port: upstream.port },
  });
  await using proxy = await testProxy({ destinations: [destination, other] });
  const port = proxy.port('crm');
  const own = `127.0.0.1:${port}`;
  const rows: readonly (readonly [title: string, request: string, status: number, code: string])[] =
    [
      ['a rebound name', `GET / HTTP/1.1\r\nHost: evil.com:${port}\r\n\r\n`, 421, 'misdirected'],
      ['another destination', 'GET / HTTP/1.1\r\nHost: other.internal\r\n\r\n', 421, 'misdirected'],
      [
        'another destination in absolute-form',
        'GET http://other.internal/ HTTP/1.1\r\nHost: other.internal\r\n\r\n',
        421,
        'misdirected',
      ],
      [
        'the listener itself in absolute-form',
        `GET http://${own}/ HTTP/1.1\r\nHost: ${own}\r\n\r\n`,
        421,
        'misdirected',
      ],
      [
        'absolute-form and Host differ',
        'GET http://crm.internal/ HTTP/1.1\r\nHost: other.internal\r\n\r\n',
        400,
        'ambiguous',
      ],
      [
        'a page of another origin',
        `GET / HTTP/1.1\r\nHost: ${own}\r\nOrigin: http://evil.com\r\n\r\n`,
        403,
        'denied',
      ],
      ...['cross-site', 'same-site', 'Cross-Site', ''].map(
        (from): [string, string, number, string] => [
          `an image or a link of a page (${from})`,
          `GET /delete?x=1 HTTP/1.1\r\nHost: ${own}\r\nSec-Fetch-Site: ${from}\r\n\r\n`,
          403,
          'denied',
        ],
      ),
      [
        'a page that says it twice',
        `GET / HTTP/1.1\r\nHost: ${own}\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: ` +
          `cross-site\r\n\r\n`,
        403,
        'denied',
      ],
      [
        'a page without an origin',
        `GET / HTTP/1.1\r\nHost: ${own}\r\nOrigin: null\r\n\r\n`,
        403,
        'denied',
      ],
      [
        'CONNECT',
        'CONNECT crm.internal:80 HTTP/1.1\r\nHost: crm.internal:80\r\n\r\n',
        501,
        'method-not-supported',
      ],
      [
        'a task reference',
        `GET / HTTP/1.1\r\nHost: ${own}\r\nProxy-Authorization: Basic x\r\n\r\n`,
        407,
        'task-unknown',
      ],
      ['an asterisk', `OPTIONS * HTTP/1.1\r\nHost: ${own}\r\n\r\n`, 400, 'malformed'],
    ];
  for (const [title, request, status, code] of rows) {
    const answer = await proxy.ask(request, 'crm');
    t.equal(statusOf(answer), status, title);
    t.equal(refusal(answer).code, code, title);
  }
  const same = await proxy.ask(
    `GET / HTTP/1.1\r\nHost: ${own}\r\nOrigin: http://${own}\r\nConnection: close\r\n\r\n`,
    'crm',
  );
  t.equal(statusOf(same), 200, 'its own origin');
  t.equal(upstream.connections.length, 1);
  await proxy.quiet();
  t.same(unpaired(proxy.audit.records), []);
});

t.test(
  'a raw TCP listener: bytes wrapped in mTLS, half-closes kept, one decision a connection',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({
      authority,
      raw: (socket) => {
        socket.write('hello ');
        socket.on('data', (chunk) => socket.write(chunk)).on('end', () => socket.end('bye'));
      },
    });
    const destination = testDestination({
      name: 'db',
      protocol: 'tcp',
      listen: true,
      hosts: ['db.internal'],
      ports: [5432],
      upstream: { host: '127.0.0.1', port: upstream.port },
    });
    await using proxy = await testProxy({ authority, destinations: [destination] });
    const line = await proxy.open('db');
    await line.sees('hello ');
    line.write('x'.repeat(100_000));
    line.socket.end();
    const all = await line.ended();
    t.equal(all.length, 100_009);
    t.match(all, /bye$/);
    await proxy.quiet();
    t.match(proxy.audit.of('decided'), [
      { entry: 'listener', destination: 'db', host: 'db.internal', port: 5432, effect: 'allow' },
    ]);
    t.match(proxy.audit.of('ended'), [
      {
        outcome: 'completed',
        sent: 100_000,
        received: 100_009,
        peer: 'spiffe://example.org/upstream',
      },
    ]);
    await upstream.quiet();
  },
);

t.test('a raw TCP listener: whatever goes wrong is a cut, and the record says what', async (t) => {
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({
    authority,
    id: '/mallory',
    raw: (socket) => void socket.resume(),
  });
  const tcp = (name: string, port: number): ReturnType<typeof testDestination> =>
    testDestination({
      name,
      protocol: 'tcp',
      listen: true,
      hosts: [`${name}.internal`],
      ports: [1],
      upstream: { host: '127.0.0.1', port },
    });
  await using proxy = await testProxy({
    authority,
    destinations: [tcp('wrong', upstream.port), tcp('refused', 1)],
  });
  for (const [name, outcome] of [
    ['wrong', 'upstream-identity'],
    ['refused', 'upstream-refused'],
  ] as const) {
    const line = await proxy.open(name);
    line.write('SECRET');
    await until(`${name} is cut`, () => line.reset);
    await proxy.quiet();
    t.match(proxy.audit.of('ended').at(-1), { outcome });
  }
  t.equal(upstream.received(), 0);
  t.same(unpaired(proxy.audit.records), []);
});

t.test(
  'listeners follow the policy: added, removed, given to another destination, and a port in use refuses the reload',
  async (t) => {
    await using upstream = await rawUpstream();
    const at = { host: '127.0.0.1', port: upstream.port };
    const crm = testDestination({ listen: true, mode: 'plaintext', upstream: at });
    await using proxy = await testProxy({ destinations: [crm] });
    const port = proxy.port('crm');
    const request = (host: string): string =>
      `GET / HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`;

    const next = policyOf(
      testDestination({
        name: 'new',
        hosts: ['new.internal'],
        listen: true,
        mode: 'plaintext',
        upstream: at,
      }),
    );
    await proxy.server.prepare(next);
    t.equal(await proxy.ask(request('new.internal'), 'new'), '', 'bound, but not yet current: cut');
    const idle = await proxy.open('crm');
    proxy.policy.set(next);
    t.equal(statusOf(await proxy.ask(request('new.internal'), 'new')), 200);
    await idle.ended();
    t.notOk(proxy.server.addresses.has('crm'), 'what is no longer needed is closed');
    t.not(proxy.port('new'), port);

    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    t.teardown(() => taken.close());
    const address = taken.address();
    const busy = typeof address === 'object' ? (address?.port ?? 0) : 0;
    const clash = policyOf(
      crm,
      testDestination({
        name: 'busy',
        hosts: ['busy.internal'],
        listen: busy,
        mode: 'plaintext',
        upstream: at,
      }),
    );
    await t.rejects(proxy.server.prepare(clash), {
      code: 'listen',
      message: `destination busy cannot listen on 127.0.0.1:${busy} (EADDRINUSE)`,
    });
    t.same(
      [...proxy.server.addresses.keys()].sort(),
      ['forward', 'new'],
      'nothing was half-applied',
    );

    const reused = proxy.port('new');
    proxy.policy.set(
      policyOf(
        testDestination({
          name: 'a',
          hosts: ['a.internal'],
          listen: reused,
          mode: 'plaintext',
          upstream: at,
        }),
      ),
    );
    await until('the port is bound anew', async () => proxy.server.addresses.has('a') || undefined);
    proxy.policy.set(
      policyOf(
        testDestination({
          name: 'b',
          hosts: ['b.internal'],
          listen: reused,
          mode: 'plaintext',
          upstream: at,
        }),
      ),
    );
    t.equal(proxy.port('b'), reused, 'the same address, for another destination');
    t.equal(statusOf(await proxy.ask(request('a.internal'), 'b')), 421);
    t.equal(statusOf(await proxy.ask(request('b.internal'), 'b')), 200);
  },
);

t.test(
  'a listener that cannot be bound at start refuses to start and names the address',
  async (t) => {
    const taken = createServer();
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
    t.teardown(() => taken.close());
    const address = taken.address();
    const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
    await t.rejects(testProxy({ destinations: [testDestination({ listen: port })] }), {
      code: 'listen',
      exit: 71,
    });
  },
);
