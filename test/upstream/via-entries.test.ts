/**
 * Every way in and every protocol out, through a corporate proxy that behaves and through one that
 * smuggles: the same judgement, records and refusals.
 */
import { createHash } from 'node:crypto';
import type { Via } from '../../lib/policy/model/destination.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { type ConnectProxy, connectProxy } from '../support/connect-proxy.ts';
import { type DestinationOptions, rule, testDestination } from '../support/destination.ts';
import { http2Client } from '../support/http2-client.ts';
import { h2cUpstream, http2Upstream } from '../support/http2-upstream.ts';
import { tlsInTunnel } from '../support/tunnel.ts';
import { testInterception } from '../support/interception.ts';
import { testProxy } from '../support/proxy.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

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

function http2(more: DestinationOptions): Destination {
  return { ...testDestination({ listen: true, upstream: AT, ...more }), http2: true };
}

t.test('HTTP/2 in and out: over TLS by ALPN, and in the clear where that is written', async (t) => {
  const authority = await testAuthority();
  await using secure = await http2Upstream({ authority });
  await using plain = await h2cUpstream();
  await using toSecure = await connectProxy({ to: secure.port });
  await using toPlain = await connectProxy({ to: plain.port });
  await using proxy = await testProxy({
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
  for (const [name, corporate] of [
    ['crm', toSecure],
    ['plain', toPlain],
  ] as const) {
    const told = await proxy.get(`http://${name}.internal/a`);
    t.equal(statusOf(told), 200, told);
    await using client = http2Client(proxy.port(name), `${name}.internal`);
    const one = client.open({ ':method': 'GET', ':path': '/b' });
    await one.sees('"/b"');
    t.same(
      corporate.heads,
      ['CONNECT crm.prod.example:8443 HTTP/1.1\r\nhost: crm.prod.example:8443'],
      'one session carries both',
    );
  }
  await proxy.quiet();
  t.match(proxy.audit.of('ended')[0], {
    outcome: 'completed',
    peer: 'spiffe://example.org/upstream',
    via: /^http:/,
  });
  t.same(unpaired(proxy.audit.records), []);
});

t.test('requests inside an intercepted tunnel', async (t) => {
  const authority = await testAuthority();
  const svid = await authority.svid('/saas', { dns: ['api.example.com'] });
  await using saas = await mtlsUpstream({ authority, svid, client: 'none' });
  await using corporate = await connectProxy({ to: saas.port });
  const roots = [authority.pem];
  await using w = await testInterception(t, {
    destination: { via: via(corporate), upstream: { host: 'api.example.com', port: 443 }, roots },
  });
  const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
  agent.write('GET /v1/items HTTP/1.1\r\nHost: api.example.com\r\n\r\n');
  await agent.sees('"/v1/items"');
  agent.write('GET /export/all HTTP/1.1\r\nHost: api.example.com\r\n\r\n');
  t.match(await agent.ended(), /HTTP\/1\.1 403 /);
  t.equal(corporate.heads.length, 1);
  t.match(corporate.heads[0], /^CONNECT api\.example\.com:443 /);
  await w.proxy.quiet();
  t.same(unpaired(w.proxy.audit.records), []);
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
  await using corporate = await connectProxy({ to: upstream.port });
  const rules = [rule('ws', 'allow', { methods: ['GET'], websocket: true })];
  const destination = testDestination({
    mode: 'plaintext',
    insecure: true,
    rules,
    upstream: AT,
    via: via(corporate),
  });
  await using proxy = await testProxy({ identity: 'none', destinations: [destination] });
  const line = await proxy.open();
  line.write(
    'GET http://crm.internal/ws HTTP/1.1\r\nHost: crm.internal\r\nConnection: ' +
      'Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ' +
      'dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await line.sees('101');
  line.write('frame');
  await line.sees('frame');
  line.socket.destroy();
  await proxy.quiet();
  t.same(unpaired(proxy.audit.records), []);
});

t.test('a greeting of a raw upstream, which speaks first, is not lost', async (t) => {
  await using corporate = await connectProxy({
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
  const destination = testDestination({
    ...tcp,
    mode: 'plaintext',
    insecure: true,
    upstream: AT,
    via: via(corporate),
  });
  await using proxy = await testProxy({ identity: 'none', destinations: [destination] });
  const raw = await proxy.open('mail');
  t.equal(await raw.sees('second'), '220 mail.example ESMTP\r\nsecond');
  raw.socket.destroy();
  const line = await proxy.open();
  line.write('CONNECT mail.internal:25 HTTP/1.1\r\nHost: mail.internal:25\r\n\r\n');
  await line.sees(/\r\n\r\n220 mail\.example ESMTP\r\nsecond$/);
  line.socket.destroy();
});

t.test(
  'a proxy that smuggles is refused on each of them, and nothing of it reaches the agent',
  async (t) => {
    await using corporate = await smuggler();
    await using proxy = await testProxy({
      destinations: [
        http2({ via: via(corporate) }),
        http2({
          name: 'plain',
          hosts: ['plain.internal'],
          mode: 'plaintext',
          insecure: true,
          via: via(corporate),
        }),
      ],
    });
    for (const [name, code] of [
      ['crm', 'via-refused'],
      ['plain', 'upstream-'],
    ] as const) {
      const told = await proxy.get(`http://${name}.internal/`);
      t.equal(statusOf(told), 502, name);
      t.ok(refusal(told).code.startsWith(code), `${name}: ${refusal(told).code}`);
      await using client = http2Client(proxy.port(name), `${name}.internal`);
      const one = client.open({ ':method': 'GET', ':path': '/' });
      await one.sees(code);
      t.notMatch(told, /smuggle/);
    }
    await using w = await testInterception(t, { destination: { via: via(corporate) } });
    const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
    agent.write('GET /v1/items HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n');
    const answer = await agent.sees('via-refused');
    t.match(answer, /^HTTP\/1\.1 502 /);
    agent.tls.destroy();
    t.notMatch(answer, /smuggle/);
    await proxy.quiet();
    await w.proxy.quiet();
    t.same([...unpaired(proxy.audit.records), ...unpaired(w.proxy.audit.records)], []);
  },
);
