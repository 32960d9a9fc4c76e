/**
 * Every way in and every protocol out, through a corporate proxy that behaves and through one that
 * smuggles: the same judgement, records and refusals.
 */
import { createHash } from 'node:crypto';
import t from 'tap';
import type { Via } from '../../lib/policy/model/destination.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import { testAuthority } from '../support/authority.ts';
import { connectProxy, type ConnectProxy } from '../support/connect-proxy.ts';
import { http2Client } from '../support/http2-client.ts';
import { h2cUpstream, http2Upstream } from '../support/http2-upstream.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import { bench, refusal, rule, site, statusOf, unpaired, type Site } from '../support/proxy.ts';
import { inside } from '../support/inside.ts';
import { world } from '../support/interception.ts';

const AT = { host: 'crm.prod.example', port: 8443 };

const via = ({ port }: ConnectProxy): Via => ({
  secure: false,
  host: '127.0.0.1',
  port,
  roots: undefined,
  basic: undefined,
  text: `http://127.0.0.1:${port}`,
});

/** Answers for the upstream before it was asked. */
const smuggler = (): Promise<ConnectProxy> =>
  connectProxy({
    answer: (socket) =>
      void socket.write(
        'HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nsmuggle',
      ),
  });

function http2(more: Site): Destination {
  return { ...site({ listen: true, upstream: AT, ...more }), http2: true };
}

t.test('HTTP/2 in and out: over TLS by ALPN, and in the clear where that is written', async (t) => {
  const authority = await testAuthority();
  await using secure = await http2Upstream({ authority });
  await using plain = await h2cUpstream();
  await using toSecure = await connectProxy({ to: secure.port });
  await using toPlain = await connectProxy({ to: plain.port });
  await using b = await bench({
    authority,
    destinations: [
      http2({ via: via(toSecure) }),
      http2({
        name: 'plain',
        hosts: ['plain.internal'],
        mode: 'plaintext',
        insecure: true,
        via: via(toPlain),
      }),
    ],
  });
  for (const [name, proxy] of [
    ['crm', toSecure],
    ['plain', toPlain],
  ] as const) {
    const told = await b.get(`http://${name}.internal/a`);
    t.equal(statusOf(told), 200, told);
    await using client = http2Client(b.port(name), `${name}.internal`);
    const one = client.open({ ':method': 'GET', ':path': '/b' });
    await one.sees('"/b"');
    t.same(
      proxy.heads,
      ['CONNECT crm.prod.example:8443 HTTP/1.1\r\nhost: crm.prod.example:8443'],
      'one session carries both',
    );
  }
  await b.quiet();
  t.match(b.audit.of('ended')[0], {
    outcome: 'completed',
    peer: 'spiffe://example.org/upstream',
    via: /^http:/,
  });
  t.same(unpaired(b.audit.records), []);
});

t.test('requests inside an intercepted tunnel', async (t) => {
  const authority = await testAuthority();
  const svid = await authority.svid('/saas', { dns: ['api.example.com'] });
  await using saas = await mtlsUpstream({ authority, svid, client: 'none' });
  await using proxy = await connectProxy({ to: saas.port });
  const roots = [authority.pem];
  await using w = await world(t, {
    site: { via: via(proxy), upstream: { host: 'api.example.com', port: 443 }, roots },
  });
  const agent = await inside(w.b, { ca: w.ca });
  agent.write('GET /v1/items HTTP/1.1\r\nHost: api.example.com\r\n\r\n');
  await agent.sees('"/v1/items"');
  agent.write('GET /export/all HTTP/1.1\r\nHost: api.example.com\r\n\r\n');
  t.match(await agent.ended(), /HTTP\/1\.1 403 /);
  t.equal(proxy.heads.length, 1);
  t.match(proxy.heads[0], /^CONNECT api\.example\.com:443 /);
  await w.b.quiet();
  t.same(unpaired(w.b.audit.records), []);
});

t.test('a WebSocket', async (t) => {
  await using upstream = await rawUpstream({
    raw: (socket) =>
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
  });
  await using proxy = await connectProxy({ to: upstream.port });
  const rules = [rule('ws', 'allow', { methods: ['GET'], websocket: true })];
  const destination = site({
    mode: 'plaintext',
    insecure: true,
    rules,
    upstream: AT,
    via: via(proxy),
  });
  await using b = await bench({ identity: 'none', destinations: [destination] });
  const line = await b.open();
  line.write(
    'GET http://crm.internal/ws HTTP/1.1\r\nHost: crm.internal\r\nConnection: ' +
      'Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ' +
      'dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await line.sees('101');
  line.write('frame');
  await line.sees('frame');
  line.socket.destroy();
  await b.quiet();
  t.same(unpaired(b.audit.records), []);
});

t.test('a greeting of a raw upstream, which speaks first, is not lost', async (t) => {
  await using proxy = await connectProxy({
    answer: (socket) =>
      void socket.write('HTTP/1.1 200 OK\r\n\r\n220 mail.example ESMTP\r\n', () =>
        socket.write('second'),
      ),
  });
  const tcp = {
    name: 'mail',
    hosts: ['mail.internal'],
    ports: [25],
    protocol: 'tcp',
    listen: true,
  } as const;
  const destination = site({
    ...tcp,
    mode: 'plaintext',
    insecure: true,
    upstream: AT,
    via: via(proxy),
  });
  await using b = await bench({ identity: 'none', destinations: [destination] });
  const raw = await b.open('mail');
  t.equal(await raw.sees('second'), '220 mail.example ESMTP\r\nsecond');
  raw.socket.destroy();
  const line = await b.open();
  line.write('CONNECT mail.internal:25 HTTP/1.1\r\nHost: mail.internal:25\r\n\r\n');
  await line.sees(/\r\n\r\n220 mail\.example ESMTP\r\nsecond$/);
  line.socket.destroy();
});

t.test(
  'a proxy that smuggles is refused on each of them, and nothing of it reaches the agent',
  async (t) => {
    await using proxy = await smuggler();
    await using b = await bench({
      destinations: [
        http2({ via: via(proxy) }),
        http2({
          name: 'plain',
          hosts: ['plain.internal'],
          mode: 'plaintext',
          insecure: true,
          via: via(proxy),
        }),
      ],
    });
    for (const [name, code] of [
      ['crm', 'via-refused'],
      ['plain', 'upstream-'],
    ] as const) {
      const told = await b.get(`http://${name}.internal/`);
      t.equal(statusOf(told), 502, name);
      t.ok(refusal(told).code.startsWith(code), `${name}: ${refusal(told).code}`);
      await using client = http2Client(b.port(name), `${name}.internal`);
      const one = client.open({ ':method': 'GET', ':path': '/' });
      await one.sees(code);
      t.notMatch(told, /smuggle/);
    }
    await using w = await world(t, { site: { via: via(proxy) } });
    const agent = await inside(w.b, { ca: w.ca });
    agent.write('GET /v1/items HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n');
    const answer = await agent.sees('via-refused');
    t.match(answer, /^HTTP\/1\.1 502 /);
    agent.tls.destroy();
    t.notMatch(answer, /smuggle/);
    await b.quiet();
    await w.b.quiet();
    t.same([...unpaired(b.audit.records), ...unpaired(w.b.audit.records)], []);
  },
);
