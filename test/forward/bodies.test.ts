import { connect } from 'node:net';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { type DestinationOptions, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const HEAD = 'http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n';

function to(upstream: RawUpstream, more: DestinationOptions = {}): Promise<TestProxy> {
  return testProxy({
    identity: 'none',
    destinations: [
      testDestination({
        mode: 'plaintext',
        upstream: { host: '127.0.0.1', port: upstream.port },
        ...more,
      }),
    ],
  });
}

t.test('100 is answered by us after the decision, the upstream gets no Expect (F8)', async (t) => {
  await using upstream = await rawUpstream();
  await using proxy = await to(upstream);
  const line = await proxy.open();
  line.write(`POST ${HEAD}Expect: 100-continue\r\nContent-Length: 5\r\nConnection: close\r\n\r\n`);
  await line.sees('HTTP/1.1 100 Continue\r\n\r\n');
  line.write('hello');
  const answer = await line.ended();
  t.match(answer, /100 Continue\r\n\r\nHTTP\/1\.1 200[^]*"body":"hello"/);
  t.notMatch(upstream.connections[0]?.raw.text, /expect/i);
});

t.test('a refused request gets no 100 (F8)', async (t) => {
  await using upstream = await rawUpstream();
  await using proxy = await to(upstream, { rules: [] });
  const answer = await proxy.ask(`POST ${HEAD}Expect: 100-continue\r\nContent-Length: 5\r\n\r\n`);
  t.equal(statusOf(answer), 403);
  t.notMatch(answer, /100 Continue/);
});

t.test(
  'interim answers of the upstream reach the agent, 100 does not, HTTP/1.0 gets none',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) =>
        void socket.on('data', () =>
          socket.write(
            'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: ' +
              '</a>\r\nKeep-Alive: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n',
          ),
        ),
    });
    await using proxy = await to(upstream);
    const answer = await proxy.ask(`GET ${HEAD}Connection: close\r\n\r\n`);
    t.match(
      answer,
      /^HTTP\/1\.1 103 Early Hints\r\nlink: <\/a>\r\nvia: [^\r]*\r\n\r\nHTTP\/1\.1 204/,
    );
    t.match(await proxy.ask('GET http://crm.internal/ HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 204/);
  },
);

t.test(
  'an early answer reaches the agent while it still uploads, and the upload stops',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) =>
        void socket
          .once('data', () =>
            socket.write('HTTP/1.1 413 Too Much\r\nContent-Length: 4\r\n\r\nstop'),
          )
          .on('end', () => socket.end()),
    });
    await using proxy = await to(upstream);
    for (let i = 0; i < 10; i += 1) {
      const line = await proxy.open();
      line.write(`POST ${HEAD}Content-Length: 100000000\r\n\r\n`);
      const feed = setInterval(
        () => line.socket.writable && line.socket.write(Buffer.alloc(10_000)),
        1,
      );
      await line.sees('stop');
      clearInterval(feed);
      t.match(line.text, /^HTTP\/1\.1 413[^]*connection: close/);
      line.socket.destroy();
    }
    await proxy.quiet();
    t.match(
      proxy.audit.of('ended'),
      Array.from({ length: 10 }, () => ({ outcome: 'completed', status: 413, received: 4 })),
    );
    await upstream.quiet();
  },
);

t.test('HEAD, 204, 304 and 205 have no body, and their connections go on', async (t) => {
  await using upstream = await rawUpstream({
    http: (request, response) => {
      const status = Number(request.url?.slice(1)) || 200;
      response.writeHead(
        status,
        request.method === 'HEAD'
          ? { 'content-length': '1234' }
          : status === 200
            ? { 'content-length': '2' }
            : {},
      );
      response.end(status === 200 && request.method === 'GET' ? 'ok' : undefined);
    },
  });
  await using proxy = await to(upstream);
  const line = await proxy.open();
  const asked = ['HEAD /200', 'GET /204', 'GET /304', 'GET /200'];
  for (const [i, one] of asked.entries()) {
    const [method, path] = one.split(' ');
    const last = i === asked.length - 1 ? 'Connection: close\r\n' : '';
    line.write(
      `${method} http://crm.internal${path} HTTP/1.1\r\nHost: crm.internal\r\n${last}\r\n`,
    );
    await until(
      `${one} was answered`,
      () => (line.text.match(/^HTTP\/1\.1/gm)?.length ?? 0) === i + 1,
    );
  }
  const all = await line.ended();
  t.match(
    all,
    new RegExp(
      '^HTTP/1\\.1 200 OK\r\n[^]*content-length: 1234\r\n\r\nHTTP/1\\.1 204[^]*\r\n\r\n' +
        'HTTP/1\\.1 304[^]*\r\n\r\nHTTP/1\\.1 200[^]*\r\n\r\nok$',
    ),
  );
  t.equal(upstream.connections.length, 1, 'one connection was used again');
});

t.test(
  'chunked both ways, trailers dropped (F7), and 1.0 clients get an answer until close',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) =>
        void socket.on('data', (chunk: Buffer) => {
          if (chunk.includes('0\r\n') || chunk.includes('GET')) {
            socket.write(
              'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: ' +
                'X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n',
            );
          }
        }),
    });
    await using proxy = await to(upstream);
    const answer = await proxy.ask(
      `POST ${HEAD}Transfer-Encoding: chunked\r\nTrailer: X-Role\r\nConnection: ` +
        `close\r\n\r\n2\r\nhi\r\n3\r\n!!!\r\n0\r\nX-Role: admin\r\n\r\n`,
    );
    t.match(answer, /transfer-encoding: chunked\r\n[^]*3\r\nabc\r\n0$/);
    t.notMatch(answer, /x-sum/i);
    const sent = upstream.connections[0]?.raw.text ?? '';
    t.match(sent, /\r\n0\r\n\r\n$/);
    t.notMatch(sent, /x-role/i);
    t.match(
      await proxy.ask('GET http://crm.internal/ HTTP/1.0\r\n\r\n'),
      /connection: close\r\n\r\nabc$/,
    );
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], { sent: 5, received: 3, outcome: 'completed' });
  },
);

t.test('Server-Sent Events pass one by one, unbuffered', async (t) => {
  let push: (text: string) => void = () => {};
  await using upstream = await rawUpstream({
    http: (_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      push = (text) => void response.write(text);
    },
  });
  await using proxy = await to(upstream);
  const line = await proxy.open();
  line.write(`GET ${HEAD}\r\n`);
  await line.sees('text/event-stream');
  for (let i = 0; i < 5; i += 1) {
    push(`data: ${i}\n\n`);
    await line.sees(`data: ${i}\n\n`, 500);
  }
  line.socket.destroy();
  // An end of the agent's side alone is no farewell (it may be half a close); the next events find
  // out.
  await until(
    'the exchange ends',
    () => (push('data: nobody reads this\n\n'), proxy.server.live() === 0),
  );
  t.match(proxy.audit.of('ended'), [{ outcome: 'client-gone', status: 200 }]);
});

t.test(
  'a body over limits.body is 413: said beforehand before anything is dialled, otherwise as it is found',
  async (t) => {
    await using upstream = await rawUpstream({ raw: (socket) => void socket.resume() });
    await using proxy = await to(upstream, { limits: { body: 10 } });
    const said = await proxy.ask(`POST ${HEAD}Content-Length: 11\r\n\r\n`);
    t.equal(statusOf(said), 413);
    t.equal(refusal(said).code, 'body-too-large');
    t.same(upstream.connections, []);
    const found = await proxy.ask(
      `POST ${HEAD}Transfer-Encoding: chunked\r\n\r\n6\r\nabcdef\r\n6\r\nSECRET\r\n0\r\n\r\n`,
    );
    t.equal(statusOf(found), 413);
    await proxy.quiet();
    t.notMatch(upstream.connections[0]?.raw.text, /SECRET/);
    t.match(proxy.audit.of('ended'), [
      { outcome: 'body-too-large' },
      { outcome: 'body-too-large' },
    ]);
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('requests sent ahead are answered in order, each decided on its own (A3)', async (t) => {
  await using upstream = await rawUpstream();
  await using proxy = await to(upstream);
  const answer = await proxy.ask(
    `GET http://crm.internal/1 HTTP/1.1\r\nHost: crm.internal\r\n\r\nGET ` +
      `http://crm.internal/2 HTTP/1.1\r\nHost: crm.internal\r\n\r\n` +
      `GET http://evil.internal/3 HTTP/1.1\r\nHost: evil.internal\r\n\r\nGET ` +
      `http://crm.internal/4 HTTP/1.1\r\nHost: crm.internal\r\n\r\n`,
  );
  t.match(answer, /"\/1"[^]*"\/2"[^]*HTTP\/1\.1 403[^]*"\/4"/);
  t.equal(proxy.audit.of('decided').length, 4);
});

t.test(
  'more exchanges than limits.concurrent: 503 with Retry-After; a place is free again afterwards (R2)',
  async (t) => {
    const waiting: (() => void)[] = [];
    await using upstream = await rawUpstream({
      http: (_, response) => void waiting.push(() => response.end('ok')),
    });
    await using proxy = await to(upstream, { limits: { concurrent: 2 } });
    const first = [proxy.get('http://crm.internal/1'), proxy.get('http://crm.internal/2')];
    await until('two are under way', () => waiting.length === 2);
    const third = await proxy.get('http://crm.internal/3');
    t.equal(statusOf(third), 503);
    t.match(third, /retry-after: 1/);
    t.equal(refusal(third).code, 'too-many');
    for (const answer of waiting.splice(0)) answer();
    t.same((await Promise.all(first)).map(statusOf), [200, 200]);
    const fourth = proxy.get('http://crm.internal/4');
    await until('the fourth is under way', () => waiting.length === 1);
    for (const answer of waiting.splice(0)) answer();
    t.equal(statusOf(await fourth), 200);
  },
);

t.test(
  'an idle connection that the upstream closed costs no request: one safe retry on a fresh one',
  async (t) => {
    let served = 0;
    await using upstream = await rawUpstream({
      raw: (socket) =>
        void socket.on('data', () => {
          served += 1;
          // Every second request of the test falls into the gap between a connection's death and
          // our noticing it.
          if (served === 2) socket.destroy();
          else socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        }),
    });
    await using proxy = await to(upstream);
    t.equal(statusOf(await proxy.get('http://crm.internal/')), 200);
    t.equal(statusOf(await proxy.get('http://crm.internal/')), 200, 'retried');
    t.equal(upstream.connections.length, 2);
    served = 1;
    const post = await proxy.ask(`POST ${HEAD}Content-Length: 2\r\nConnection: close\r\n\r\nhi`);
    t.equal(statusOf(post), 502, 'a request with a body is not sent twice');
    t.same(unpaired(proxy.audit.records), []);
    t.equal(proxy.audit.of('decided').length, 3, 'a retry is not another exchange');
  },
);

t.test('300 MB each way in flat memory', { timeout: 120_000 }, async (t) => {
  const SIZE = 300 * 1024 * 1024;
  const piece = Buffer.alloc(64 * 1024, 'x');
  const { createServer } = await import('node:net');
  // No byte log here: it would be the memory that is measured.
  let received = 0;
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    socket.once('data', (head: Buffer) => {
      const upload = head.includes('POST');
      received = 0;
      if (upload) {
        socket.on('data', (chunk: Buffer) => {
          received += chunk.length;
          if (received >= SIZE) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n');
        });
        return;
      }
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${SIZE}\r\n\r\n`);
      let sent = 0;
      const more = (): void => {
        while (sent < SIZE) {
          sent += piece.length;
          if (!socket.write(piece)) return void socket.once('drain', more);
        }
      };
      more();
    });
    socket.on('error', () => {});
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const info = server.address();
  const port = typeof info === 'object' ? (info?.port ?? 0) : 0;
  await using proxy = await testProxy({
    identity: 'none',
    destinations: [testDestination({ mode: 'plaintext', upstream: { host: '127.0.0.1', port } })],
  });
  let peak = 0;
  const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().rss)), 20);
  const start = process.memoryUsage().rss;
  const socket = connect({ port: proxy.port(), host: '127.0.0.1' });
  let got = 0;
  socket.on('data', (chunk: Buffer) => (got += chunk.length));
  socket.write(`GET ${HEAD}\r\n`);
  await until('the download is complete', () => got > SIZE, 60_000);
  got = 0;
  socket.write(`POST ${HEAD}Content-Length: ${SIZE}\r\n\r\n`);
  for (let sent = 0; sent < SIZE; sent += piece.length) {
    if (!socket.write(piece)) await new Promise((resolve) => socket.once('drain', resolve));
  }
  await until('the upload is answered', () => got > 0, 60_000);
  clearInterval(watch);
  t.ok(
    peak - start < 150 * 1024 * 1024,
    `resident memory grew by ${Math.round((peak - start) / 1024 / 1024)} MiB`,
  );
  await proxy.quiet();
  t.match(proxy.audit.of('ended'), [{ received: SIZE }, { sent: SIZE }]);
  socket.destroy();
  server.close();
});

t.test('a slow reader stops the upstream: what is in between stays bounded', async (t) => {
  let sent = 0;
  await using upstream = await rawUpstream({
    raw: (socket) =>
      void socket.once('data', () => {
        socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n');
        const piece = Buffer.alloc(64 * 1024);
        const more = (): void => {
          while (!socket.destroyed) {
            sent += piece.length;
            if (!socket.write(piece)) return void socket.once('drain', more);
          }
        };
        more();
      }),
  });
  await using proxy = await to(upstream, { timeouts: { idle: 700 } });
  const line = await proxy.open();
  line.socket.pause();
  line.write(`GET ${HEAD}\r\n`);
  let last = -1;
  await until('it stands still', async () => {
    const before = sent;
    await new Promise((resolve) => setTimeout(resolve, 200));
    last = sent;
    return before === sent && sent > 0;
  });
  t.ok(last < 50_000_000, `${last} bytes in between`);
  await proxy.quiet();
  t.match(
    proxy.audit.of('ended'),
    [{ outcome: 'timeout' }],
    'and a reader that never reads is cut (R1)',
  );
});
