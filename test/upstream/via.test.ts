/**
 * Through a corporate proxy: what it is told, what is still proved and judged, and what becomes of
 * it when it misbehaves.
 */
import { execFileSync } from 'node:child_process';
import { rmSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import t from 'tap';
import type { Via } from '../../lib/policy/model/destination.ts';
import { testAuthority } from '../support/authority.ts';
import { connectProxy } from '../support/connect-proxy.ts';
import { shortFolder } from '../support/folder.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import { until } from '../support/until.ts';
import { bench, policyOf, refusal, site, statusOf, unpaired } from '../support/proxy.ts';

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
    await using proxy = await connectProxy({ to: upstream.port });
    await using b = await bench({
      authority,
      destinations: [site({ upstream: AT, via: via(proxy.port) })],
    });
    const line = await b.open();
    line.write(
      'GET http://crm.internal/a HTTP/1.1\r\nHost: crm.internal\r\nCookie: ' +
        'secret\r\nX-Own: 1\r\nConnection: close\r\n\r\n',
    );
    t.equal(statusOf(await line.ended()), 200);
    t.same(proxy.heads, ['CONNECT crm.prod.example:8443 HTTP/1.1\r\nhost: crm.prod.example:8443']);
    t.match(upstream.connections[0], { state: 'accepted', spiffeId: 'spiffe://example.org/agent' });
    t.same(b.asked, [], 'the name of the target is not looked up here');
    t.equal(statusOf(await b.get('http://crm.internal/b')), 200);
    t.equal(proxy.heads.length, 1, 'the tunnel is pooled');
    await b.quiet();
    t.match(b.audit.of('ended')[0], {
      outcome: 'completed',
      peer: 'spiffe://example.org/upstream',
      address: `127.0.0.1:${proxy.port}`,
      via: `http://127.0.0.1:${proxy.port}`,
    });
    t.same(unpaired(b.audit.records), []);
  },
);

t.test(
  'a peer that is another is refused behind the proxy too, and gets no application byte (A14)',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority, id: '/impostor' });
    await using proxy = await connectProxy({ to: upstream.port });
    await using b = await bench({
      authority,
      destinations: [site({ upstream: AT, via: via(proxy.port) })],
    });
    const answer = await b.get('http://crm.internal/');
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
    await using b = await bench({
      authority,
      destinations: [
        site({
          name: 'web',
          hosts: ['web.example.com'],
          ports: [80],
          mode: 'web',
          roots: [authority.pem],
          via: via(toWeb.port),
        }),
        site({ ...web443, name: 'through', mode: 'passthrough' }),
        site({
          name: 'tcp',
          hosts: ['tcp.internal'],
          ports: [5432],
          protocol: 'tcp',
          listen: true,
          upstream: AT,
          via: via(toCrm.port),
        }),
        site({
          name: 'plain',
          hosts: ['plain.internal'],
          mode: 'plaintext',
          insecure: true,
          via: via(toPlain.port),
        }),
      ],
    });
    t.equal(statusOf(await b.get('http://web.example.com/x')), 200);
    t.match(toWeb.heads, ['CONNECT web.example.com:80 HTTP/1.1\r\nhost: web.example.com:80']);
    t.equal(statusOf(await b.get('http://plain.internal/x')), 200);

    const tunnel = await b.open();
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
        const line = await b.open();
        line.write('CONNECT tcp.internal:5432 HTTP/1.1\r\nHost: tcp.internal:5432\r\n\r\n');
        await line.sees('200');
        return line;
      },
      () => b.open('tcp'),
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
    await b.quiet();
    t.same(unpaired(b.audit.records), []);
  },
);

t.test(
  'credentials come from their file, read for each connection, and stand in no record',
  async (t) => {
    const file = join(shortFolder(t), 'proxy');
    writeFileSync(file, 'agent:first secret\n');
    await using plain = await rawUpstream();
    await using proxy = await connectProxy({ to: plain.port });
    const way = via(proxy.port, { basic: file });
    await using b = await bench({
      destinations: [site({ mode: 'plaintext', insecure: true, upstream: AT, via: way })],
    });
    const asked = () =>
      b.ask(
        'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nProxy-Connection: ' +
          'x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n',
      );
    t.equal(statusOf(await asked()), 200);
    t.match(
      proxy.heads[0],
      new RegExp(
        `proxy-authorization: Basic ${Buffer.from('agent:first secret').toString('base64')}$`,
      ),
    );
    t.notMatch(plain.connections[0]?.raw.text, /authorization/i, 'the upstream never sees it');
    b.policy.set(
      policyOf(
        site({
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
    t.match(proxy.heads[1], new RegExp(Buffer.from('agent:second').toString('base64')));
    for (const text of ['no colon', 'two\nlines:x', 'a:\u0001', `a:${'x'.repeat(2000)}`, '']) {
      writeFileSync(file, text);
      b.policy.set(
        policyOf(
          site({
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
    b.policy.set(
      policyOf(site({ name: 'pipe', mode: 'plaintext', insecure: true, upstream: AT, via: way })),
    );
    t.match(refusal(await asked()), {
      code: 'credential-unavailable',
      message: /it is no regular file/,
    });
    await b.quiet();
    t.notMatch(JSON.stringify(b.audit.records), /secret|second|YWdlbnQ/);
  },
);

t.test('an https:// proxy is verified by its name against the roots given', async (t) => {
  const authority = await testAuthority();
  const other = await testAuthority();
  const dns = { dns: ['proxy.corp.example'] };
  await using upstream = await mtlsUpstream({ authority });
  await using proxy = await connectProxy({
    to: upstream.port,
    tls: await other.svid('/proxy', dns),
  });
  const names = { 'proxy.corp.example': ['127.0.0.1'] };
  const through = (more: Partial<Via>) =>
    site({ upstream: AT, via: via(proxy.port, { secure: true, ...more }) });
  await using good = await bench({
    authority,
    destinations: [through({ host: '127.0.0.1', roots: [other.pem] })],
    names,
  });
  t.match(
    refusal(await good.get('http://crm.internal/')).message,
    /through the proxy https/,
    'its certificate names another host',
  );
  t.equal(proxy.heads.length, 0);
  await using bad = await bench({
    authority,
    destinations: [through({ roots: [authority.pem] })],
    names,
  });
  t.equal(statusOf(await bad.get('http://crm.internal/')), 502);
  t.equal(proxy.heads.length, 0, 'it is told nothing');
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
      await using proxy = await connectProxy({ answer });
      const way = { upstream: AT, via: via(proxy.port), timeouts: { connect: 400 } };
      await using b = await bench({
        authority,
        destinations: [
          site(way),
          site({
            ...way,
            name: 'plain',
            hosts: ['plain.internal'],
            mode: 'plaintext',
            insecure: true,
          }),
          site({
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
        const told = await b.get(`http://${host}/`);
        t.match(
          [statusOf(told), refusal(told).code],
          [code === 'upstream-timeout' ? 504 : 502, code],
          `${title}: ${host}`,
        );
        t.match(refusal(told).message, words, title);
        t.notMatch(told, /smugg|block/, title);
      }
      const told = await b.ask(
        'CONNECT tcp.internal:5432 HTTP/1.1\r\nHost: tcp.internal:5432\r\n\r\n',
      );
      t.ok(statusOf(told) >= 502, `${title}: CONNECT`);
      const raw = await b.open('tcp');
      t.equal(
        (await raw.ended()).trim(),
        '',
        `${title}: a raw connection sees a cut and nothing of it`,
      );
      await b.quiet();
      t.equal(b.audit.of('ended').length, 4, title);
      t.match(b.audit.of('ended')[0], { outcome: code }, title);
      t.same(unpaired(b.audit.records), [], title);
      t.equal(b.proxy.pools().idle + b.proxy.pools().leased, 0, `${title}: no connection is left`);
    }
  },
);

t.test('a proxy that answers 200 with interim answers before is a tunnel', async (t) => {
  const answer = (socket: Socket): void =>
    void socket.write('HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n', () =>
      socket.once('data', () => socket.end('HTTP/1.1 204 No\r\n\r\n')),
    );
  await using proxy = await connectProxy({ answer });
  await using b = await bench({
    identity: 'none',
    destinations: [site({ mode: 'plaintext', insecure: true, upstream: AT, via: via(proxy.port) })],
  });
  t.equal(statusOf(await b.get('http://crm.internal/')), 204);
});

t.test(
  'addresses: of the proxy as the operator wrote it, of the target where it is a literal, never our own',
  async (t) => {
    await using proxy = await connectProxy({});
    const names = {
      'meta.corp.example': ['169.254.169.254'],
      'local.corp.example': ['127.0.0.1'],
      'mixed.corp.example': ['10.0.0.1', '169.254.1.1'],
    };
    const to = async (way: Via, upstream = AT) => {
      await using b = await bench({ destinations: [site({ upstream, via: way })], names });
      return refusal(await b.get('http://crm.internal/'));
    };
    for (const host of Object.keys(names))
      t.match(
        await to(via(proxy.port, { host })),
        { code: 'address-refused', message: /the proxy .* may not be dialled/ },
        host,
      );
    t.match(await to(via(proxy.port), { host: '169.254.169.254', port: 80 }), {
      code: 'address-refused',
      message: /^169\.254\.169\.254 may not/,
    });
    t.same(proxy.heads, []);
    await using b = await bench({ destinations: [] });
    b.policy.set(policyOf(site({ upstream: AT, via: via(b.port()) })));
    t.match(refusal(await b.get('http://crm.internal/')), {
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
      site({ mode: 'plaintext', insecure: true, upstream: AT, via: way }),
      site({
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
    await using b = await bench({ identity: 'none', destinations: echo(via(one.port)) });
    t.equal(statusOf(await b.get('http://crm.internal/')), 200);
    const tunnel = await b.open();
    tunnel.write('CONNECT tcp.internal:5432 HTTP/1.1\r\nHost: tcp.internal:5432\r\n\r\n');
    await tunnel.sees('200');
    b.policy.set(policyOf(...echo(via(two.port))));
    await until('the tunnel is cut', () => tunnel.reset || tunnel.socket.destroyed);
    t.equal(statusOf(await b.get('http://crm.internal/')), 200);
    t.equal(one.heads.length, 2);
    t.equal(two.heads.length, 1);
    await b.quiet();
    t.ok(
      b.audit
        .of('ended')
        .some((one_) => one_.kind === 'ended' && one_.outcome === 'no-longer-allowed'),
    );
  },
);
