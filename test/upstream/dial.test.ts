import { createServer } from 'node:net';
import { dnsResolver } from '../../lib/upstream/resolver.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

/**
 * The machine's own addresses are loopback here, so what a name leads to is allowed only where the
 * operator wrote the literal.
 */
t.test(
  'addresses of an answer are judged, all of them, before anything is dialled (S2, S3, S4, S7)',
  async (t) => {
    await using upstream = await rawUpstream();
    const answers: Readonly<Record<string, readonly string[]>> = {
      'loopback.example.com': ['127.0.0.1'],
      'metadata.example.com': ['169.254.169.254'],
      'private.example.com': ['10.0.0.1'],
      'zero.example.com': ['0.0.0.0'],
      'mapped.example.com': ['::ffff:127.0.0.1'],
      'nat64.example.com': ['64:ff9b::7f00:1'],
      'mixed.example.com': ['93.184.215.14', '127.0.0.1'],
      'none.example.com': [],
    };
    await using proxy = await testProxy({
      identity: 'none',
      names: answers,
      destinations: [
        testDestination({
          name: 'any',
          hosts: ['*.example.com'],
          ports: [upstream.port],
          mode: 'plaintext',
          insecure: true,
        }),
      ],
    });
    for (const name of Object.keys(answers)) {
      const answer = await proxy.get(`http://${name}:${upstream.port}/`);
      const { code } = refusal(answer);
      t.equal(code, name.startsWith('none') ? 'upstream-unresolved' : 'address-refused', name);
      t.equal(statusOf(answer), name.startsWith('none') ? 502 : 403, name);
    }
    t.same(
      proxy.asked,
      Object.keys(answers).map((name) => `${name}.`),
      'asked once each, absolutely (S9)',
    );
    t.same(upstream.connections, []);
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'a name is asked once for a connection: an answer that changes between check and use changes nothing (S6)',
  async (t) => {
    await using upstream = await rawUpstream();
    let asked = 0;
    const resolver = {
      resolve: async (): Promise<readonly string[]> => {
        asked += 1;
        return asked === 1 ? ['10.1.2.3'] : ['127.0.0.1'];
      },
    };
    await using proxy = await testProxy({
      identity: 'none',
      options: { resolver },
      destinations: [
        testDestination({
          hosts: ['rebind.example.com'],
          ports: [upstream.port],
          mode: 'plaintext',
          insecure: true,
        }),
      ],
    });
    const answer = await proxy.get(`http://rebind.example.com:${upstream.port}/`);
    t.match(refusal(answer), { code: 'address-refused', message: /10\.1\.2\.3/ });
    t.equal(asked, 1);
    t.same(upstream.connections, []);
  },
);

t.test(
  'names the operator wrote may use the search list; a literal is not asked for (S9)',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority });
    await using proxy = await testProxy({
      authority,
      names: { 'crm.prod': ['127.0.0.1'] },
      destinations: [
        testDestination({ upstream: { host: 'crm.prod', port: upstream.port } }),
        testDestination({
          name: 'literal',
          hosts: ['literal.internal'],
          upstream: { host: '127.0.0.1', port: upstream.port },
        }),
      ],
    });
    t.match(refusal(await proxy.get('http://crm.internal/')), {
      code: 'address-refused',
      message: /crm\.prod resolves to 127\.0\.0\.1/,
    });
    t.equal(statusOf(await proxy.get('http://literal.internal/')), 200);
    t.same(proxy.asked, ['crm.prod']);
  },
);

t.test('the next judged address is tried when one refuses; none left is 502', async (t) => {
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({ authority, host: '127.0.0.1' });
  // Nothing listens on 127.0.0.2 at that port.
  const { dialler } = await import('../../lib/upstream/dial.ts');
  const { routes } = await import('../../lib/upstream/route.ts');
  const { tlsContexts } = await import('../../lib/tls/context.ts');
  const { systemClock } = await import('../../lib/base/clock.ts');
  const dial = dialler({
    resolver: dnsResolver({ clock: systemClock }),
    contexts: tlsContexts(),
    clock: systemClock,
    own: () => false,
  });
  const destination = testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } });
  const facts = {
    entry: 'forward',
    host: 'crm.internal',
    port: 80,
    listener: undefined,
    http: undefined,
    time: 0,
  } as const;
  const route = routes().to(destination, facts);
  const by = {
    identity: authority.identity(await authority.svid('/agent')),
    signal: new AbortController().signal,
  };
  const reached = await dial.connect(route, ['127.0.0.2', '127.0.0.1'], by);
  t.equal(reached.address, `127.0.0.1:${upstream.port}`);
  reached.socket.destroy();
  await t.rejects(dial.connect(route, ['127.0.0.2', '127.0.0.3'], by), {
    code: 'upstream-refused',
    http: 502,
  });
});

t.test('our own listeners are never dialled: 508 (S11)', async (t) => {
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const info = taken.address();
  const port = typeof info === 'object' ? (info?.port ?? 0) : 0;
  await new Promise((resolve) => taken.close(resolve));
  const self = testDestination({
    name: 'self',
    hosts: ['self.internal'],
    mode: 'plaintext',
    upstream: { host: '127.0.0.1', port },
  });
  const health = testDestination({
    name: 'health',
    hosts: ['health.internal'],
    mode: 'plaintext',
    upstream: { host: '127.0.0.1', port: 1 },
  });
  await using proxy = await testProxy({
    identity: 'none',
    destinations: [self, health],
    options: {
      sidecar: {
        forward: { host: '127.0.0.1', port },
        health: { host: '0.0.0.0', port: 1 },
        audit: { onFailure: 'deny' },
      },
    },
  });
  for (const name of ['self', 'health']) {
    const answer = await proxy.get(`http://${name}.internal/`);
    t.equal(statusOf(answer), 508, name);
    t.match(refusal(answer), { code: 'loop', message: /own listener/ });
  }
  t.equal(proxy.audit.of('decided').length, 2, 'nothing came back in');
});

t.test('plaintext reaches loopback alone unless insecure is written', async (t) => {
  await using proxy = await testProxy({
    identity: 'none',
    names: { 'plain.example.com': ['93.184.215.14'] },
    destinations: [testDestination({ hosts: ['plain.example.com'], mode: 'plaintext' })],
  });
  t.match(refusal(await proxy.get('http://plain.example.com/')), {
    code: 'address-refused',
    message: /insecure: true/,
  });
});

t.test(
  'an upstream that does not answer the connection, the handshake or the request is 504 in the time of its phase',
  async (t) => {
    const authority = await testAuthority();
    await using silent = await rawUpstream({
      raw: (socket) => void socket.resume().on('end', () => socket.end()),
    });
    const at = { host: '127.0.0.1', port: silent.port };
    const never = { resolve: () => new Promise<never>(() => {}) };
    await using proxy = await testProxy({
      authority,
      options: { resolver: never },
      destinations: [
        testDestination({ name: 'dns', hosts: ['dns.example.com'], timeouts: { connect: 200 } }),
        testDestination({
          name: 'tls',
          hosts: ['tls.internal'],
          upstream: at,
          timeouts: { connect: 200 },
        }),
        testDestination({
          name: 'head',
          hosts: ['head.internal'],
          mode: 'plaintext',
          upstream: at,
          timeouts: { headers: 200 },
        }),
      ],
    });
    for (const [host, limit] of [
      ['dns.example.com', 'connect'],
      ['tls.internal', 'connect'],
      ['head.internal', 'headers'],
    ] as const) {
      const began = performance.now();
      const answer = await proxy.get(`http://${host}/`);
      t.equal(statusOf(answer), 504, host);
      t.match(
        refusal(answer),
        { code: 'upstream-timeout', message: new RegExp(`timeouts.${limit}`) },
        host,
      );
      t.ok(performance.now() - began < 2000, 'in time');
    }
    await proxy.quiet();
    await silent.quiet();
    t.same(unpaired(proxy.audit.records), []);
  },
);
