/**
 * Server and client together, as the data path uses them: a relay between two real TCP connections.
 */
import net from 'node:net';
import t from 'tap';

import { systemClock } from '../../lib/base/clock.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import { type Body, fieldOf } from '../../lib/http/message.ts';
import type { ServerExchange } from '../../lib/http/server-exchange.ts';
import { type Pool, pool } from '../../lib/http1/pool.ts';
import { type TestServer, collect, dial, head, serve, until } from './wire.ts';

const MB = 1_000_000;

interface Relay extends AsyncDisposable {
  readonly port: number;
  readonly server: TestServer;
  readonly upstream: TestServer;
  readonly pool: Pool<net.Socket>;
  readonly failures: unknown[];
}

async function relay(handle: (x: ServerExchange) => Promise<void>): Promise<Relay> {
  const upstream = await serve(handle);
  const connections = pool<net.Socket>({ limits: httpLimits(), clock: systemClock });
  const failures: unknown[] = [];
  const connect = async (): Promise<{ socket: net.Socket; info: net.Socket }> => {
    const socket = net.connect({ port: upstream.port, host: '127.0.0.1', noDelay: true });
    await new Promise((resolve) => socket.once('connect', resolve));
    return { socket, info: socket };
  };
  const pass = async (x: ServerExchange): Promise<void> => {
    const { signal } = x.connection;
    const lease = await connections.acquire('k', connect, signal);
    try {
      const { method, target, framing, expectContinue } = x.head;
      const fields = ['host', 'upstream', ...(expectContinue ? ['expect', '100-continue'] : [])];
      const { head: answer, body } = await lease.connection.request(
        { method, target, fields, framing, trailers: true },
        x.body,
        {
          signal,
          onInform: (status, informed) => x.inform(status, informed),
        },
      );
      const type = fieldOf(answer.fields, 'content-type');
      await x.respond(
        {
          status: answer.status,
          fields: type === undefined ? [] : ['content-type', type],
          length: body.length,
          trailers: true,
        },
        body,
      );
    } catch (failure) {
      failures.push(failure);
      throw failure;
    } finally {
      lease.release();
    }
  };
  const server = await serve(pass);
  return {
    port: server.port,
    server,
    upstream,
    pool: connections,
    failures,
    async [Symbol.asyncDispose]() {
      await connections[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

/** So many bytes, given out in pieces. */
function bytes(total: number): Body & { readonly given: number } {
  const piece = Buffer.alloc(65_536, 'x');
  let given = 0;
  return {
    length: total,
    get given() {
      return given;
    },
    poll() {
      if (given === total) return 'end';
      const next = piece.subarray(0, Math.min(piece.length, total - given));
      given += next.length;
      return next;
    },
    ready: async () => {},
    trailers: () => [],
    cancel() {},
  };
}

/** The most that the sockets of this process held at any time, beyond what the kernel holds. */
function watch(sockets: () => Iterable<net.Socket>): () => number {
  let most = 0;
  const timer = setInterval(() => {
    for (const socket of sockets())
      most = Math.max(most, socket.writableLength + socket.readableLength);
  }, 1);
  return () => {
    clearInterval(timer);
    return most;
  };
}

t.test('a slow reader of 200 MB keeps what is buffered bounded (R1)', async (t) => {
  for (const chunked of [false, true]) {
    const body = bytes(200 * MB);
    await using it = await relay((x) =>
      x.respond({ status: 200, fields: [], length: chunked ? undefined : 200 * MB }, body),
    );
    const most = watch(() => [...it.server.connections, ...it.upstream.connections]);
    const socket = net.connect({ port: it.port, host: '127.0.0.1' });
    let received = 0;
    let stopped = 0;
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (stopped > 0) return;
      stopped = received;
      socket.pause();
      setTimeout(() => socket.resume(), 300);
    });
    socket.write(head('GET / HTTP/1.1', 'Host: a'));
    await until(() => stopped > 0, 'the first bytes');
    await new Promise((resolve) => setTimeout(resolve, 250));
    t.ok(body.given < 60 * MB, `${body.given} bytes were given while the client read none`);
    await until(() => received >= 200 * MB, 'all of it');
    t.ok(most() < MB, `${most()} bytes in one socket`);
    socket.destroy();
    t.strictSame(it.failures, []);
  }
});

t.test('a slow upstream of a 200 MB upload keeps what is buffered bounded (R1)', async (t) => {
  let received = 0;
  let go: () => void = () => {};
  await using it = await relay(async (x) => {
    await new Promise<void>((resolve) => (go = resolve));
    for (let piece = x.body.poll(); piece !== 'end'; piece = x.body.poll()) {
      if (piece === 'later') await x.body.ready();
      else received += piece.length;
    }
    await x.respond({ status: 200, fields: [], length: undefined }, Buffer.from(String(received)));
  });
  const most = watch(() => [...it.server.connections, ...it.upstream.connections]);
  await using raw = await dial(it.port);
  raw.send(head('POST / HTTP/1.1', 'Host: a', `Content-Length: ${200 * MB}`));
  const body = bytes(200 * MB);
  const upload = (async () => {
    for (let piece = body.poll(); piece !== 'end'; piece = body.poll()) {
      if (!raw.socket.write(piece as Buffer))
        await new Promise((resolve) => raw.socket.once('drain', resolve));
    }
  })();
  await new Promise((resolve) => setTimeout(resolve, 300));
  t.ok(body.given < 60 * MB, `${body.given} bytes were taken while the upstream read none`);
  go();
  await upload;
  await raw.sees(`${200 * MB}`);
  t.equal(received, 200 * MB);
  t.ok(most() < MB, `${most()} bytes in one socket`);
  t.strictSame(it.failures, []);
  t.match(it.pool.counts(), { idle: 1 });
});

t.test(
  'everything is relayed as it is meant: methods, chunks, trailers, 100, 1xx, HEAD, empty bodies',
  async (t) => {
    await using it = await relay(async (x) => {
      if (x.head.expectContinue) x.inform(100, []);
      x.inform(103, ['link', '</a>']);
      const status = x.head.target === '/none' ? 204 : 200;
      await x.respond(
        { status, fields: ['content-type', 'text/x'], length: x.body.length, trailers: true },
        x.body,
      );
    });
    const cases: readonly (readonly [string, RegExp])[] = [
      [
        head('GET / HTTP/1.1', 'Host: a'),
        /^HTTP\/1\.1 103 [^]*HTTP\/1\.1 200 OK\r\ncontent-type: text\/x\r\ncontent-length: 0\r\n\r\n$/,
      ],
      [head('HEAD / HTTP/1.1', 'Host: a'), /200 OK\r\n[^]*\r\n\r\n$/],
      [head('GET /none HTTP/1.1', 'Host: a'), /204 No Content\r\ncontent-type: text\/x\r\n\r\n$/],
      [
        `${head('PUT / HTTP/1.1', 'Host: a', 'Content-Length: 3')}abc`,
        /content-length: 3\r\n\r\nabc$/,
      ],
      [
        `${head('POST / HTTP/1.1', 'Host: a', 'Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n`,
        /transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nx-sum: 1\r\n\r\n$/,
      ],
    ];
    for (const [text, pattern] of cases) {
      await using raw = await dial(it.port);
      raw.send(text);
      await raw.sees(pattern);
    }
    await using raw = await dial(it.port);
    raw.send(head('POST / HTTP/1.1', 'Host: a', 'Content-Length: 3', 'Expect: 100-continue'));
    await raw.sees('100 Continue');
    raw.send('abc');
    await raw.sees(/\r\n\r\nabc$/);
    t.strictSame(it.failures, []);
    t.match(it.pool.counts(), { idle: 1, leased: 0 });
  },
);

t.test('a piece is passed on when it comes, not when the body is complete', async (t) => {
  let push: (piece: Buffer | 'end') => void = () => {};
  await using it = await relay(async (x) => {
    let pieces: (Buffer | 'end')[] = [];
    let wake: () => void = () => {};
    push = (piece) => {
      pieces.push(piece);
      wake();
    };
    const body: Body = {
      length: undefined,
      poll: () => pieces.shift() ?? 'later',
      ready: () => new Promise((resolve) => (wake = resolve)),
      trailers: () => [],
      cancel: () => (pieces = []),
    };
    await x.respond(
      { status: 200, fields: ['content-type', 'text/event-stream'], length: undefined },
      body,
    );
  });
  await using raw = await dial(it.port);
  raw.send(head('GET / HTTP/1.1', 'Host: a'));
  await raw.sees('text/event-stream');
  for (const event of ['data: 1\n\n', 'data: 2\n\n']) {
    push(Buffer.from(event));
    await raw.sees(event);
  }
  push('end');
  await raw.sees('0\r\n\r\n');
  t.strictSame(it.failures, []);
});

t.test(
  'a client that goes in the middle of its upload cuts the upstream request; the upstream never takes it for whole',
  async (t) => {
    for (const end of [
      (s: net.Socket) => void s.resetAndDestroy(),
      (s: net.Socket) => void s.end(),
      (s: net.Socket) => void s.destroy(),
    ]) {
      const seen: unknown[] = [];
      await using it = await relay(async (x) => {
        seen.push(await collect(x.body).catch((failure: unknown) => failure));
      });
      await using raw = await dial(it.port);
      raw.send(`${head('POST / HTTP/1.1', 'Host: a', 'Content-Length: 10')}abc`);
      await until(() => it.upstream.connections.size === 1, 'the upstream');
      end(raw.socket);
      await until(() => seen.length === 1, 'the upstream to see the cut');
      t.match(seen, [{ code: 'client-gone' }]);
      await until(() => it.failures.length === 1, 'the failure');
      t.match(it.failures, [{ code: 'client-gone' }]);
      await it.upstream.empty();
      t.match(it.pool.counts(), { idle: 0, leased: 0 });
    }
  },
);

t.test('an upstream that is cut in its answer cuts the client, by a reset', async (t) => {
  await using it = await relay(async (x) => {
    const body = bytes(1000);
    await x.respond({ status: 200, fields: [], length: 2000 }, body).catch(() => {});
  });
  await using raw = await dial(it.port);
  raw.send(head('GET / HTTP/1.1', 'Host: a'));
  await until(() => raw.error !== undefined, 'the reset');
  t.equal(raw.error?.code, 'ECONNRESET');
  t.match(it.failures, [{ code: 'upstream-cut' }]);
});

t.test(
  'an upstream that answers early is heard, and the rest of the upload is not sent',
  async (t) => {
    await using it = await relay(async (x) =>
      x.respond({ status: 413, fields: [], length: undefined }, Buffer.from('no')),
    );
    await using raw = await dial(it.port);
    raw.send(`${head('POST / HTTP/1.1', 'Host: a', `Content-Length: ${50 * MB}`)}abc`);
    await raw.sees(/^HTTP\/1\.1 413 [^]*no$/);
    await raw.over();
    await it.server.empty();
    t.strictSame(it.failures, []);
    t.match(it.pool.counts(), { idle: 0, leased: 0 });
  },
);

t.test('a client that goes while its answer is on the way lets go of the upstream', async (t) => {
  let failure: unknown;
  await using it = await relay(async (x) => {
    await x
      .respond({ status: 200, fields: [], length: 500 * MB }, bytes(500 * MB))
      .catch((caught: unknown) => (failure = caught));
  });
  await using raw = await dial(it.port);
  raw.send(head('GET / HTTP/1.1', 'Host: a'));
  await raw.sees('200 OK');
  raw.socket.resetAndDestroy();
  await until(() => failure !== undefined, 'the upstream to see the cut');
  t.match(failure, { code: 'client-gone' });
  await until(() => it.failures.length === 1, 'the failure');
  t.match(it.failures, [{ code: 'client-gone' }]);
  await it.upstream.empty();
  await it.server.empty();
});

t.test('a byte a chunk does not cost a write a byte (R2)', async (t) => {
  let received = 0;
  let pieces = 0;
  await using it = await relay(async (x) => {
    for (let piece = x.body.poll(); piece !== 'end'; piece = x.body.poll()) {
      if (piece === 'later') await x.body.ready();
      else {
        received += piece.length;
        pieces++;
      }
    }
    await x.respond({ status: 200, fields: [], length: undefined }, Buffer.from('done'));
  });
  await using raw = await dial(it.port);
  raw.send(
    `${head('POST / HTTP/1.1', 'Host: a', 'Transfer-Encoding: chunked')}${'1\r\nx\r\n'.repeat(500_000)}0\r\n\r\n`,
  );
  await raw.sees('done');
  t.equal(received, 500_000);
  t.ok(pieces < 5000, `${pieces} pieces`);
});
