import { connect as connectTcp } from 'node:net';
import { once } from 'node:events';
import { request } from 'node:https';
import { text } from 'node:stream/consumers';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import t from 'tap';
import { type TestIssuer, type TestSvid, testAuthority } from './authority.ts';
import { until } from './until.ts';
import { mtlsUpstream, rawUpstream } from './upstream.ts';

function clientOptions(port: number, authority: TestIssuer, svid?: TestSvid): ConnectionOptions {
  return {
    host: '127.0.0.1',
    port,
    ca: [authority.pem],
    checkServerIdentity: () => undefined,
    ...(svid && { cert: svid.certificatesPem, key: svid.privateKeyPem }),
  };
}

async function dial(options: ConnectionOptions): Promise<TLSSocket> {
  const socket = connect(options);
  await once(socket, 'secureConnect');
  return socket;
}

t.test('an mTLS upstream answers HTTP and writes down who called and what came', async (t) => {
  const authority = await testAuthority();
  const agent = await authority.svid('/agent');
  await using upstream = await mtlsUpstream({ authority, id: '/api' });
  const sent = request({
    ...clientOptions(upstream.port, authority, agent),
    agent: false,
    method: 'POST',
    path: '/x',
  });
  sent.end('hello');
  const [response] = await once(sent, 'response');
  t.match(JSON.parse(await text(response)), { method: 'POST', url: '/x', body: 'hello' });
  t.match(upstream.connections, [
    { state: 'accepted', spiffeId: agent.id, serial: agent.leaf.serialNumber },
  ]);
  t.match(upstream.connections[0]?.plain.text, /^POST \/x HTTP\/1\.1\r\n[^]*hello/);
  t.equal(upstream.connections[0]?.raw.bytes[0], 0x16, 'a TLS handshake record');
  t.notMatch(upstream.connections[0]?.raw.text, /hello/);
  await upstream.quiet();
});

t.test(
  'a client without a certificate, of another authority or not allowed is refused unread',
  async (t) => {
    const authority = await testAuthority();
    const foreign = await testAuthority({ trustDomain: 'other.test' });
    await using upstream = await mtlsUpstream({ authority, allow: ['spiffe://example.org/agent'] });
    const clients = [undefined, await foreign.svid('/agent'), await authority.svid('/somebody')];
    for (const svid of clients) {
      const socket = connect(clientOptions(upstream.port, authority, svid));
      socket.on('error', () => 'refused');
      socket.write('GET / HTTP/1.1\r\n\r\n');
      await once(socket, 'close');
    }
    await upstream.quiet();
    t.same(
      upstream.connections.map(({ state }) => state),
      ['refused', 'refused', 'refused'],
    );
    t.match(upstream.connections[2]?.problem, 'spiffe://example.org/somebody is not allowed');
    t.equal(upstream.received(), 0);
  },
);

t.test(
  'scripted bytes, a raw handler, and a new certificate from the next connection on',
  async (t) => {
    const authority = await testAuthority();
    const agent = await authority.svid('/agent');
    await using upstream = await mtlsUpstream({ authority, bytes: 'HTTP/1.1 204 \r\n\r\n' });
    const first = await dial(clientOptions(upstream.port, authority, agent));
    first.write('ping');
    t.equal(await text(first), 'HTTP/1.1 204 \r\n\r\n');
    const next = await authority.svid('/upstream');
    upstream.present(next);
    await using raw = await mtlsUpstream({
      authority,
      raw: (socket) => void socket.on('data', (chunk) => socket.write(chunk)),
    });
    const echoing = await dial(clientOptions(raw.port, authority, agent));
    echoing.write('to and fro');
    t.equal(String((await once(echoing, 'data'))[0]), 'to and fro');
    echoing.destroy();
    const second = await dial(clientOptions(upstream.port, authority, agent));
    t.equal(second.getPeerX509Certificate()?.serialNumber, next.leaf.serialNumber);
    second.destroy();
  },
);

t.test('sessions are resumed only when tickets are offered', async (t) => {
  const authority = await testAuthority();
  const agent = await authority.svid('/agent');
  for (const tickets of [false, true]) {
    await using upstream = await mtlsUpstream({ authority, tickets, bytes: 'bye' });
    const first = connect(clientOptions(upstream.port, authority, agent));
    let session: Buffer | undefined;
    first.on('session', (given: Buffer) => (session = given));
    first.write('x');
    await text(first);
    const second = await dial({
      ...clientOptions(upstream.port, authority, agent),
      ...(session && { session }),
    });
    t.equal(second.isSessionReused(), tickets);
    await until('the upstream saw it', () => upstream.connections[1]?.state === 'accepted');
    t.equal(upstream.connections[1]?.resumed, tickets);
    second.destroy();
  }
});

t.test('a plain upstream writes down every byte and leaves no socket', async (t) => {
  const upstream = await rawUpstream({ bytes: 'answer' });
  const socket = connectTcp(upstream.port, upstream.host);
  socket.write('question');
  t.equal(await text(socket), 'answer');
  t.equal(upstream.connections[0]?.raw.text, 'question');
  t.equal(upstream.received(), 8);
  const left = connectTcp(upstream.port, upstream.host);
  await until('it is accepted', () => upstream.connections.length === 2);
  await upstream[Symbol.asyncDispose]();
  if (!left.destroyed) await once(left, 'close');
  t.equal(upstream.open(), 0);
});
