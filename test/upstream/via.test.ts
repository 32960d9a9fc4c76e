/**
 * Through a corporate proxy: what it is told, what is still proved and judged, and what becomes of
 * it when it misbehaves.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import type { Via } from '../../lib/policy/model/destination.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { connectProxy } from '../support/connect-proxy.ts';
import { policyOf, testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const AT = { host: 'crm.prod.example', port: 8443 };

function via(port: number, more: Partial<Via> = {}): Via {
  const { host = '127.0.0.1', secure = false } = more;
  return {
    secure,
    host,
    port,
    roots: undefined,
    basic: undefined,
    text: `http${secure ? 's' : ''}://${host}:${port}`,
    ...more,
  };
}

t.test(
  'mtls: the proxy is told the target and nothing else, the peer is proved behind it, and the record names it',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority });
    await using corporate = await connectProxy({ to: upstream.port });
    await using proxy = await testProxy({
      authority,
      destinations: [testDestination({ upstream: AT, via: via(corporate.port) })],
    });
    const line = await proxy.open();
    line.write(
      'GET http://crm.internal/a HTTP/1.1\r\nHost: crm.internal\r\nCookie: ' +
        'secret\r\nX-Own: 1\r\nConnection: close\r\n\r\n',
    );
    t.equal(statusOf(await line.ended()), 200);
    t.same(corporate.heads, [
      'CONNECT crm.prod.example:8443 HTTP/1.1\r\nhost: crm.prod.example:8443',
    ]);
    t.match(upstream.connections[0], { state: 'accepted', spiffeId: 'spiffe://example.org/agent' });
    t.same(proxy.asked, [], 'the name of the target is not looked up here');
    t.equal(statusOf(await proxy.get('http://crm.internal/b')), 200);
    t.equal(corporate.heads.length, 1, 'the tunnel is pooled');
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], {
      outcome: 'completed',
      peer: 'spiffe://example.org/upstream',
      address: `127.0.0.1:${corporate.port}`,
      via: `http://127.0.0.1:${corporate.port}`,
    });
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'a peer that is another is refused behind the proxy too, and gets no application byte (A14)',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority, id: '/impostor' });
    await using corporate = await connectProxy({ to: upstream.port });
    await using proxy = await testProxy({
      authority,
      destinations: [testDestination({ upstream: AT, via: via(corporate.port) })],
    });
    const answer = await proxy.get('http://crm.internal/');
    t.match([statusOf(answer), refusal(answer).code], [502, 'upstream-identity']);
    t.equal(upstream.received(), 0);
  },
);

t.test(
  'web, passthrough, tcp over CONNECT, a raw listener, plaintext: each through the proxy',
  async (t) => {
    const authority = await testAuthority();
    const svid = await authority.svid('/web', { dns: ['web.example.com'] });
    await using web = await mtlsUpstream({ authority, svid, client: 'none' });
    await using crm = await mtlsUpstream({ authority });
    await using plain = await rawUpstream();
    await using toWeb = await connectProxy({ to: web.port });
    await using toCrm = await connectProxy({ to: crm.port });
    await using toPlain = await connectProxy({ to: plain.port });
    const web443 = { hosts: ['web.example.com'], ports: [443], via: via(toWeb.port) };
    await using proxy = await testProxy({
      authority,
      destinations: [
        testDestination({
          name: 'web',
          hosts: ['web.example.com'],
          ports: [80],
          mode: 'web',
          roots: [authority.pem],
          via: via(toWeb.port),
        }),
        testDestination({ ...web443, name: 'through', mode: 'passthrough' }),
        testDestination({
          name: 'tcp',
          hosts: ['tcp.internal'],
          ports: [5432],
          protocol: 'tcp',
          listen: true,
          upstream: AT,
          via: via(toCrm.port),
        }),
        testDestination({
          name: 'plain',
          hosts: ['plain.internal'],
          mode: 'plaintext',
          insecure: true,
          via: via(toPlain.port),
        }),
      ],
    });
    t.equal(statusOf(await proxy.get('http://web.example.com/x')), 200);
    t.match(toWeb.heads, ['CONNECT web.example.com:80 HTTP/1.1\r\nhost: web.example.com:80']);
    t.equal(statusOf(await proxy.get('http://plain.internal/x')), 200);

    const tunnel = await proxy.open();
    tunnel.write('CONNECT web.example.com:443 HTTP/1.1\r\nHost: web.example.com:443\r\n\r\n');
    await tunnel.sees('200');
    tunnel.socket.removeAllListeners('data');
    const tls = tlsConnect({
      socket: tunnel.socket,
      servername: 'web.example.com',
      ca: authority.pem,
    });
    tls.write('GET /inside HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n');
    let inside = '';
    tls.on('data', (chunk: Buffer) => (inside += chunk.toString()));
    await until('the answer inside', () => inside.includes('"/inside"'));
    tls.destroy();

    for (const open of [
      async () => {
        const line = await proxy.open();
        line.write('CONNECT tcp.internal:5432 HTTP/1.1\r\nHost: tcp.internal:5432\r\n\r\n');
        await line.sees('200');
        return line;
      },
      () => proxy.open('tcp'),
    ]) {
      const line = await open();
      line.write('GET /raw HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n');
      await line.sees('"/raw"');
      line.socket.destroy();
    }
    t.match(
      toCrm.heads,
      Array.from({ length: 2 }, () => /^CONNECT crm\.prod\.example:8443 /),
    );
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'credentials come from their file, read for each connection, and stand in no record',
  async (t) => {
    const file = join(shortFolder(t), 'proxy');
    writeFileSync(file, 'agent:first secret\n');
    await using plain = await rawUpstream();
    await using corporate = await connectProxy({ to: plain.port });
    const way = via(corporate.port, { basic: file });
    await using proxy = await testProxy({
      destinations: [
        testDestination({ mode: 'plaintext', insecure: true, upstream: AT, via: way }),
      ],
    });
    const asked = () =>
      proxy.ask(
        'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nProxy-Connection: ' +
          'x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      );
    t.equal(statusOf(await asked()), 200);
    t.match(
      corporate.heads[0],
      new RegExp(
        `proxy-authorization: Basic ${Buffer.from('agent:first secret').toString('base64')}$`,
      ),
    );
    t.notMatch(plain.connections[0]?.raw.text, /authorization/i, 'the upstream never sees it');
    proxy.policy.set(
      policyOf(
        testDestination({
          name: 'other',
          hosts: ['crm.internal'],
          mode: 'plaintext',
          insecure: true,
          upstream: AT,
          via: way,
        }),
      ),
    );
    writeFileSync(file, 'agent:second');
    t.equal(statusOf(await asked()), 200);
    t.match(corporate.heads[1], new RegExp(Buffer.from('agent:second').toString('base64')));
    for (const text of ['no colon', 'two\nlines:x', 'a:\u0001', `a:${'x'.repeat(2000)}`, '']) {
      writeFileSync(file, text);
      proxy.policy.set(
        policyOf(
          testDestination({
            name: `n${text.length}`,
            mode: 'plaintext',
            insecure: true,
            upstream: AT,
            via: way,
          }),
        ),
      );
      const answer = await asked();
      t.equal(statusOf(answer), 503, JSON.stringify(text.slice(0, 20)));
      t.match(refusal(answer), { code: 'credential-unavailable', message: /via\.basic/ });
    }
    rmSync(file);
    execFileSync('mkfifo', [file]);
    proxy.policy.set(
      policyOf(
        testDestination({
          name: 'pipe',
          mode: 'plaintext',
          insecure: true,
          upstream: AT,
          via: way,
        }),
      ),
    );
    t.match(refusal(await asked()), {
      code: 'credential-unavailable',
      message: /it is no regular file/,
    });
    await proxy.quiet();
    t.notMatch(JSON.stringify(proxy.audit.records), /secret|second|YWdlbnQ/);
  },
);

t.test('an https:// proxy is verified by its name against the roots given', async (t) => {
  const authority = await testAuthority();
  const other = await testAuthority();
  const dns = { dns: ['proxy.corp.example'] };
  await using upstream = await mtlsUpstream({ authority });
  await using corporate = await connectProxy({
    to: upstream.port,
    tls: await other.svid('/proxy', dns),
  });
  const names = { 'proxy.corp.example': ['127.0.0.1'] };
  const through = (more: Partial<Via>) =>
    testDestination({ upstream: AT, via: via(corporate.port, { secure: true, ...more }) });
  await using good = await testProxy({
    authority,
    destinations: [through({ host: '127.0.0.1', roots: [other.pem] })],
    names,
  });
  t.match(
    refusal(await good.get('http://crm.internal/')).message,
    /through the proxy https/,
    'its certificate names another host',
  );
  t.equal(corporate.heads.length, 0);
  await using bad = await testProxy({
    authority,
    destinations: [through({ roots: [authority.pem] })],
    names,
  });
  t.equal(statusOf(await bad.get('http://crm.internal/')), 502);
  t.equal(corporate.heads.length, 0, 'it is told nothing');
});

const CASES: readonly (readonly [string, (socket: Socket) => void, string, RegExp])[] = [
  [
    '407',
    (s) => s.end('HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n'),
    'via-refused',
    /answered 407/,
  ],
  [
    '403 with a page',
    (s) => s.end('HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nblock'),
    'via-refused',
    /answered 403/,
  ],
  ['502', (s) => s.end('HTTP/1.1 502 Bad\r\n\r\n'), 'via-refused', /answered 502/],
  [
    'a redirect',
    (s) => s.end('HTTP/1.1 302 Found\r\nLocation: http://login/\r\nContent-Length: 0\r\n\r\n'),
    'via-refused',
    /answered 302/,
  ],
  ['garbage', (s) => s.end('SSH-2.0-OpenSSH\r\n\r\n'), 'upstream-malformed', /through the proxy/],
  [
    'two lengths',
    (s) => s.end('HTTP/1.1 407 No\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'),
    'upstream-malformed',
    /through the proxy/,
  ],
  [
    'a head without end',
    (s) => void s.write(`HTTP/1.1 200 OK\r\nX: ${'a'.repeat(40_000)}`),
    'upstream-malformed',
    /through the proxy/,
  ],
  ['half an answer', (s) => s.end('HTTP/1.1 200 Conn'), 'upstream-cut', /through the proxy/],
  ['a reset', (s) => void s.resetAndDestroy(), 'upstream-cut', /through the proxy/],
  ['silence', () => {}, 'upstream-timeout', /./],
  ['a slow head', (s) => void s.write('HTTP/1.1 200 OK\r\n'), 'upstream-timeout', /./],
  [
    '200 and an answer that nobody asked for',
    (s) => void s.write('HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmugg'),
    'via-refused',
    /bytes came with its answer/,
  ],
  [
    '200 with a body',
    (s) => void s.write('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsmugg'),
    'upstream-malformed',
    /a body with status 200/,
  ],
  [
    '200 with one byte more',
    (s) => void s.write('HTTP/1.1 200 OK\r\n\r\n\u0016'),
    'via-refused',
    /bytes came/,
  ],
  [
    '101',
    (s) => void s.write('HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n'),
    'upstream-malformed',
    /through the proxy/,
  ],
];

t.test(
  'a proxy that refuses, talks nonsense, hangs or smuggles: one answer, one pair of records, nothing carried',
  async (t) => {
    const authority = await testAuthority();
    for (const [title, answer, code, words] of CASES) {
      await using corporate = await connectProxy({ answer });
      const way = { upstream: AT, via: via(corporate.port), timeouts: { connect: 400 } };
      await using proxy = await testProxy({
        authority,
        destinations: [
          testDestination(way),
          testDestination({
            ...way,
            name: 'plain',
            hosts: ['plain.internal'],
            mode: 'plaintext',
            insecure: true,
          }),
          testDestination({
            ...way,
            name: 'tcp',
            hosts: ['tcp.internal'],
            ports: [5432],
            protocol: 'tcp',
            listen: true,
          }),
        ],
      });
      for (const host of ['crm.internal', 'plain.internal']) {
        const told = await proxy.get(`http://${host}/`);
        t.match(
          [statusOf(told), refusal(told).code],
          [code === 'upstream-timeout' ? 504 : 502, code],
          `${title}: ${host}`,
        );
        t.match(refusal(told).message, words, title);
        t.notMatch(told, /smugg|block/, title);
      }
      const told = await proxy.ask(
        'CONNECT tcp.internal:5432 HTTP/1.1\r\nHost: tcp.internal:5432\r\n\r\n',
      );
      t.ok(statusOf(told) >= 502, `${title}: CONNECT`);
      const raw = await proxy.open('tcp');
      t.equal(
        (await raw.ended()).trim(),
        '',
        `${title}: a raw connection sees a cut and nothing of it`,
      );
      await proxy.quiet();
      t.equal(proxy.audit.of('ended').length, 4, title);
      t.match(proxy.audit.of('ended')[0], { outcome: code }, title);
      t.same(unpaired(proxy.audit.records), [], title);
      t.equal(
        proxy.server.pools().idle + proxy.server.pools().leased,
        0,
        `${title}: no connection is left`,
      );
    }
  },
);

t.test('a proxy that answers 200 with interim answers before is a tunnel', async (t) => {
  const answer = (socket: Socket): void =>
    void socket.write('HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', () =>
      socket.once('data', () => socket.end('HTTP/1.1 204 No\r\n\r\n')),
    );
  await using corporate = await connectProxy({ answer });
  await using proxy = await testProxy({
    identity: 'none',
    destinations: [
      testDestination({
        mode: 'plaintext',
        insecure: true,
        upstream: AT,
        via: via(corporate.port),
      }),
    ],
  });
  t.equal(statusOf(await proxy.get('http://crm.internal/')), 204);
});

t.test(
  'addresses: of the proxy as the operator wrote it, of the target where it is a literal, never our own',
  async (t) => {
    await using corporate = await connectProxy({});
    const names = {
      'meta.corp.example': ['169.254.169.254'],
      'local.corp.example': ['127.0.0.1'],
      'mixed.corp.example': ['10.0.0.1', '169.254.1.1'],
    };
    const to = async (way: Via, upstream = AT) => {
      await using proxy = await testProxy({
        destinations: [testDestination({ upstream, via: way })],
        names,
      });
      return refusal(await proxy.get('http://crm.internal/'));
    };
    for (const host of Object.keys(names))
      t.match(
        await to(via(corporate.port, { host })),
        { code: 'address-refused', message: /the proxy .* may not be dialled/ },
        host,
      );
    t.match(await to(via(corporate.port), { host: '169.254.169.254', port: 80 }), {
      code: 'address-refused',
      message: /^169\.254\.169\.254 may not/,
    });
    t.same(corporate.heads, []);
    await using proxy = await testProxy({ destinations: [] });
    proxy.policy.set(policyOf(testDestination({ upstream: AT, via: via(proxy.port()) })));
    t.match(refusal(await proxy.get('http://crm.internal/')), {
      code: 'loop',
      message: /via is our own listener/,
    });
  },
);

t.test(
  'another proxy is another connection: pools are not shared, and a tunnel through the one before is cut',
  async (t) => {
    await using plain = await rawUpstream();
    await using one = await connectProxy({ to: plain.port });
    await using two = await connectProxy({ to: plain.port });
    const echo = (way: Via | undefined) => [
      testDestination({ mode: 'plaintext', insecure: true, upstream: AT, via: way }),
      testDestination({
        name: 'tcp',
        hosts: ['tcp.internal'],
        ports: [5432],
        protocol: 'tcp',
        mode: 'plaintext',
        insecure: true,
        upstream: AT,
        via: way,
      }),
    ];
    await using proxy = await testProxy({ identity: 'none', destinations: echo(via(one.port)) });
    t.equal(statusOf(await proxy.get('http://crm.internal/')), 200);
    const tunnel = await proxy.open();
    tunnel.write('CONNECT tcp.internal:5432 HTTP/1.1\r\nHost: tcp.internal:5432\r\n\r\n');
    await tunnel.sees('200');
    proxy.policy.set(policyOf(...echo(via(two.port))));
    await until('the tunnel is cut', () => tunnel.reset || tunnel.socket.destroyed);
    t.equal(statusOf(await proxy.get('http://crm.internal/')), 200);
    t.equal(one.heads.length, 2);
    t.equal(two.heads.length, 1);
    await proxy.quiet();
    t.ok(
      proxy.audit
        .of('ended')
        .some((one_) => one_.kind === 'ended' && one_.outcome === 'no-longer-allowed'),
    );
  },
);
