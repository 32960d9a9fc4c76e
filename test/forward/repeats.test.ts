/**
 * How often an upstream sees one request: the strongest word on what is sent again, and what is
 * not.
 */
import type { Duplex } from 'node:stream';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import { statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { type DestinationOptions, rule, testDestination } from '../support/destination.ts';
import { http2Client } from '../support/http2-client.ts';
import { h2cUpstream } from '../support/http2-upstream.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const METHODS = ['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'POST', 'PATCH'];
const IDEMPOTENT = METHODS.slice(0, 5);

/** A destination in the clear, spoken to in this version of HTTP. */
function over(
  version: 1 | 2,
  upstream: { readonly port: number },
  more: DestinationOptions = {},
): Destination {
  const to = { host: '127.0.0.1', port: upstream.port };
  const rules = [rule('all', 'allow', { methods: METHODS })];
  return testDestination({
    listen: true,
    mode: 'plaintext',
    upstream: to,
    rules,
    http2: version === 2,
    ...more,
  });
}

function request(proxy: TestProxy, method: string, path: string, body = ''): Promise<string> {
  const length = body === '' ? '' : `Content-Length: ${body.length}\r\n`;
  return proxy.ask(
    `${method} http://crm.internal${path} HTTP/1.1\r\nHost: crm.internal\r\nConnection: ` +
      `close\r\n${length}\r\n${body}`,
  );
}

/**
 * What the upstream does with the requests in turn: a code of RST_STREAM, or `serve`; the last for
 * all that follow.
 */
type Step = number | 'serve';

async function resetting(steps: { now: readonly Step[] }) {
  let at = 0;
  const upstream = await h2cUpstream((stream) => {
    const step = steps.now[Math.min(at++, steps.now.length - 1)] ?? 'serve';
    stream.resume();
    if (step === 'serve')
      stream.on('end', () => (stream.respond({ ':status': 200 }), stream.end('served')));
    else stream.close(step);
  });
  /** From here on these steps, and how many requests they got. */
  const follow = (...next: readonly Step[]): (() => number) => {
    const before = upstream.requests.length;
    at = 0;
    steps.now = next;
    return () => upstream.requests.length - before;
  };
  return Object.assign(upstream, { follow });
}

t.test('CANCEL repeats an idempotent request without a body once, and no other', async (t) => {
  await using upstream = await resetting({ now: ['serve'] });
  await using proxy = await testProxy({ destinations: [over(2, upstream)] });
  t.equal(statusOf(await proxy.get('http://crm.internal/first')), 200);
  for (const method of METHODS) {
    const seen = upstream.follow(8);
    t.equal(statusOf(await request(proxy, method, '/cancelled')), 502, method);
    t.equal(seen(), IDEMPOTENT.includes(method) ? 2 : 1, method);
  }
  const seen = upstream.follow(8);
  t.equal(statusOf(await request(proxy, 'PUT', '/with-body', 'content')), 502);
  t.equal(seen(), 1, 'PUT with a body');
  const once = upstream.follow(8, 'serve');
  t.equal(statusOf(await request(proxy, 'DELETE', '/once')), 200);
  t.equal(once(), 2);
  t.same(unpaired(proxy.audit.records), []);
});

t.test(
  'REFUSED_STREAM repeats any request, three attempts in all; other codes repeat none',
  async (t) => {
    await using upstream = await resetting({ now: ['serve'] });
    await using proxy = await testProxy({ destinations: [over(2, upstream)] });
    t.equal(statusOf(await proxy.get('http://crm.internal/first')), 200);
    for (const method of METHODS) {
      const seen = upstream.follow(7);
      t.equal(
        statusOf(await request(proxy, method, '/refused', method === 'POST' ? 'content' : '')),
        502,
        method,
      );
      t.equal(seen(), 3, method);
    }
    for (const code of [0, 1, 2, 5, 11]) {
      const seen = upstream.follow(code);
      t.equal(statusOf(await request(proxy, 'DELETE', '/reset')), 502, `code ${code}`);
      t.equal(seen(), 1, `code ${code}`);
    }
  },
);

t.test('the bound is over all reasons together', async (t) => {
  await using upstream = await resetting({ now: ['serve'] });
  await using proxy = await testProxy({ destinations: [over(2, upstream)] });
  t.equal(statusOf(await proxy.get('http://crm.internal/first')), 200);
  for (const [steps, count] of [
    [[7, 8], 3],
    [[8, 7, 7], 3],
    [[7, 7, 8], 3],
    [[8, 8, 7], 2],
  ] as const) {
    const seen = upstream.follow(...steps);
    t.equal(statusOf(await request(proxy, 'GET', '/mixed')), 502, steps.join());
    t.equal(seen(), count, steps.join());
  }
});

t.test('an interim answer is a part of an answer: nothing behind it is sent again', async (t) => {
  let code = 8;
  await using upstream = await h2cUpstream((stream, headers) => {
    if (headers[':path'] === '/first')
      return void (stream.respond({ ':status': 200 }), stream.end('served'));
    stream.additionalHeaders({ ':status': 103 });
    return void setTimeout(() => stream.close(code), 20);
  });
  await using proxy = await testProxy({ destinations: [over(2, upstream)] });
  t.equal(statusOf(await proxy.get('http://crm.internal/first')), 200);
  for (code of [7, 8]) {
    const before = upstream.requests.length;
    t.match(await proxy.get('http://crm.internal/informed'), /HTTP\/1.1 502/, `code ${code}`);
    t.equal(upstream.requests.length - before, 1, `code ${code}`);
  }
});

t.test(
  'GOAWAY names the last stream: what is above it is sent again with its body, three attempts in all',
  async (t) => {
    let polite = 1;
    await using upstream = await h2cUpstream((stream, _, session) => {
      stream.resume();
      const id = stream.id ?? 0;
      if (id > 1) session.goaway(0, 1);
      else if (polite-- > 0)
        stream.on('end', () => (stream.respond({ ':status': 200 }), stream.end('served')));
      else session.destroy();
    });
    await using proxy = await testProxy({ destinations: [over(2, upstream)] });
    t.equal(statusOf(await proxy.get('http://crm.internal/first')), 200);
    t.equal(
      statusOf(await request(proxy, 'POST', '/above', 'content')),
      502,
      'cut on the second connection',
    );
    t.equal(
      upstream.requests.length,
      3,
      'the connection that was cut said nothing of having not processed it',
    );
  },
);

t.test('nothing is sent again for an agent that has gone, by either way of going', async (t) => {
  let release: (() => void)[] = [];
  let code = 8;
  await using upstream = await h2cUpstream((stream, headers) => {
    if (headers[':path'] === '/first')
      return void (stream.respond({ ':status': 200 }), stream.end('served'));
    return void release.push(() => stream.close(code));
  });
  await using proxy = await testProxy({ destinations: [over(2, upstream)] });
  t.equal(statusOf(await proxy.get('http://crm.internal/first')), 200);
  const ask = 'DELETE http://crm.internal/slow HTTP/1.1\r\nHost: crm.internal\r\n\r\n';
  for (code of [7, 8])
    for (const leave of ['end', 'reset'] as const) {
      const before = upstream.requests.length;
      release = [];
      const line = await proxy.open();
      line.write(ask);
      await until('the upstream has it', () => release.length === 1);
      if (leave === 'end') line.socket.end();
      else line.socket.resetAndDestroy();
      await new Promise((resolve) => setTimeout(resolve, 100));
      for (const one of release) one();
      await proxy.quiet();
      t.equal(upstream.requests.length - before, 1, `${leave}, code ${code}`);
    }
  const before = upstream.requests.length;
  release = [];
  await using client = http2Client(proxy.port('crm'));
  const stream = client.open({ ':method': 'DELETE', ':path': '/slow' });
  await until('the upstream has it', () => release.length === 1);
  stream.stream.close(8);
  await proxy.quiet();
  for (const one of release) one();
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.equal(upstream.requests.length - before, 1, 'a stream that was reset');
});

t.test('timeouts.headers counts all attempts and interim answers together', async (t) => {
  await using upstream = await h2cUpstream((stream, headers) => {
    if (headers[':path'] === '/refused') return void setTimeout(() => stream.close(7), 600);
    const inform = (left: number): void => {
      if (stream.destroyed || left === 0) return;
      stream.additionalHeaders({ ':status': 103 });
      setTimeout(inform, 300, left - 1);
    };
    return inform(5);
  });
  await using informing = await rawUpstream({
    raw(socket) {
      const timer = setInterval(() => socket.write('HTTP/1.1 103 Early Hints\r\n\r\n'), 300);
      socket.on('close', () => clearInterval(timer)).resume();
    },
  });
  const more = { timeouts: { headers: 1000 } };
  const plain = over(1, informing, { ...more, name: 'h1', hosts: ['h1.internal'] });
  await using proxy = await testProxy({ destinations: [over(2, upstream, more), plain] });
  t.equal(statusOf(await proxy.get('http://crm.internal/refused')), 504);
  t.ok(upstream.requests.length <= 2, `${upstream.requests.length} attempts`);
  t.match(await proxy.get('http://crm.internal/informs'), /HTTP\/1.1 504/);
  t.match(await proxy.get('http://h1.internal/informs'), /HTTP\/1.1 504/);
  t.same(
    proxy.audit.of('ended').map((one) => 'outcome' in one && one.outcome),
    ['upstream-timeout', 'upstream-timeout', 'upstream-timeout'],
  );
});

t.test('the rate of a destination is claimed once, however often a request is sent', async (t) => {
  await using upstream = await resetting({ now: [7, 7, 'serve'] });
  const rate = { count: 2, per: 3_600_000, burst: 2, text: '2/h' };
  await using proxy = await testProxy({ destinations: [over(2, upstream, { limits: { rate } })] });
  t.equal(statusOf(await request(proxy, 'POST', '/one', 'content')), 200);
  t.equal(upstream.requests.length, 3);
  t.equal(statusOf(await request(proxy, 'POST', '/two', 'content')), 200);
  t.equal(statusOf(await request(proxy, 'POST', '/three', 'content')), 503);
  t.equal(upstream.requests.length, 4);
  t.equal(proxy.audit.of('decided').length, 3);
});

/**
 * An HTTP/1.1 upstream that answers the first request of the first connection and does `then` at
 * each one after it.
 */
async function dying(then: (socket: Duplex) => void) {
  const seen: string[] = [];
  const upstream = await rawUpstream({
    raw(socket) {
      socket.on('data', (chunk: Buffer) => {
        seen.push(chunk.toString('latin1').split(' ', 1)[0] ?? '');
        if (seen.length === 1) socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
        else then(socket);
      });
    },
  });
  return Object.assign(upstream, { seen });
}

t.test(
  'HTTP/1.1: a connection that had served and ends without a byte: once more, for an idempotent request',
  async (t) => {
    for (const method of METHODS) {
      await using upstream = await dying((socket) => socket.end());
      await using proxy = await testProxy({ destinations: [over(1, upstream)] });
      t.equal(statusOf(await proxy.get('http://crm.internal/')), 200);
      t.equal(statusOf(await request(proxy, method, '/')), 502, method);
      // A request that must not be repeated is not lent a connection whose key has proved nothing
      // yet.
      t.equal(upstream.seen.length - 1, IDEMPOTENT.includes(method) ? 2 : 1, method);
    }
    await using upstream = await dying((socket) => socket.end());
    await using proxy = await testProxy({ destinations: [over(1, upstream)] });
    t.equal(statusOf(await proxy.get('http://crm.internal/')), 200);
    t.equal(statusOf(await request(proxy, 'PUT', '/', 'content')), 502, 'PUT with a body');
    t.equal(upstream.seen.length - 1, 1);
  },
);

t.test(
  'HTTP/1.1: a byte of an answer, or a connection that is new, and it is not sent again',
  async (t) => {
    await using upstream = await dying((socket) => socket.end('HTTP/1.1 2'));
    await using proxy = await testProxy({ destinations: [over(1, upstream)] });
    t.equal(statusOf(await proxy.get('http://crm.internal/')), 200);
    t.equal(statusOf(await request(proxy, 'GET', '/')), 502);
    t.equal(upstream.seen.length, 2);
    t.equal(statusOf(await request(proxy, 'GET', '/')), 502, 'on a new connection');
    t.equal(upstream.seen.length, 3);
  },
);
