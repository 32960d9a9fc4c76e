import { connect as tlsConnect } from 'node:tls';
import { type TestConnection, refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { hello, withExtension } from '../support/client-hello.ts';
import { type DestinationOptions, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const CONNECT = 'CONNECT web.example.com:443 HTTP/1.1\r\nHost: web.example.com:443\r\n\r\n';

function passthrough(
  port: number,
  more: DestinationOptions = {},
): ReturnType<typeof testDestination> {
  return testDestination({
    name: 'web',
    hosts: ['web.example.com'],
    ports: [443],
    mode: 'passthrough',
    upstream: { host: '127.0.0.1', port },
    ...more,
  });
}

async function tunnel(proxy: TestProxy, head = CONNECT): Promise<TestConnection> {
  const line = await proxy.open();
  line.write(head);
  await line.sees('\r\n\r\n');
  return line;
}

t.test(
  'passthrough: the agent speaks TLS itself with the upstream, recorded as unverified (A1)',
  async (t) => {
    const authority = await testAuthority();
    const svid = await authority.svid('/web', { dns: ['web.example.com'] });
    await using upstream = await mtlsUpstream({ authority, svid, client: 'none' });
    await using proxy = await testProxy({
      authority,
      identity: 'none',
      destinations: [passthrough(upstream.port)],
    });
    const line = await tunnel(proxy);
    t.match(line.text, /^HTTP\/1\.1 200 .*\r\nchaperone-decision: /);
    line.socket.removeAllListeners('data');
    const tls = tlsConnect({
      socket: line.socket,
      servername: 'web.example.com',
      ca: authority.pem,
    });
    tls.write('GET /x HTTP/1.1\r\nHost: web.example.com\r\nConnection: close\r\n\r\n');
    const chunks: Buffer[] = [];
    tls.on('data', (chunk: Buffer) => chunks.push(chunk));
    await until('the answer came', () => Buffer.concat(chunks).includes('"/x"'));
    tls.end();
    await proxy.quiet();
    t.match(proxy.audit.of('decided'), [
      { entry: 'connect', effect: 'allow', destination: 'web', identity: 0 },
    ]);
    t.match(proxy.audit.of('ended'), [
      {
        outcome: 'completed',
        status: 200,
        peer: 'unverified',
        address: `127.0.0.1:${upstream.port}`,
      },
    ]);
    const [ended] = proxy.audit.of('ended');
    t.ok(ended?.kind === 'ended' && ended.sent > 200 && ended.received > 500, 'bytes are counted');
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'passthrough: what is not a ClientHello for the host of the CONNECT opens no connection',
  async (t) => {
    await using upstream = await rawUpstream({ raw: (socket) => void socket.resume() });
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [passthrough(upstream.port)],
    });
    const split = (await hello('evil.com')).toString('latin1');
    const rows: readonly (readonly [string, string | Buffer, string])[] = [
      ['another SNI (A1)', await hello('evil.com'), 'asks for evil.com'],
      [
        'encrypted ClientHello beside another SNI (A12)',
        withExtension(await hello('evil.com'), 0xfe0d),
        'asks for evil',
      ],
      ['no SNI (A1)', await hello(undefined), 'names no server'],
      ['SSH (T3)', 'SSH-2.0-OpenSSH_9.6\r\n', 'no TLS handshake'],
      ['plain HTTP (T3)', 'GET / HTTP/1.1\r\nHost: evil.com\r\n\r\n', 'no TLS handshake'],
      ['SMTP (T3)', 'EHLO x\r\n', 'no TLS handshake'],
      ['a split ClientHello with another SNI (A13)', split, 'asks for evil.com'],
    ];
    for (const [title, bytes, reason] of rows) {
      const before = proxy.audit.records.length;
      const line = await tunnel(proxy);
      if (bytes === split) {
        for (const part of [split.slice(0, 7), split.slice(7, 100), split.slice(100)]) {
          line.write(Buffer.from(part, 'latin1'));
          await new Promise((resolve) => setImmediate(resolve));
        }
      } else line.write(bytes);
      await until(`${title} is cut`, () => line.reset || line.socket.destroyed);
      await proxy.quiet();
      const ended = proxy.audit.records.slice(before).find((one) => one.kind === 'ended');
      t.match(ended, { reason: new RegExp(reason) }, title);
    }
    t.same(upstream.connections, []);
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'passthrough: early bytes are tunnel data, and the upstream gets all of them (F5)',
  async (t) => {
    await using upstream = await rawUpstream({ raw: (socket) => void socket.resume() });
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [passthrough(upstream.port)],
    });
    const bytes = await hello('web.example.com');
    const line = await proxy.open();
    line.write(Buffer.concat([Buffer.from(CONNECT), bytes]));
    await until(
      'the ClientHello arrived',
      () => upstream.connections[0]?.raw.total === bytes.length,
    );
    t.same(upstream.connections[0]?.raw.text, bytes.toString('latin1'));
    line.socket.destroy();
  },
);

t.test(
  'passthrough: an agent that leaves before its ClientHello, or in the middle, ends the exchange',
  async (t) => {
    await using upstream = await rawUpstream({ raw: (socket) => void socket.resume() });
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [passthrough(upstream.port)],
    });
    const gone = await tunnel(proxy);
    gone.socket.resetAndDestroy();
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], { outcome: 'client-gone' });
    const half = await tunnel(proxy);
    half.write((await hello('web.example.com')).subarray(0, 50));
    half.socket.end();
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[1], { outcome: 'malformed' });
    t.same(upstream.connections, []);
  },
);

t.test('tcp over CONNECT: TLS is ours, the peer is verified before the 200', async (t) => {
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({
    authority,
    id: '/db',
    raw: (socket) =>
      void socket.on('data', (chunk) => socket.write(chunk)).on('end', () => socket.end('bye')),
  });
  const destination = testDestination({
    name: 'db',
    hosts: ['db.internal'],
    ports: [5432],
    protocol: 'tcp',
    peers: ['spiffe://example.org/db'],
    upstream: { host: '127.0.0.1', port: upstream.port },
  });
  await using proxy = await testProxy({ authority, destinations: [destination] });
  const line = await proxy.open();
  // Bytes behind the head count once the tunnel is open (F5).
  line.write(
    'CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal\r\n\r\nGET ' +
      'http://crm.internal/ HTTP/1.1\r\n\r\n',
  );
  await line.sees(/200[^]*GET http:\/\/crm/);
  line.write('more');
  await line.sees('more');
  // The end of one direction is passed on, the other goes on.
  line.socket.end();
  t.match(await line.ended(), /bye$/);
  await proxy.quiet();
  t.equal(upstream.connections[0]?.spiffeId, 'spiffe://example.org/agent');
  t.match(proxy.audit.of('ended'), [
    { outcome: 'completed', status: 200, peer: 'spiffe://example.org/db', sent: 41, received: 44 },
  ]);
});

t.test(
  'tcp over CONNECT: a wrong peer is an answer, not a cut, and gets no application byte (A14)',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({
      authority,
      id: '/mallory',
      raw: (socket) => void socket.resume(),
    });
    const destination = testDestination({
      name: 'db',
      hosts: ['db.internal'],
      ports: [5432],
      protocol: 'tcp',
      peers: ['spiffe://example.org/db'],
      upstream: { host: '127.0.0.1', port: upstream.port },
    });
    await using proxy = await testProxy({ authority, destinations: [destination] });
    const answer = await proxy.ask(
      'CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal\r\n\r\nSECRET',
    );
    t.equal(statusOf(answer), 502);
    t.match(refusal(answer), { code: 'upstream-identity', message: /mallory/ });
    t.equal(upstream.received(), 0);
  },
);

t.test('CONNECT where the matrix says no is 403 with what to do instead (T1)', async (t) => {
  await using proxy = await testProxy({
    destinations: [testDestination({ ports: [443] }), passthrough(1)],
  });
  const answer = await proxy.ask(
    'CONNECT crm.internal:443 HTTP/1.1\r\nHost: crm.internal:443\r\n\r\n',
  );
  t.match(answer, /^HTTP\/1\.1 403 chaperone: [ -~]{20,109}\r\n/, 'the status line says why');
  const http = refusal(answer);
  t.match(http, { code: 'wrong-entry', message: /http:\/\/ URL/ });
  const plain = refusal(
    await proxy.ask(
      'GET http://web.example.com:443/ HTTP/1.1\r\nHost: web.example.com:443\r\n\r\n',
    ),
  );
  t.match(plain, { code: 'wrong-entry', message: /https:\/\/ URL/ });
});

t.test(
  'a tunnel that is silent too long is cut on both sides, and so is one that lasts too long',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) => void socket.on('data', (chunk) => socket.write(chunk)),
    });
    const tcp = (
      name: string,
      timeouts: DestinationOptions['timeouts'],
    ): ReturnType<typeof testDestination> =>
      testDestination({
        name,
        hosts: [`${name}.internal`],
        ports: [1],
        protocol: 'tcp',
        mode: 'plaintext',
        upstream: { host: '127.0.0.1', port: upstream.port },
        ...(timeouts && { timeouts }),
      });
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [tcp('idle', { idle: 300 }), tcp('total', { total: 400 })],
    });
    for (const name of ['idle', 'total']) {
      const line = await tunnel(
        proxy,
        `CONNECT ${name}.internal:1 HTTP/1.1\r\nHost: ${name}.internal\r\n\r\n`,
      );
      const chatter = setInterval(() => name === 'total' && line.write('x'), 50);
      await until(`${name} is cut`, () => line.reset);
      clearInterval(chatter);
      await proxy.quiet();
      t.match(proxy.audit.of('ended').at(-1), {
        outcome: 'timeout',
        reason: name === 'idle' ? /nothing moved/ : /did not end/,
      });
    }
    await upstream.quiet();
  },
);

t.test(
  'an upstream that is cut is seen as a cut by the agent, and the other way round',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) => void socket.on('data', (chunk) => socket.write(chunk)),
    });
    const destination = testDestination({
      name: 'tcp',
      hosts: ['tcp.internal'],
      ports: [1],
      protocol: 'tcp',
      mode: 'plaintext',
      upstream: { host: '127.0.0.1', port: upstream.port },
    });
    await using proxy = await testProxy({ identity: 'none', destinations: [destination] });
    const open = async (): Promise<TestConnection> => {
      const line = await tunnel(
        proxy,
        'CONNECT tcp.internal:1 HTTP/1.1\r\nHost: tcp.internal\r\n\r\n',
      );
      line.write('ping');
      await line.sees('ping');
      return line;
    };
    const first = await open();
    upstream.reset();
    await until('the agent sees a reset', () => first.reset);
    await proxy.quiet();
    t.match(proxy.audit.of('ended').at(-1), { outcome: 'upstream-cut', sent: 4, received: 4 });
    const second = await open();
    let hurt = false;
    upstream.connections[1]?.socket.on('error', () => (hurt = true));
    second.socket.resetAndDestroy();
    await until('the upstream sees a reset', () => hurt);
    await proxy.quiet();
    t.match(proxy.audit.of('ended').at(-1), { outcome: 'client-gone' });
    await upstream.quiet();
  },
);
