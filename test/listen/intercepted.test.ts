/**
 * Interception: what is inside a CONNECT tunnel is judged request by request, or nothing of it gets
 * through.
 */
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { connect as tlsConnect } from 'node:tls';
import { systemClock } from '../../lib/base/clock.ts';
import { openInterception } from '../../lib/interception/authority.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { hello, withExtension } from '../support/client-hello.ts';
import { policyOf, rule } from '../support/destination.ts';
import { openTunnel, tlsInTunnel } from '../support/tunnel.ts';
import {
  type TestInterception,
  saasDestination,
  testInterception,
} from '../support/interception.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const GET = (path: string, host = 'api.example.com', more = ''): string =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\n${more}\r\n`;

t.test(
  'requests inside a tunnel are judged one by one, on one connection, and each leaves its own records',
  async (t) => {
    await using w = await testInterception(t);
    const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
    agent.write(GET('/v1/items?page=2'));
    await agent.sees(/^HTTP\/1\.1 200 [^]*"url":"\/v1\/items\?page=2"/);
    agent.write(
      `POST /v1/items HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 5\r\n\r\nhello`,
    );
    await agent.sees(/"body":"hello"/);
    agent.write(GET('/export/all'));
    const all = await agent.ended();
    t.match(all, /HTTP\/1\.1 403 [^]*rule no-exports of destination saas denies GET \/export\/all/);
    await w.proxy.quiet();

    const [connect, ...requests] = w.proxy.audit.of('decided');
    t.match(connect, {
      entry: 'connect',
      effect: 'allow',
      destination: 'saas',
      reason: /is intercepted/,
    });
    const within = connect?.kind === 'decided' ? connect.exchange : '';
    t.match(requests, [
      {
        entry: 'intercept',
        effect: 'allow',
        rule: 'read',
        method: 'GET',
        path: '/v1/items',
        tunnel: within,
        host: 'api.example.com',
        port: 443,
      },
      { entry: 'intercept', effect: 'allow', rule: 'read', method: 'POST', tunnel: within },
      {
        entry: 'intercept',
        effect: 'deny',
        rule: 'no-exports',
        code: 'denied-by-rule',
        tunnel: within,
      },
    ]);
    t.same(unpaired(w.proxy.audit.records), []);
    const ended = w.proxy.audit
      .of('ended')
      .find((one) => one.kind === 'ended' && one.exchange === within);
    t.match(ended, { outcome: 'completed', status: 200 });
    t.ok(
      ended?.kind === 'ended' && ended.sent > 150 && ended.received > 400,
      'the tunnel’s bytes are counted',
    );
    t.ok(
      w.upstream.connections.length <= 2,
      'a POST has one of its own until the upstream is known to keep them',
    );
    t.notMatch(w.upstream.connections.map(({ plain }) => plain.text).join(''), /export/);
    t.match(
      w.upstream.connections[0]?.plain.text ?? '',
      /^GET \/v1\/items\?page=2 HTTP\/1\.1\r\nhost: api\.example\.com\r\n/,
    );
    t.equal(w.upstream.connections[0]?.serverName, 'api.example.com');
  },
);

t.test(
  'the agent is shown a certificate for its host alone, by TLS 1.2 and 1.3, and HTTP/1.1 is agreed on',
  async (t) => {
    await using w = await testInterception(t, { destination: { hosts: ['*.example.com'] } });
    for (const version of ['TLSv1.2', 'TLSv1.3'] as const) {
      const line = await openTunnel(w.proxy, 'www.example.com:443');
      line.socket.removeAllListeners('data');
      const tls = tlsConnect({
        socket: line.socket,
        servername: 'www.example.com',
        ca: w.ca,
        minVersion: version,
        maxVersion: version,
        ALPNProtocols: ['http/1.1'],
      });
      await new Promise((resolve, reject) =>
        tls.once('secureConnect', resolve).once('error', reject),
      );
      t.equal(tls.getProtocol(), version);
      t.equal(tls.alpnProtocol, 'http/1.1');
      t.equal(tls.getPeerX509Certificate()?.subjectAltName, 'DNS:www.example.com');
      t.equal(tls.isSessionReused(), false);
      tls.destroy();
    }
    const old = await openTunnel(w.proxy, 'www.example.com:443');
    old.socket.removeAllListeners('data');
    const tls = tlsConnect({
      socket: old.socket,
      servername: 'www.example.com',
      ca: w.ca,
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    await t.rejects(
      new Promise((resolve, reject) => tls.once('secureConnect', resolve).once('error', reject)),
    );
  },
);

t.test(
  'inner authority other than the tunnel’s is 421, in Host and in the target, first and later (A2, A3)',
  async (t) => {
    const rows: readonly (readonly [string, string])[] = [
      ['another host', GET('/', 'evil.example.com')],
      ['a host that another destination has', GET('/', 'other.example.com')],
      ['another port', GET('/', 'api.example.com:8443')],
      ['port 80', GET('/', 'api.example.com:80')],
      ['absolute-form', GET('https://other.example.com/', 'api.example.com')],
      ['absolute-form and Host alike', GET('https://other.example.com/', 'other.example.com')],
      ['absolute-form with another port', GET('https://api.example.com:444/', 'api.example.com')],
    ];
    await using w = await testInterception(t, { destination: { hosts: ['api.example.com'] } });
    w.proxy.policy.set(
      policyOf(
        saasDestination(w.upstream.port, w.authority),
        saasDestination(w.upstream.port, w.authority, {
          name: 'other',
          hosts: ['other.example.com'],
        }),
      ),
    );
    for (const [title, request] of rows) {
      const alone = await tlsInTunnel(w.proxy, { ca: w.ca });
      alone.write(request);
      t.match(
        refusal(await alone.ended()),
        { code: 'misdirected', message: /its tunnel goes to api\.example\.com:443/ },
        title,
      );
      t.equal(statusOf(alone.text), 421, title);
    }
    t.same(w.upstream.connections, [], 'not one byte reached an upstream');
    for (const [title, request] of rows) {
      const second = await tlsInTunnel(w.proxy, { ca: w.ca });
      second.write(GET('/first') + request);
      const all = await second.ended();
      t.match(all, /^HTTP\/1\.1 200 [^]*HTTP\/1\.1 421 /, title);
    }
    await w.proxy.quiet();
    const reached = w.upstream.connections.map(({ plain }) => plain.text).join('');
    t.equal(reached.match(/^GET /gm)?.length, rows.length, 'the first requests alone');
    t.notMatch(reached, /evil|other/);
    t.same(unpaired(w.proxy.audit.records), []);
    t.equal(w.proxy.audit.of('refused').length, 2 * rows.length);
    t.match(w.proxy.audit.of('refused')[0], { entry: 'intercept', code: 'misdirected' });
  },
);

t.test('absolute-form https:// and a port that is said are the same host', async (t) => {
  await using w = await testInterception(t);
  const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
  agent.write(
    GET('https://api.example.com/a', 'api.example.com:443') + GET('/b', 'API.example.com.'),
  );
  await agent.sees(/"url":"\/a"[^]*"url":"\/b"/);
  agent.write(GET('http://api.example.com/c'));
  t.match(await agent.ended(), /400 Bad Request[^]*neither a path nor an https/);
});

t.test(
  'what else is no request for the tunnel is refused inside, and reaches nobody',
  async (t) => {
    await using w = await testInterception(t);
    const rows: readonly (readonly [string, string, number])[] = [
      ['no Host', 'GET / HTTP/1.0\r\n\r\n', 400],
      [
        'two Hosts',
        'GET / HTTP/1.1\r\nHost: api.example.com\r\nHost: api.example.com\r\n\r\n',
        400,
      ],
      [
        'CONNECT inside',
        'CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com:443\r\n\r\n',
        501,
      ],
      ['TRACE', 'TRACE / HTTP/1.1\r\nHost: api.example.com\r\n\r\n', 501],
      [
        'a task reference inside',
        GET('/', 'api.example.com', 'Proxy-Authorization: Basic YTpi\r\n'),
        407,
      ],
      ['user information', GET('https://a@api.example.com/'), 400],
      ['a path that is climbed out of', GET('/a/%2e%2e/%2e%2e/x'), 400],
      ['a method override', GET('/', 'api.example.com', 'X-HTTP-Method-Override: DELETE\r\n'), 400],
      [
        'two lengths',
        'POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: ' +
          '1\r\nTransfer-Encoding: chunked\r\n\r\n',
        400,
      ],
      ['no HTTP', 'SSH-2.0-OpenSSH_9.6\r\n\r\n', 400],
      ['the preface of HTTP/2 that was not agreed on', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    ];
    for (const [title, bytes, status] of rows) {
      const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
      agent.write(bytes);
      t.equal(statusOf(await agent.ended()), status, title);
    }
    await w.proxy.quiet();
    t.same(w.upstream.connections, []);
    t.same(unpaired(w.proxy.audit.records), []);
  },
);

t.test(
  'a tunnel whose TLS is not for the host of the CONNECT, or is no TLS, opens no connection (A1, A12, A13, T3)',
  async (t) => {
    await using w = await testInterception(t);
    const ech = withExtension(await hello('evil.example.com'), 0xfe0d);
    const agents: readonly (readonly [
      string,
      (line: Awaited<ReturnType<typeof openTunnel>>) => void,
      RegExp,
    ])[] = [
      [
        'another SNI (A1)',
        (line) =>
          void tlsConnect({ socket: line.socket, servername: 'evil.example.com' }).on(
            'error',
            () => {},
          ),
        /asks for evil\.example\.com/,
      ],
      [
        'no SNI (A1)',
        (line) => void tlsConnect({ socket: line.socket }).on('error', () => {}),
        /names no server/,
      ],
      [
        'encrypted ClientHello beside another SNI (A12)',
        (line) => line.write(ech),
        /asks for evil/,
      ],
      ['plain HTTP (T3)', (line) => line.write(GET('/')), /no TLS handshake/],
      ['SSH (T3)', (line) => line.write('SSH-2.0-OpenSSH_9.6\r\n'), /no TLS handshake/],
      [
        'half a ClientHello (A13)',
        (line) => (line.write(Buffer.from([22, 3, 1, 2, 0, 1, 0])), line.socket.end()),
        /the tunnel ended before it said what is in it/,
      ],
      [
        'a record that is too long (A13)',
        (line) => line.write(Buffer.from([22, 3, 1, 255, 255, 1])),
        /a record of 65535 bytes/,
      ],
    ];
    for (const [title, act, reason] of agents) {
      const before = w.proxy.audit.records.length;
      const line = await openTunnel(w.proxy);
      line.socket.removeAllListeners('data');
      act(line);
      line.socket.resume();
      await until(`${title} is recorded`, () =>
        w.proxy.audit.records.slice(before).some(({ kind }) => kind === 'ended'),
      );
      t.match(
        w.proxy.audit.records.slice(before).find(({ kind }) => kind === 'ended'),
        { reason },
        title,
      );
      line.socket.destroy();
    }
    t.same(w.interception.leaves(), { kept: 1, issued: 1 }, 'for the decided host alone');
    t.same(w.upstream.connections, []);
    t.same(unpaired(w.proxy.audit.records), []);
  },
);

t.test(
  'an agent that does not trust the CA, or pins, gets nothing, and the record says why (T6)',
  async (t) => {
    await using w = await testInterception(t);
    const other = await testAuthority();
    await t.rejects(
      tlsInTunnel(w.proxy, { ca: other.pem }),
      /unable to verify|self-signed|unable to get/,
    );
    await w.proxy.quiet();
    t.match(w.proxy.audit.of('ended').at(-1), {
      outcome: 'client-tls',
      reason:
        /^the agent (does not trust our certificate|completed no TLS handshake) for api\.example\.com/,
    });
    t.same(w.upstream.connections, [], 'no fall-open');
    t.same(unpaired(w.proxy.audit.records), []);
  },
);

t.test(
  'an agent that leaves in the middle of the handshake is recorded as one that may not trust the CA (T6)',
  async (t) => {
    await using w = await testInterception(t);
    for (const leave of ['destroy', 'resetAndDestroy', 'end'] as const) {
      const before = w.proxy.audit.records.length;
      const line = await openTunnel(w.proxy);
      const answered = line.text.length;
      line.write(await hello('api.example.com'));
      await until('our certificate came', () => line.text.length > answered);
      line.socket[leave]();
      await w.proxy.quiet();
      const ended = w.proxy.audit.records.slice(before).find(({ kind }) => kind === 'ended');
      t.match(
        ended,
        { outcome: 'client-tls', reason: /completed no TLS handshake for api\.example\.com/ },
        leave,
      );
    }
    t.same(w.upstream.connections, []);
    t.same(unpaired(w.proxy.audit.records), []);
  },
);

t.test(
  'an upstream that cannot be verified is a 502 inside, and gets no request (T6, A14)',
  async (t) => {
    const rows: readonly (readonly [
      string,
      { readonly dns?: readonly string[]; readonly notAfter?: number; readonly notBefore?: number },
      string,
    ])[] = [
      ['another name', { dns: ['www.example.com'] }, 'upstream-identity'],
      ['expired', { dns: ['api.example.com'], notBefore: 0, notAfter: 1000 }, 'upstream-tls'],
    ];
    for (const [title, leaf, code] of rows) {
      const authority = await testAuthority();
      const svid = await authority.svid('/saas', leaf);
      await using w = await testInterception(t, {
        upstream: { authority, svid },
        destination: { roots: [authority.pem] },
      });
      const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
      agent.write(GET('/secret'));
      await agent.sees(/^HTTP\/1\.1 502 [^]*\]\n/);
      t.equal(refusal(agent.text).code, code, title);
      t.equal(w.upstream.received(), 0, title);
      agent.tls.destroy();
      await w.proxy.quiet();
      t.same(unpaired(w.proxy.audit.records), []);
    }
  },
);

t.test(
  'without a running authority for the host a tunnel is refused before it opens',
  async (t) => {
    await using upstream = await rawUpstream();
    const authority = await testAuthority();
    using narrow = await openInterception({
      domains: ['example.org'],
      folder: undefined,
      clock: systemClock,
    });
    for (const interception of [undefined, narrow]) {
      await using proxy = await testProxy({
        identity: 'none',
        destinations: [saasDestination(upstream.port, authority)],
        options: { interception },
      });
      const answer = await proxy.ask(
        'CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n',
      );
      t.equal(statusOf(answer), 403);
      t.match(refusal(answer), {
        code: 'wrong-entry',
        message: /cannot stand in for api\.example\.com:443.*start the sidecar again/,
      });
      t.same(unpaired(proxy.audit.records), []);
    }
    t.same(upstream.connections, []);
  },
);

t.test(
  'a destination that is not intercepted stays refused over CONNECT to 443 (T1)',
  async (t) => {
    for (const refusals of ['connect', 'inside'] as const) {
      await using w = await testInterception(t, { destination: { intercept: false }, refusals });
      const answer =
        refusals === 'connect'
          ? await w.proxy.ask(
              'CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n',
            )
          : await refusedInside(w);
      t.equal(statusOf(answer), 403, refusals);
      t.match(refusal(answer), { code: 'wrong-entry', message: /tls\.intercept: true/ }, refusals);
      await w.proxy.quiet();
      t.same(unpaired(w.proxy.audit.records), []);
      t.same(w.upstream.connections, []);
    }
  },
);

async function refusedInside(w: TestInterception): Promise<string> {
  const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
  agent.write(GET('/secret'));
  return agent.ended();
}

t.test('a WebSocket inside a tunnel is a request like any other, then frames', async (t) => {
  const authority = await testAuthority();
  const svid = await authority.svid('/saas', { dns: ['api.example.com'] });
  const rules = [rule('ws', 'allow', { paths: ['/ws'], websocket: true }), rule('read', 'allow')];
  await using w = await testInterception(t, {
    destination: { rules, roots: [authority.pem] },
    upstream: {
      authority,
      svid,
      raw: (socket: Duplex) =>
        void socket.once('data', (head: Buffer) => {
          const key = /sec-websocket-key: (\S+)/i.exec(head.toString('latin1'))?.[1] ?? '';
          const accept = createHash('sha1')
            .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
            .digest('base64');
          socket.write(
            `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: ` +
              `Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
          );
          socket.on('data', (chunk: Buffer) => socket.write(chunk)).on('end', () => socket.end());
        }),
    },
  });
  const upgrade = (path: string): string =>
    GET(
      path,
      'api.example.com',
      'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: ' +
        '13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n',
    );
  const refused = await tlsInTunnel(w.proxy, { ca: w.ca });
  refused.write(upgrade('/other'));
  t.match(await refused.ended(), /^HTTP\/1\.1 403 /);
  const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
  agent.write(upgrade('/ws'));
  await agent.sees(/^HTTP\/1\.1 101 [^]*\r\n\r\n/);
  agent.write('frame');
  await agent.sees(/frame$/);
  agent.tls.end();
  await agent.ended();
  await w.proxy.quiet();
  t.match(
    w.proxy.audit.of('ended').find((one) => one.kind === 'ended' && one.status === 101),
    { outcome: 'completed', sent: 5, received: 5 },
  );
  t.same(unpaired(w.proxy.audit.records), []);
});

t.test(
  'a policy that no longer allows the destination cuts its tunnels; one that no longer intercepts it too',
  async (t) => {
    for (const next of ['gone', 'plain'] as const) {
      await using w = await testInterception(t);
      const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
      agent.write(GET('/a'));
      await agent.sees('"/a"');
      w.proxy.policy.set(
        next === 'gone'
          ? policyOf()
          : policyOf(saasDestination(w.upstream.port, w.authority, { intercept: false })),
      );
      await agent.ended();
      await w.proxy.quiet();
      t.match(w.proxy.audit.of('ended').at(-1), { outcome: 'no-longer-allowed' }, next);
      t.same(unpaired(w.proxy.audit.records), []);
    }
  },
);

t.test('rules that change hold for the next request in an open tunnel', async (t) => {
  await using w = await testInterception(t);
  const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
  agent.write(GET('/a'));
  await agent.sees('"/a"');
  w.proxy.policy.set(
    policyOf(
      saasDestination(w.upstream.port, w.authority, {
        rules: [rule('none', 'deny'), rule('read', 'allow')],
      }),
    ),
  );
  agent.write(GET('/b'));
  t.match(await agent.ended(), /HTTP\/1\.1 403 [^]*rule none/);
  t.notMatch(w.upstream.connections[0]?.plain.text ?? '', '/b');
});

t.test('idle tunnels take no place of the destination and end when the proxy drains', async (t) => {
  await using w = await testInterception(t, { destination: { limits: { concurrent: 1 } } });
  const agents = [
    await tlsInTunnel(w.proxy, { ca: w.ca }),
    await tlsInTunnel(w.proxy, { ca: w.ca }),
    await tlsInTunnel(w.proxy, { ca: w.ca }),
  ];
  for (const agent of agents) {
    agent.write(GET('/a'));
    await agent.sees('"/a"');
  }
  t.equal(w.proxy.server.live(), 3);
  await w.proxy.server.drain(new AbortController().signal);
  for (const agent of agents) await agent.ended();
  t.equal(w.proxy.server.live(), 0);
  t.same(
    new Set(w.proxy.audit.of('ended').map((one) => (one.kind === 'ended' ? one.outcome : ''))),
    new Set(['completed']),
  );
});

t.test(
  'an SVID is shown to the upstream in mode web-mtls and mtls, and a bearer token goes nowhere else',
  async (t) => {
    const authority = await testAuthority();
    const identity = authority.identity(await authority.svid('/agent'));
    for (const mode of ['mtls', 'web-mtls'] as const) {
      const svid = await authority.svid('/saas', { dns: ['api.example.com'] });
      await using w = await testInterception(t, {
        upstream: { authority, svid, client: 'require' },
        destination:
          mode === 'mtls'
            ? { mode, peers: ['spiffe://example.org/saas'], roots: undefined as never }
            : { mode, roots: [authority.pem] },
        proxy: { authority, identity },
      });
      const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
      agent.write(GET('/'));
      await agent.sees(/^HTTP\/1\.1 200 /);
      t.equal(w.upstream.connections[0]?.spiffeId, 'spiffe://example.org/agent', mode);
      agent.tls.destroy();
      await w.proxy.quiet();
    }
  },
);
