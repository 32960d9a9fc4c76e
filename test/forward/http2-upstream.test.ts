/**
 * HTTP/2 to upstreams: one verified connection for many requests, and no allowed request lost when
 * it ends.
 */
import t from 'tap';
import { headLimits, httpLimits } from '../../lib/http/limits.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import { SETTINGS, frame } from '../http2/raw.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import {
  type DestinationOptions,
  policyOf,
  rule,
  testDestination,
} from '../support/destination.ts';
import { http2Client } from '../support/http2-client.ts';
import { type Handler, h2cUpstream, http2Upstream } from '../support/http2-upstream.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';

/** A destination whose upstream is spoken to in HTTP/2. */
function h2site(upstream: { readonly port: number }, more: DestinationOptions = {}): Destination {
  return {
    ...testDestination({
      listen: true,
      upstream: { host: '127.0.0.1', port: upstream.port },
      ...more,
    }),
    http2: true,
  };
}

function post(proxy: TestProxy, path: string, body: string): Promise<string> {
  return proxy.ask(
    `POST http://crm.internal${path} HTTP/1.1\r\nHost: crm.internal\r\nConnection: ` +
      `close\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
}

t.test(
  'HTTP/1.1 in, HTTP/2 out: one verified connection carries all, and Host is :authority (F6)',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await http2Upstream({ authority });
    await using proxy = await testProxy({ authority, destinations: [h2site(upstream)] });
    const answers = await Promise.all([
      proxy.get('http://crm.internal/a?b'),
      post(proxy, '/c', 'content'),
      proxy.ask(
        'GET http://crm.internal/h HTTP/1.1\r\nHost: crm.internal\r\nX-One: 1\r\nTE: ' +
          'trailers\r\nConnection: close, X-Two\r\nX-Two: 2\r\n\r\n',
      ),
      ...Array.from({ length: 20 }, (_, i) => proxy.get(`http://crm.internal/${i}`)),
    ]);
    t.ok(answers.every((answer) => statusOf(answer) === 200));
    t.match(answers[0], /":path":"\/a\?b"/);
    t.match(answers[0], /":authority":"crm.internal"/);
    t.match(answers[0], /":scheme":"https"/);
    t.match(answers[1], /"content-length":"7".*"body":"content"/);
    t.match(answers[2], /"x-one":"1"/);
    for (const name of ['host', 'te', 'x-two', 'connection'])
      t.notMatch(answers[2], new RegExp(`"${name}"`), name);
    t.equal(upstream.connections.length, 1);
    t.equal(upstream.connections[0]?.alpn, 'h2');
    t.equal(upstream.connections[0]?.spiffeId, 'spiffe://example.org/agent');
    t.notOk(upstream.connections[0]?.resumed);
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], {
      peer: 'spiffe://example.org/upstream',
      outcome: 'completed',
      status: 200,
    });
    t.match(proxy.server.pools(), { keys: 1, idle: 1, leased: 0 });
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'HTTP/2 in and out: bodies stream both ways, HEAD, 204, interim answers; trailers are dropped (F7)',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await http2Upstream({ authority }, (stream, headers) => {
      if (headers[':path'] === '/204')
        return stream.respond({ ':status': 204 }, { endStream: true });
      if (headers[':method'] === 'HEAD')
        return stream.respond({ ':status': 200, 'content-length': '5' }, { endStream: true });
      stream.additionalHeaders({ ':status': 103, link: '</a>' });
      stream.respond({ ':status': 200 }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'x-sum': '1' }));
      stream.on('data', (chunk: Buffer) => stream.write(chunk));
      stream.on('end', () => stream.end());
      return undefined;
    });
    await using proxy = await testProxy({ authority, destinations: [h2site(upstream)] });
    await using client = http2Client(proxy.port('crm'));
    const one = client.open({ ':method': 'POST', ':path': '/' }, false);
    one.stream.write('ping');
    await one.sees('ping');
    one.stream.write('pong');
    await one.sees('pingpong');
    one.stream.end();
    t.match(await one.answer(), { status: 200, body: 'pingpong', trailers: {}, code: 0 });
    t.strictSame(Object.keys((await one.answer()).trailers), []);
    t.strictSame(one.informs, [103]);
    t.match(await client.ask('/', { ':method': 'HEAD' }), {
      status: 200,
      body: '',
      headers: { 'content-length': '5' },
    });
    t.match(await client.ask('/204'), { status: 204, body: '' });
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], { sent: 8, received: 8, outcome: 'completed' });
  },
);

t.test('an upstream that does not choose h2 gets not one byte of a request', async (t) => {
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({ authority, alpn: ['http/1.1'] });
  await using silent = await mtlsUpstream({ authority });
  await using proxy = await testProxy({
    authority,
    destinations: [
      h2site(upstream),
      h2site(silent, { name: 'silent', hosts: ['silent.internal'] }),
    ],
  });
  for (const host of ['crm.internal', 'silent.internal']) {
    const answer = await proxy.get(`http://${host}/`);
    t.equal(statusOf(answer), 502, host);
    t.equal(refusal(answer).code, 'upstream-tls');
  }
  t.match(proxy.audit.of('ended')[1], { reason: /did not choose h2 by ALPN/ });
  t.equal(upstream.received() + silent.received(), 0);
});

t.test('the peer is verified before a byte is sent: another SPIFFE ID is refused', async (t) => {
  const authority = await testAuthority();
  await using upstream = await http2Upstream({ authority, id: '/other' });
  await using proxy = await testProxy({ authority, destinations: [h2site(upstream)] });
  const answer = await proxy.get('http://crm.internal/');
  t.equal(statusOf(answer), 502);
  t.equal(refusal(answer).code, 'upstream-identity');
  t.equal(upstream.received(), 0);
  t.equal(upstream.requests.length, 0);
});

t.test('an upstream that refuses our certificate is named as that', async (t) => {
  const authority = await testAuthority();
  const foreign = await testAuthority({ trustDomain: 'foreign.org' });
  await using upstream = await http2Upstream({ authority, trusts: [foreign] });
  await using proxy = await testProxy({ authority, destinations: [h2site(upstream)] });
  const answer = await proxy.get('http://crm.internal/');
  t.equal(statusOf(answer), 502);
  t.match(refusal(answer).code, /^upstream-(tls|cut)$/);
});

t.test('plaintext upstreams by prior knowledge', async (t) => {
  await using upstream = await h2cUpstream();
  await using proxy = await testProxy({ destinations: [h2site(upstream, { mode: 'plaintext' })] });
  t.match(await proxy.get('http://crm.internal/x'), /":scheme":"http"/);
  t.equal(upstream.connections.length, 1);
});

t.test(
  'GOAWAY loses no allowed request: an upstream that closes its connections under load (invariant 8)',
  async (t) => {
    const authority = await testAuthority();
    let served = 0;
    await using upstream = await http2Upstream({ authority }, (stream, _, session) => {
      served++;
      if (served % 7 === 0) session.close();
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        if (stream.destroyed) return;
        stream.respond({ ':status': 200 });
        stream.end(Buffer.concat(chunks));
      });
    });
    await using proxy = await testProxy({ authority, destinations: [h2site(upstream)] });
    await using client = http2Client(proxy.port('crm'));
    const results: number[] = [];
    for (let round = 0; round < 10; round++) {
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => client.ask(`/${i}`, {}, 'x'.repeat(100))),
      );
      results.push(...answers.map(({ status }) => status));
    }
    t.equal(
      results.filter((status) => status === 200).length,
      200,
      results.filter((status) => status !== 200).join(),
    );
    t.ok(upstream.connections.length > 5, `${upstream.connections.length} connections`);
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'a request that the upstream did not process is sent again, with its body; one that it may have is not',
  async (t) => {
    const authority = await testAuthority();
    let refuse = 1;
    let code = 7;
    await using upstream = await http2Upstream({ authority }, (stream) => {
      if (refuse-- > 0) {
        stream.close(code);
        return;
      }
      const chunks: Buffer[] = [];
      stream.on('data', (chunk: Buffer) => chunks.push(chunk));
      stream.on('end', () => {
        stream.respond({ ':status': 200 });
        stream.end(Buffer.concat(chunks));
      });
    });
    await using proxy = await testProxy({ authority, destinations: [h2site(upstream)] });
    t.match(await post(proxy, '/refused', 'content'), /content/, 'REFUSED_STREAM');
    t.equal(upstream.requests.length, 2);
    refuse = 1;
    await using client = http2Client(proxy.port('crm'));
    t.match(await client.ask('/refused', {}, 'streamed'), { status: 200, body: 'streamed' });
    refuse = 99;
    t.equal((await client.ask('/refused', {}, 'x')).status, 502, 'not for ever');
    refuse = 1;
    code = 2;
    const before = upstream.requests.length;
    t.equal((await client.ask('/reset', {}, 'x')).status, 502, 'INTERNAL_ERROR');
    t.equal(upstream.requests.length, before + 1);
    refuse = 0;
    t.equal((await client.ask('/', {}, 'x')).status, 200);
    t.equal(upstream.connections.length, 1, 'a reset stream leaves the connection');
    await proxy.quiet();
    t.match(
      proxy.audit
        .of('ended')
        .map((one) => ('sent' in one ? one.sent : -1))
        .slice(0, 2),
      [7, 8],
      'content is counted once',
    );
  },
);

t.test('a body that is more than is kept is not sent again', async (t) => {
  await using upstream = await h2cUpstream((stream) => {
    stream.on('data', () => {});
    let bytes = 0;
    stream.on('data', (chunk: Buffer) => (bytes += chunk.length) > 100_000 && stream.close(7));
  });
  await using proxy = await testProxy({ destinations: [h2site(upstream, { mode: 'plaintext' })] });
  await using client = http2Client(proxy.port('crm'));
  t.equal((await client.ask('/', {}, Buffer.alloc(200_000))).status, 502);
  t.equal(upstream.requests.length, 1);
});

const streaming: Handler = (stream, headers) => {
  stream.respond({ ':status': 200 });
  stream.write(`first ${headers[':path']}`);
  // More than anybody reads.
  stream.write(Buffer.alloc(200_000));
};

t.test(
  'what one request suffers, no other of the connection does: client gone, policy, timeout',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await http2Upstream({ authority }, (stream, headers, session) =>
      headers[':path'] === '/silent' ? undefined : streaming(stream, headers, session),
    );
    const more = { timeouts: { headers: 500 } };
    await using proxy = await testProxy({ authority, destinations: [h2site(upstream, more)] });
    await using client = http2Client(proxy.port('crm'));
    const [gone, cut, stays] = ['/gone', '/cut', '/stays'].map((path) =>
      client.open({ ':path': path }),
    );
    await Promise.all([gone?.sees('first'), cut?.sees('first'), stays?.sees('first')]);
    const silent = client.ask('/silent');
    gone?.stream.close(8);
    await until('the upstream sees one reset', () => upstream.codes.length === 1);
    const rules = [rule('stays', 'allow', { paths: ['/stays', '/silent'] })];
    proxy.policy.set(policyOf(h2site(upstream, { ...more, rules })));
    t.equal((await cut?.answer())?.code, 2);
    t.equal((await silent).status, 504);
    await until('the upstream sees all resets', () => upstream.codes.length === 3);
    t.notOk(stays?.stream.closed);
    t.equal(upstream.connections.length, 1);
    await until('three have ended', () => proxy.audit.of('ended').length === 3);
    stays?.stream.close(8);
    proxy.policy.set(policyOf(testDestination({ name: 'other' })));
    await until(
      'nothing keeps the connection',
      () =>
        proxy.server.pools().keys + proxy.server.pools().idle + proxy.server.pools().leased === 0,
    );
    t.match(
      proxy.audit.of('ended').map((one) => 'outcome' in one && one.outcome),
      ['client-gone', 'no-longer-allowed', 'upstream-timeout'],
    );
  },
);

t.test(
  'rotation: new requests go over a connection with the new SVID, what runs goes on over the old one',
  async (t) => {
    const authority = await testAuthority();
    const [one, two] = [await authority.svid('/agent'), await authority.svid('/agent')];
    const open: (() => void)[] = [];
    await using upstream = await http2Upstream({ authority }, (stream, headers) => {
      stream.respond({ ':status': 200 });
      if (headers[':path'] !== '/long') return void stream.end('short');
      stream.write('first');
      open.push(() => stream.end('last'));
    });
    await using proxy = await testProxy({
      authority,
      identity: authority.identity(one, [], 1),
      destinations: [h2site(upstream)],
    });
    await using client = http2Client(proxy.port('crm'));
    const long = client.open({ ':path': '/long' });
    await long.sees('first');
    proxy.identity.set({
      kind: 'current',
      identity: authority.identity(two, [], 2),
      problem: undefined,
    });
    t.equal((await client.ask('/short')).status, 200);
    t.equal(upstream.connections.length, 2);
    t.not(upstream.connections[0]?.serial, upstream.connections[1]?.serial);
    open[0]?.();
    t.match(await long.answer(), { body: 'firstlast', code: 0 });
    await until(
      'the old connection is closed',
      () => proxy.server.pools().idle === 1 && proxy.server.pools().leased === 0,
    );
    t.ok(upstream.sessions[0]?.closed);
  },
);

t.test(
  'a reload retires only connections whose settings changed, a connection has an age',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await http2Upstream({ authority });
    await using proxy = await testProxy({
      authority,
      destinations: [h2site(upstream)],
      options: { limits: httpLimits({ poolMaxAgeMs: 1500, poolAgeJitter: 0 }) },
    });
    await proxy.get('http://crm.internal/');
    proxy.policy.set(policyOf(h2site(upstream)));
    await proxy.get('http://crm.internal/');
    t.equal(upstream.connections.length, 1, 'equal settings');
    proxy.policy.set(policyOf(h2site(upstream, { peers: ['spiffe://example.org/*'] })));
    await until('the retired connection is closed', () => upstream.sessions[0]?.closed);
    await proxy.get('http://crm.internal/');
    t.equal(upstream.connections.length, 2, 'other peers');
    await until('it is too old', async () => {
      await proxy.get('http://crm.internal/');
      return upstream.connections.length === 3;
    });
    t.match(proxy.server.pools(), { idle: 1 });
  },
);

t.test('back-pressure both ways over one connection', async (t) => {
  const authority = await testAuthority();
  let taken = 0;
  let read: (() => void) | undefined;
  await using upstream = await http2Upstream({ authority }, (stream, headers) => {
    if (headers[':method'] === 'POST') {
      stream.on('data', (chunk: Buffer) => (taken += chunk.length));
      stream.pause();
      stream.on('end', () => (stream.respond({ ':status': 200 }), stream.end('ok')));
      read = () => void stream.resume();
      return;
    }
    stream.respond({ ':status': 200 });
    stream.end('quick');
  });
  await using proxy = await testProxy({ authority, destinations: [h2site(upstream)] });
  await using client = http2Client(proxy.port('crm'));
  const upload = client.open({ ':method': 'POST', ':path': '/' }, false);
  let written = 0;
  const piece = Buffer.alloc(65_536);
  const pump = (): void => {
    while (written < 256 * piece.length) {
      written += piece.length;
      if (!upload.stream.write(piece)) return void upload.stream.once('drain', pump);
    }
    upload.stream.end();
  };
  pump();
  await until('the upload stands', async () => {
    const before = written;
    await new Promise((resolve) => setTimeout(resolve, 200));
    return before === written;
  });
  t.ok(written < 4 * 1024 * 1024, `${written} bytes were taken of 16 MiB`);
  t.match(await client.ask('/quick'), { body: 'quick' }, 'another stream is not held up');
  read?.();
  t.match(await upload.answer(), { status: 200, body: 'ok' });
  t.equal(taken, 256 * piece.length);
});

t.test(
  'an upstream that misbehaves: 1xx floods, heads too large, protocol errors, a cut',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await http2Upstream({ authority }, (stream, headers, session) => {
      const path = headers[':path'];
      if (path === '/informs')
        for (let i = 0; i < 7; i++) stream.additionalHeaders({ ':status': 103 });
      else if (path === '/large')
        return stream.respond({ ':status': 200, 'x-large': 'a'.repeat(17_000) });
      else if (path === '/cut') return session.socket.destroy();
      stream.respond({ ':status': 200 });
      if (path === '/short') {
        stream.write('begin');
        setTimeout(() => session.destroy(), 50);
      } else stream.end('ok');
      return undefined;
    });
    await using proxy = await testProxy({ authority, destinations: [h2site(upstream)] });
    await using client = http2Client(proxy.port('crm'));
    for (const [path, code] of [
      ['/informs', 'upstream-malformed'],
      ['/large', 'upstream-malformed'],
      ['/cut', 'upstream-cut'],
    ] as const) {
      t.equal((await client.ask(path)).status, 502, path);
      await proxy.quiet();
      t.match(proxy.audit.of('ended').at(-1), { outcome: code }, path);
    }
    const short = await client.ask('/short');
    t.match(short, { status: 200, code: 2 }, 'a cut looks cut');
    t.equal((await client.ask('/ok')).status, 200);
    await using garbage = await rawUpstream({ bytes: 'HTTP/1.1 400 Bad Request\r\n\r\n' });
    proxy.policy.set(policyOf(h2site(garbage, { mode: 'plaintext' })));
    t.equal((await client.ask('/')).status, 502);
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('limits: an upstream with few places gets more connections, not more streams', async (t) => {
  await using upstream = await h2cUpstream(
    (stream) => void setTimeout(() => (stream.respond({ ':status': 200 }), stream.end('ok')), 30),
  );
  await using proxy = await testProxy({
    destinations: [h2site(upstream, { mode: 'plaintext', limits: { concurrent: 500 } })],
  });
  await using client = http2Client(proxy.port('crm'));
  await client.ask('/');
  const answers = await Promise.all(Array.from({ length: 120 }, () => client.ask('/')));
  t.ok(answers.every(({ status }) => status === 200));
  t.equal(upstream.connections.length, 2, '100 at once on one connection');
});

t.test('a dead connection is found out by a request that times out', async (t) => {
  await using upstream = await rawUpstream({
    raw: (socket) => void socket.resume().write(frame(SETTINGS, 0, 0)),
  });
  await using proxy = await testProxy({
    destinations: [h2site(upstream, { mode: 'plaintext', timeouts: { headers: 200 } })],
  });
  t.equal(statusOf(await proxy.get('http://crm.internal/')), 504);
  t.match(proxy.server.pools(), { idle: 1 }, 'it has to prove that it lives');
  await until('it is closed', () => proxy.server.pools().idle === 0, 15_000);
  t.equal(statusOf(await proxy.get('http://crm.internal/')), 504);
  t.equal(upstream.connections.length, 2);
});

t.test(
  'an answer that the upstream cuts and the agent gives up unread keeps no stream and no connection open',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await http2Upstream({ authority }, (stream) => {
      stream.respond({ ':status': 200 });
      stream.write(Buffer.alloc(250_000));
      setTimeout(() => stream.close(2), 100);
    });
    await using proxy = await testProxy({ authority, destinations: [h2site(upstream)] });
    await using client = http2Client(proxy.port('crm'));
    const stuck = client.open({ ':path': '/' });
    stuck.stream.pause();
    await until(
      'the answer stands',
      () => stuck.status === 200 && (proxy.audit.of('decided').length > 0 || undefined),
    );
    await until('the upstream has reset it', () => upstream.codes.length === 1);
    stuck.stream.close(8);
    await proxy.quiet();
    proxy.policy.set(policyOf(testDestination({ name: 'other' })));
    await until(
      'nothing keeps the connection',
      () => proxy.server.pools().idle + proxy.server.pools().leased === 0,
    );
    t.match(proxy.audit.of('ended'), [{ outcome: /client-gone|upstream-cut/ }]);
  },
);

t.test('heads as large as listeners.maxHead allows cross HTTP/2, in and out', async (t) => {
  await using upstream = await h2cUpstream((stream, headers) => {
    stream.respond({
      ':status': 200,
      'x-size': String(headers['x-jwt']?.length),
      'x-back': 'b'.repeat(50_000),
    });
    stream.end('ok');
  });
  const limits = httpLimits(headLimits({ maxHead: 131_072 }));
  await using proxy = await testProxy({
    destinations: [h2site(upstream, { mode: 'plaintext' })],
    options: { limits },
  });
  await using client = http2Client(proxy.port('crm'));
  const answer = await client.ask('/', { 'x-jwt': 'j'.repeat(50_000) });
  t.match(answer, { status: 200, body: 'ok', headers: { 'x-size': '50000' } });
  t.equal(answer.headers['x-back']?.length, 50_000);
});
