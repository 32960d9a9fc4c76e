import { spawn, spawnSync } from 'node:child_process';
import { Fault } from '../../lib/base/fault.ts';
import { abortSocket } from '../../lib/http1/sockets.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { MALFORMED_LEAVES, testAuthority } from '../support/authority.ts';
import { testDestination } from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const OK = 'HTTP/1.1 200 OK\r\n';

t.test(
  'an upstream with a wrong certificate is 502 with a code and gets no application byte (A14)',
  async (t) => {
    const authority = await testAuthority();
    const foreign = await testAuthority({ trustDomain: 'foreign.org' });
    const other = await testAuthority({ trustDomain: 'other.test' });
    const peers = ['spiffe://example.org/agent', 'spiffe://other.test/agent'];
    for (const row of MALFORMED_LEAVES) {
      await t.test(`${row.title} (${row.rule})`, async (t) => {
        const svid = await authority.svid(row.pathOrId ?? '/agent', row.options);
        await using upstream = await mtlsUpstream({ authority, svid });
        await using proxy = await testProxy({
          authority,
          identity: authority.identity(await authority.svid('/agent'), [other]),
          destinations: [
            testDestination({ peers, upstream: { host: '127.0.0.1', port: upstream.port } }),
          ],
        });
        const answer = await proxy.get('http://crm.internal/');
        t.equal(statusOf(answer), 502, answer);
        t.match(refusal(answer).code, /^(upstream-tls|upstream-identity|bad-svid)$/);
        t.equal(upstream.received(), 0);
        await proxy.quiet();
        t.match(proxy.audit.of('ended'), [{ outcome: refusal(answer).code, status: 502 }]);
        t.same(unpaired(proxy.audit.records), []);
      });
    }
    await t.test('an ID of a trust domain whose bundle is not known', async (t) => {
      await using upstream = await mtlsUpstream({
        authority,
        svid: await authority.svid('spiffe://other.test/agent'),
      });
      await using proxy = await testProxy({
        authority,
        destinations: [
          testDestination({ peers, upstream: { host: '127.0.0.1', port: upstream.port } }),
        ],
      });
      const answer = await proxy.get('http://crm.internal/');
      t.equal(statusOf(answer), 503, 'the bundle may come yet');
      t.match(refusal(answer), { code: 'no-trust-bundle', message: /other\.test; federate with/ });
      t.equal(upstream.received(), 0);
    });
    await t.test('a good certificate of a foreign trust domain', async (t) => {
      await using upstream = await mtlsUpstream({ authority: foreign, trusts: [authority] });
      const identity = authority.identity(await authority.svid('/agent'), [foreign]);
      await using proxy = await testProxy({
        authority,
        identity,
        destinations: [testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } })],
      });
      t.equal(statusOf(await proxy.get('http://crm.internal/')), 502);
      t.equal(upstream.received(), 0);
    });
  },
);

t.test(
  'what an upstream may do wrong with its answer is 502 while no head was sent, and a cut after it (F9)',
  async (t) => {
    const rows: readonly (readonly [title: string, bytes: string, status: number])[] = [
      ['nothing', '', 502],
      ['no HTTP', 'SSH-2.0-x\r\n\r\n', 502],
      [
        'Content-Length and Transfer-Encoding',
        `${OK}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
        502,
      ],
      ['a head cut in the middle', `${OK}Content-`, 502],
      [
        'an unsolicited 101',
        'HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n',
        502,
      ],
      [
        'six interim answers',
        'HTTP/1.1 103 Early Hints\r\n\r\n'.repeat(6) + `${OK}Content-Length: 0\r\n\r\n`,
        502,
      ],
      ['a body cut in the middle', `${OK}Content-Length: 10\r\n\r\nabc`, 200],
      ['chunks cut in the middle', `${OK}Transfer-Encoding: chunked\r\n\r\n5\r\nab`, 200],
      ['a malformed chunk', `${OK}Transfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n`, 200],
    ];
    for (const [title, bytes, status] of rows) {
      await using upstream = await rawUpstream({
        raw: (socket) => void socket.once('data', () => socket.end(bytes)),
      });
      await using proxy = await testProxy({
        identity: 'none',
        destinations: [
          testDestination({
            mode: 'plaintext',
            upstream: { host: '127.0.0.1', port: upstream.port },
          }),
        ],
      });
      const line = await proxy.open();
      line.write('GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
      if (status === 200) await until(`${title}: the agent sees a cut`, () => line.reset);
      else await line.sees(/decision [\w-]+\]/);
      // A reset may overtake what was sent before it.
      if (status !== 200 || line.text !== '')
        t.match(
          line.text.replace(/HTTP\/1\.1 103[^]*?\r\n\r\n/g, ''),
          new RegExp(`^HTTP/1.1 ${status}`),
          title,
        );
      if (status === 200) t.notMatch(line.text, /0\r\n\r\n$/, 'no end of the body is made up');
      await proxy.quiet();
      t.match(proxy.audit.of('ended'), [{ outcome: /^upstream-(cut|malformed)$/, status }], title);
      t.same(unpaired(proxy.audit.records), [], title);
      line.socket.destroy();
    }
  },
);

t.test(
  'refused is 502, a reset before the answer is 502, and the connection to the agent stays',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) => void socket.once('data', () => abortSocket(socket)),
    });
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [
        testDestination({
          mode: 'plaintext',
          upstream: { host: '127.0.0.1', port: upstream.port },
        }),
        testDestination({
          name: 'closed',
          hosts: ['closed.internal'],
          mode: 'plaintext',
          upstream: { host: '127.0.0.1', port: 1 },
        }),
      ],
    });
    const line = await proxy.open();
    line.write('GET http://closed.internal/ HTTP/1.1\r\nHost: closed.internal\r\n\r\n');
    await line.sees('upstream-refused');
    line.write(
      'GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\n\r\n',
    );
    t.match(await line.ended(), /502[^]*502[^]*upstream-cut/);
  },
);

t.test(
  'an agent that leaves while its request waits, or while its answer streams, cuts the upstream',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) =>
        void socket.once(
          'data',
          (chunk: Buffer) =>
            chunk.includes('stream') && socket.write(`${OK}Content-Length: 100\r\n\r\nabc`),
        ),
    });
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [
        testDestination({
          mode: 'plaintext',
          upstream: { host: '127.0.0.1', port: upstream.port },
        }),
      ],
    });
    for (const path of ['wait', 'stream']) {
      const line = await proxy.open();
      line.write(`GET http://crm.internal/${path} HTTP/1.1\r\nHost: crm.internal\r\n\r\n`);
      await until('the upstream has the request', () =>
        upstream.connections.at(-1)?.raw.text.includes(path),
      );
      if (path === 'stream') await line.sees('abc');
      line.socket.resetAndDestroy();
      await proxy.quiet();
      await upstream.quiet();
      t.match(proxy.audit.of('ended').at(-1), {
        outcome: 'client-gone',
        ...(path === 'stream' ? { received: 3, status: 200 } : {}),
      });
    }
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'without an identity, or with one that expired, modes that need it are 503 with a hint and others go on (C12)',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority });
    await using plain = await rawUpstream();
    const destinations = [
      testDestination({ upstream: { host: '127.0.0.1', port: upstream.port } }),
      testDestination({
        name: 'plain',
        hosts: ['plain.internal'],
        mode: 'plaintext',
        upstream: { host: '127.0.0.1', port: plain.port },
      }),
    ];
    await using none = await testProxy({ authority, identity: 'none', destinations });
    const waiting = await none.get('http://crm.internal/');
    t.equal(statusOf(waiting), 503);
    t.match(waiting, /retry-after: 1/);
    t.match(refusal(waiting), { code: 'no-identity', message: /readyz/ });
    t.equal(statusOf(await none.get('http://plain.internal/')), 200);
    const svid = await authority.svid('/agent');
    const old = { ...svid.x509Svid, notAfter: Date.now() - 1000 };
    await using expired = await testProxy({
      authority,
      identity: { ...authority.identity(svid), svid: old },
      destinations,
    });
    t.match(refusal(await expired.get('http://crm.internal/')), { code: 'identity-expired' });
    none.identity.set({ kind: 'withdrawn', since: 0, denied: false, problem: 'PermissionDenied' });
    t.match(refusal(await none.get('http://crm.internal/')), { code: 'no-identity' });
    t.same(upstream.connections, [], 'no fallback');
  },
);

t.test(
  'a decision that cannot be recorded: 503, nothing is resolved, dialled or sent; continue goes on (R5)',
  async (t) => {
    await using upstream = await rawUpstream();
    const destinations = [
      testDestination({ mode: 'plaintext', upstream: { host: '127.0.0.1', port: upstream.port } }),
      testDestination({
        name: 'tcp',
        protocol: 'tcp',
        hosts: ['tcp.example.com'],
        ports: [1],
        mode: 'plaintext',
        insecure: true,
      }),
    ];
    await using proxy = await testProxy({ identity: 'none', destinations });
    proxy.audit.fail = new Fault('audit-unavailable', 'no space left on device');
    const answer = await proxy.get('http://crm.internal/');
    t.equal(statusOf(answer), 503);
    t.match(refusal(answer), { code: 'audit-unavailable', message: /no space left/ });
    t.equal(
      statusOf(
        await proxy.ask('CONNECT tcp.example.com:1 HTTP/1.1\r\nHost: tcp.example.com\r\n\r\n'),
      ),
      503,
    );
    t.same(upstream.connections, []);
    t.same(proxy.asked, []);
    proxy.audit.fail = undefined;
    t.equal(statusOf(await proxy.get('http://crm.internal/')), 200, 'it recovers');
    await using lax = await testProxy({ identity: 'none', destinations, onFailure: 'continue' });
    lax.audit.fail = new Fault('audit-unavailable', 'no space left on device');
    t.equal(statusOf(await lax.get('http://crm.internal/')), 200);
  },
);

t.test(
  'the decided record is awaited: while the log has not taken it, no byte leaves',
  async (t) => {
    await using upstream = await rawUpstream();
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [
        testDestination({
          mode: 'plaintext',
          upstream: { host: '127.0.0.1', port: upstream.port },
        }),
      ],
    });
    const gate = Promise.withResolvers<void>();
    proxy.audit.before = gate.promise;
    const answer = proxy.get('http://crm.internal/');
    await until('the record was handed over', () => proxy.audit.of('decided').length === 1);
    for (let i = 0; i < 20; i += 1) await new Promise((resolve) => setImmediate(resolve));
    t.same(upstream.connections, []);
    gate.resolve();
    t.equal(statusOf(await answer), 200);
  },
);

t.test(
  'an upstream that does not accept our SVID is 502, in TLS 1.3 too, where it says so after the handshake',
  {
    skip:
      spawnSync('openssl', ['version']).status !== 0 &&
      'needs the openssl command, whose server says why',
  },
  async (t) => {
    const authority = await testAuthority();
    const stranger = await testAuthority({ trustDomain: 'stranger.org' });
    const svid = await authority.svid('/upstream');
    const folder = t.testdir({
      'ca.pem': stranger.pem,
      'cert.pem': svid.certificatesPem,
      'key.pem': svid.privateKeyPem,
    });
    for (const version of ['-tls1_2', '-tls1_3']) {
      const args =
        `s_server -accept 127.0.0.1:0 ${version} -cert cert.pem -key key.pem -CAfile ca.pem ` +
        '-Verify 1 -verify_return_error';
      const server = spawn('openssl', args.split(' '), { cwd: folder });
      let said = '';
      server.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
      const port = await until(
        'it listens',
        () => Number(/ACCEPT 127\.0\.0\.1:(\d+)/.exec(said)?.[1]) || undefined,
      );
      await using proxy = await testProxy({
        authority,
        destinations: [testDestination({ upstream: { host: '127.0.0.1', port } })],
      });
      const answer = await proxy.get('http://crm.internal/');
      t.equal(statusOf(answer), 502, version);
      t.match(
        refusal(answer),
        { code: 'upstream-tls', message: /does not accept our certificate/ },
        version,
      );
      t.notMatch(said, /GET/);
      server.kill();
    }
  },
);

t.test(
  'web mode: the name is verified against the given roots and sent as SNI; our SVID is not shown',
  async (t) => {
    const authority = await testAuthority();
    const svid = await authority.svid('/web', { dns: ['api.example.com'] });
    await using upstream = await mtlsUpstream({ authority, svid, client: 'accept' });
    const at = { host: '127.0.0.1', port: upstream.port };
    const web = {
      hosts: ['api.example.com'],
      ports: [443],
      roots: [authority.pem],
      upstream: at,
    } as const;
    await using proxy = await testProxy({
      authority,
      destinations: [
        testDestination({ ...web, mode: 'web' }),
        testDestination({ ...web, name: 'other', hosts: ['other.example.com'], mode: 'web' }),
        testDestination({
          ...web,
          name: 'named',
          hosts: ['named.example.com'],
          mode: 'web-mtls',
          serverName: 'api.example.com',
        }),
      ],
    });
    const answer = await proxy.ask(
      'GET http://api.example.com:443/ HTTP/1.1\r\nHost: ' +
        'api.example.com:443\r\nConnection: close\r\n\r\n',
    );
    t.equal(statusOf(answer), 200, answer);
    t.match(answer, '"host","api.example.com"', 'without the port that https has by default');
    t.match(upstream.connections[0], { serverName: 'api.example.com', spiffeId: undefined });
    const wrong = await proxy.ask(
      'GET http://other.example.com:443/ HTTP/1.1\r\nHost: ' +
        'other.example.com:443\r\nConnection: close\r\n\r\n',
    );
    t.equal(refusal(wrong).code, 'upstream-identity');
    const mutual = await proxy.ask(
      'GET http://named.example.com:443/ HTTP/1.1\r\nHost: ' +
        'named.example.com:443\r\nConnection: close\r\n\r\n',
    );
    t.equal(statusOf(mutual), 200, mutual);
    t.equal(upstream.connections.at(-1)?.spiffeId, 'spiffe://example.org/agent');
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], { peer: 'unverified' });
  },
);
