/**
 * HTTP/2 by prior knowledge on the local listener of a destination: the same judgement, records,
 * limits and cuts as over HTTP/1.1.
 */
import { createHash } from 'node:crypto';
import { Fault } from '../../lib/base/fault.ts';
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  type Field,
  HEADERS,
  PREFACE,
  RST_STREAM,
  ask,
  block,
  frame,
  rawClient,
} from '../http2/raw.ts';
import { statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { policyOf, rule, testDestination } from '../support/destination.ts';
import { http2Client, refusalOf } from '../support/http2-client.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

t.test(
  'each stream is a request that is judged by itself and has records of its own',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({ authority });
    const destination = testDestination({
      listen: true,
      hosts: ['crm.internal', '*.crm.internal'],
      upstream: { host: '127.0.0.1', port: upstream.port },
      rules: [rule('reads', 'allow', { methods: ['GET', 'POST'], paths: ['/v1/**'] })],
    });
    await using proxy = await testProxy({ authority, destinations: [destination] });
    await using client = http2Client(proxy.port('crm'));
    const answers = await Promise.all([
      client.ask('/v1/a?q=1', { 'x-one': '1', cookie: 'a=1' }),
      client.ask('/v2/a'),
      client.ask('/v1/%62', { ':authority': 'eu.crm.internal' }),
      client.ask('/v1/c', {}, 'content'),
    ]);
    t.strictSame(
      answers.map(({ status }) => status),
      [200, 403, 200, 200],
    );
    t.match(answers[0]?.body, /"method":"GET","url":"\/v1\/a\?q=1".*"host","crm.internal"/);
    t.match(answers[2]?.body, /"url":"\/v1\/b".*"host","eu.crm.internal"/);
    t.match(answers[3]?.body, /"transfer-encoding","chunked".*"body":"content"/);
    t.match(refusalOf(answers[1] as never), {
      code: 'denied',
      message: /no rule of destination crm allows GET \/v2\/a/,
    });
    t.match(answers[0]?.headers['chaperone-decision'], /^[0-9a-f-]{36}$/);
    t.equal(new Set(answers.map(({ headers }) => headers['chaperone-decision'])).size, 4);
    await proxy.quiet();
    t.equal(proxy.audit.of('decided').length, 4);
    t.match(
      proxy.audit.of('ended').find((one) => 'sent' in one && one.sent === 7),
      { outcome: 'completed', status: 200 },
    );
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('both versions on one port; a WebSocket stays HTTP/1.1', async (t) => {
  await using upstream = await rawUpstream();
  await using sockets = await rawUpstream({
    raw: (socket) =>
      void socket.once('data', (head: Buffer) => {
        const key = /sec-websocket-key: (\S+)/.exec(head.toString())?.[1] ?? '';
        const accept = createHash('sha1')
          .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
          .digest('base64');
        socket.write(
          `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ` +
            `websocket\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
        );
        socket.on('data', (chunk: Buffer) => socket.write(chunk));
      }),
  });
  const destination = testDestination({
    listen: true,
    mode: 'plaintext',
    upstream: { host: '127.0.0.1', port: upstream.port },
  });
  const chat = testDestination({
    name: 'chat',
    hosts: ['chat.internal'],
    listen: true,
    mode: 'plaintext',
    upstream: { host: '127.0.0.1', port: sockets.port },
    rules: [rule('chat', 'allow', { websocket: true })],
  });
  await using proxy = await testProxy({ destinations: [destination, chat] });
  const web = await proxy.open('chat');
  web.write(
    'GET / HTTP/1.1\r\nHost: chat.internal\r\nConnection: Upgrade\r\nUpgrade: ' +
      'websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ' +
      'dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await web.sees('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  web.write('frame');
  await web.sees('frame');
  web.socket.destroy();
  const stream = await rawClient(proxy.port('chat'));
  stream.send(
    frame(
      HEADERS,
      END_HEADERS,
      1,
      block(...ask('CONNECT', '/', [':protocol', 'websocket']).map(named('chat.internal'))),
    ),
  );
  t.equal(await stream.resetOf(1), 1, 'F12: no extended CONNECT');
  stream.socket.destroy();
  t.equal(sockets.connections.length, 1);
  t.equal(
    statusOf(
      await proxy.ask('GET / HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\n\r\n', 'crm'),
    ),
    200,
  );
  await using client = http2Client(proxy.port('crm'));
  t.equal((await client.ask('/')).status, 200);
  // In pieces, as a slow network brings it.
  const line = await proxy.open('crm');
  for (const byte of PREFACE) line.write(byte);
  line.write(frame(4, 0, 0));
  await line.sees('\0\0\0\x04\x01');
  line.socket.destroy();
  const like = await proxy.ask('PRI * HTTP/2.0\r\n\r\nSX\r\n\r\n', 'crm');
  t.equal(statusOf(like), 400, 'almost a preface');
  const upgrade =
    'GET / HTTP/1.1\r\nHost: crm.internal\r\nConnection: Upgrade, ' +
    'HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n\r\n';
  t.equal(
    statusOf(await proxy.ask(upgrade.replace('Upgrade,', 'close, Upgrade,'), 'crm')),
    200,
    'T5: no upgrade to h2c',
  );
  t.equal(statusOf(await proxy.ask(PREFACE)), 400, 'T5: not on the forward port');
  t.equal(upstream.connections.length, 1, 'one pool for both');
});

function named(host: string): (field: Field) => Field {
  return ([name, value]) => [name, name === ':authority' ? host : value];
}

t.test('what is refused reaches no upstream with a byte: A3, A4, F6, H9, F12, M14', async (t) => {
  await using upstream = await rawUpstream();
  const at = { mode: 'plaintext', upstream: { host: '127.0.0.1', port: upstream.port } } as const;
  const other = testDestination({ name: 'other', hosts: ['other.internal'], ...at });
  await using proxy = await testProxy({
    destinations: [
      testDestination({ listen: true, ...at, rules: [rule('get', 'allow', { methods: ['GET'] })] }),
      other,
    ],
  });
  const rows = [
    [
      'another authority',
      ask('GET', '/').map(([n, v]) => [n, n === ':authority' ? 'other.internal' : v] as const),
      421,
      'misdirected',
    ],
    [
      'a rebound name',
      ask('GET', '/').map(([n, v]) => [n, n === ':authority' ? 'evil.com' : v] as const),
      421,
      'misdirected',
    ],
    [':authority and Host differ', ask('GET', '/', ['host', 'other.internal']), 400, 'ambiguous'],
    ['CRLF in a value', ask('GET', '/', ['x', 'a\r\nb: c']), 400, 'malformed'],
    ['a denied method', ask('DELETE', '/'), 403, 'no-rule-matched'],
    ['TRACE', ask('TRACE', '/'), 501, 'method-not-supported'],
    ['above the root', ask('GET', '/../../etc'), 400, 'malformed'],
    ['another origin', ask('GET', '/', ['origin', 'http://evil.com']), 403, 'denied'],
    [
      'a task that is none',
      ask('GET', '/', ['proxy-authorization', 'Basic x']),
      407,
      'task-unknown',
    ],
    [
      'F11: a method override',
      ask('GET', '/', ['x-http-method-override', 'DELETE']),
      400,
      'ambiguous',
    ],
    [
      'two Authorization',
      ask('GET', '/', ['authorization', 'a'], ['authorization', 'b']),
      400,
      'ambiguous',
    ],
    [
      'too many fields',
      ask('GET', '/', ...Array.from({ length: 140 }, (_, i) => [`x${i}`, 'a'] as const)),
      431,
      'head-too-large',
    ],
  ] as const;
  const client = await rawClient(proxy.port('crm'));
  for (const [i, [title, fields, status, code]] of rows.entries()) {
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 2 * i + 1, block(...fields)));
    t.equal(await client.status(2 * i + 1), status, title);
    await proxy.quiet();
    const last = proxy.audit.records.findLast(
      ({ kind }) => kind === 'decided' || kind === 'refused',
    );
    t.match(last, { code }, title);
  }
  client.send(
    frame(
      HEADERS,
      END_HEADERS | END_STREAM,
      97,
      block(...ask('GET', '/').slice(0, 3), [':authority', 'crm.internal@evil.com']),
    ),
  );
  t.equal(await client.resetOf(97), 1, 'A5: userinfo');
  t.equal(upstream.connections.length, 0, 'not one connection');
  client.get(99, '/ok');
  t.equal(await client.status(99), 200, 'the connection serves on');
  client.socket.destroy();
  await proxy.quiet();
  t.same(unpaired(proxy.audit.records), []);
});

t.test('the engine refuses in silence; the record tells', async (t) => {
  await using proxy = await testProxy({
    destinations: [
      testDestination({
        listen: true,
        mode: 'plaintext',
        upstream: { host: '127.0.0.1', port: 1 },
      }),
    ],
  });
  const client = await rawClient(proxy.port('crm'));
  client.get(1, '/', ['transfer-encoding', 'chunked']);
  t.equal(await client.resetOf(1), 1);
  await until('it is recorded', () => proxy.audit.of('ended')[0]);
  t.match(proxy.audit.records, [
    { kind: 'refused', entry: 'listener', code: 'malformed' },
    { kind: 'ended', outcome: 'malformed' },
  ]);
  client.socket.destroy();
});

t.test(
  'F6: content that does not fit its Content-Length never completes at the upstream',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) => void socket.resume().on('error', () => {}),
    });
    const destination = testDestination({
      listen: true,
      mode: 'plaintext',
      upstream: { host: '127.0.0.1', port: upstream.port },
    });
    await using proxy = await testProxy({ destinations: [destination] });
    for (const [said, sent] of [
      ['9', 'short'],
      ['3', 'longer\r\nGET /smuggled HTTP/1.1'],
    ] as const) {
      const client = await rawClient(proxy.port('crm'));
      const seen = upstream.connections.length;
      client.send(
        frame(HEADERS, END_HEADERS, 1, block(...ask('POST', '/', ['content-length', said]))),
      );
      await until('the head is at the upstream', () => upstream.connections[seen]?.raw.total);
      client.send(frame(DATA, END_STREAM, 1, sent));
      await proxy.quiet();
      t.match(proxy.audit.of('ended').at(-1), { outcome: 'malformed' });
      t.notMatch(upstream.connections.at(-1)?.raw.text, /smuggled/);
      client.socket.destroy();
    }
    t.equal(upstream.connections.length, 2, 'the connections are not used again');
  },
);

t.test(
  'a stream that the agent resets cancels its request at the upstream, and no other',
  async (t) => {
    await using upstream = await rawUpstream({
      http: (request, response) => void (response.writeHead(200), response.write(request.url)),
    });
    const destination = testDestination({
      listen: true,
      mode: 'plaintext',
      upstream: { host: '127.0.0.1', port: upstream.port },
    });
    await using proxy = await testProxy({ destinations: [destination] });
    const client = await rawClient(proxy.port('crm'));
    client.get(1, '/one');
    client.get(3, '/two');
    await client.status(1);
    await client.status(3);
    t.equal(proxy.server.live(), 2);
    client.send(frame(RST_STREAM, 0, 1, Buffer.from([0, 0, 0, 8])));
    await until('one is over', () => proxy.server.live() === 1);
    t.match(proxy.audit.of('ended'), [{ outcome: 'client-gone' }]);
    client.socket.destroy();
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[1], { outcome: 'client-gone' });
  },
);

t.test(
  'a policy that no longer allows it resets an open stream; others of the connection go on',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({
      authority,
      http: (_, response) => void (response.writeHead(200), response.write('first')),
    });
    const at = { listen: true, upstream: { host: '127.0.0.1', port: upstream.port } } as const;
    await using proxy = await testProxy({ authority, destinations: [testDestination(at)] });
    await using client = http2Client(proxy.port('crm'));
    const [one, two] = [client.open({ ':path': '/one' }), client.open({ ':path': '/two' })];
    await one.sees('first');
    await two.sees('first');
    proxy.policy.set(
      policyOf(testDestination({ ...at, rules: [rule('two', 'allow', { paths: ['/two'] })] })),
    );
    t.equal((await one.answer()).code, 2, 'INTERNAL_ERROR: a cut looks cut');
    t.notOk(two.stream.closed);
    await until('it is recorded', () => proxy.audit.of('ended')[0]);
    t.match(proxy.audit.of('redecided'), [{ effect: 'deny' }, { effect: 'allow' }]);
    t.match(proxy.audit.of('ended'), [{ outcome: 'no-longer-allowed' }]);
  },
);

t.test(
  'limits.concurrent counts streams; timeouts and an upstream that cuts are answers of their stream',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await mtlsUpstream({
      authority,
      http: (request, response) => {
        if (request.url === '/cut') request.socket.destroy();
        if (request.url === '/ok') response.end('ok');
      },
    });
    const destination = testDestination({
      listen: true,
      upstream: { host: '127.0.0.1', port: upstream.port },
      limits: { concurrent: 2 },
      timeouts: { headers: 600 },
    });
    await using proxy = await testProxy({ authority, destinations: [destination] });
    await using client = http2Client(proxy.port('crm'));
    const held = [client.ask('/hold'), client.ask('/hold')];
    await until('two are under way', () => proxy.audit.of('decided').length === 2);
    const third = await client.ask('/ok');
    t.equal(third.status, 503);
    t.equal(refusalOf(third).code, 'too-many');
    t.strictSame(
      (await Promise.all(held)).map(({ status }) => status),
      [504, 504],
    );
    t.equal((await client.ask('/ok')).status, 200);
    t.equal((await client.ask('/cut')).status, 502);
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('drain: GOAWAY, what runs is finished, the connection ends; abort cuts', async (t) => {
  let finish: (() => void) | undefined;
  await using upstream = await rawUpstream({
    http: (_, response) => void (finish = () => void response.end('done')),
  });
  const destination = testDestination({
    listen: true,
    mode: 'plaintext',
    upstream: { host: '127.0.0.1', port: upstream.port },
  });
  await using proxy = await testProxy({ destinations: [destination] });
  await using client = http2Client(proxy.port('crm'));
  const running = client.ask('/');
  const end = await until('it is at the upstream', () => finish);
  const stop = new AbortController();
  const drained = proxy.server.drain(stop.signal);
  await until('GOAWAY', () => client.goaway !== undefined);
  end();
  t.match(await running, { status: 200, body: 'done', code: 0 });
  await drained;
  stop.abort(new Fault('shutting-down', 'time is up'));
});

t.test('100-continue, interim answers and HEAD cross', async (t) => {
  await using upstream = await rawUpstream({
    http: (request, response) => {
      response.writeEarlyHints({ link: '</a>; rel=preload' });
      request
        .resume()
        .on('end', () => response.writeHead(200, { 'content-length': '5' }).end('hello'));
    },
  });
  const destination = testDestination({
    listen: true,
    mode: 'plaintext',
    upstream: { host: '127.0.0.1', port: upstream.port },
  });
  await using proxy = await testProxy({ destinations: [destination] });
  await using client = http2Client(proxy.port('crm'));
  const one = client.open({ ':method': 'POST', ':path': '/', expect: '100-continue' }, false);
  await until('100', () => one.informs.includes(100));
  one.stream.end('x');
  t.match(await one.answer(), { status: 200, body: 'hello' });
  t.strictSame(one.informs, [100, 103]);
  const head = await client.ask('/', { ':method': 'HEAD' });
  t.match(head, { status: 200, body: '', headers: { 'content-length': '5' } });
});

t.test(
  'back-pressure: an agent that does not read stops the upstream; bytes are counted as content',
  async (t) => {
    const piece = Buffer.alloc(65_536, 'x');
    let written = 0;
    await using upstream = await rawUpstream({
      http: (_, response) => {
        response.writeHead(200);
        const more = (): void => {
          while (
            written < 512 * piece.length &&
            response.write((written += piece.length) > 0 ? piece : '')
          )
            continue;
          if (written >= 512 * piece.length) response.end();
          else response.once('drain', more);
        };
        more();
      },
    });
    const destination = testDestination({
      listen: true,
      mode: 'plaintext',
      upstream: { host: '127.0.0.1', port: upstream.port },
    });
    await using proxy = await testProxy({ destinations: [destination] });
    await using client = http2Client(proxy.port('crm'));
    const one = client.open({ ':path': '/' });
    one.stream.pause();
    let last = -1;
    await until('the upstream is stopped', async () => {
      const before = written;
      await new Promise((resolve) => setTimeout(resolve, 200));
      return written === before && before > 0 && (last = before) > 0;
    });
    t.ok(last < 16 * 1024 * 1024, `the upstream could write ${last} bytes of 32 MiB`);
    one.stream.resume();
    t.equal((await one.answer()).body.length, 512 * piece.length);
    await proxy.quiet();
    t.match(proxy.audit.of('ended'), [
      { received: 512 * piece.length, sent: 0, outcome: 'completed' },
    ]);
  },
);
