import net from 'node:net';
import t from 'tap';

import { Fault } from '../../lib/base/fault.ts';
import { ignore } from '../../lib/base/signal.ts';
import type { ClientConnection, ClientResponse, RequestOptions } from '../../lib/http/client.ts';
import { isUnprocessed, isUntouched } from '../../lib/http/failures.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import type { Body, OutgoingRequest } from '../../lib/http/message.ts';
import { clientConnection } from '../../lib/http1/client.ts';
import { type ManualClock, accept, collect, head, manualClock, until } from './wire.ts';

const GET: OutgoingRequest = {
  method: 'GET',
  target: '/',
  fields: ['host', 'a'],
  framing: { kind: 'none' },
};
const OK = (body: string, ...lines: readonly string[]): string =>
  head('HTTP/1.1 200 OK', `Content-Length: ${body.length}`, ...lines) + body;

interface Talk extends AsyncDisposable {
  readonly client: ClientConnection;
  readonly upstream: net.Socket;
  /** All that the upstream received. */
  received(): string;
  ask(
    request?: Partial<OutgoingRequest>,
    body?: Buffer | Body,
    options?: Partial<RequestOptions>,
  ): Promise<ClientResponse>;
  readonly informs: [number, readonly string[]][];
}

/** Our client and a raw upstream, over TCP. */
async function talk(clock?: ManualClock): Promise<Talk> {
  const accepted = Promise.withResolvers<net.Socket>();
  const server = await accept(accepted.resolve);
  const socket = net.connect({ port: server.port, host: '127.0.0.1', noDelay: true });
  await new Promise((resolve) => socket.once('connect', resolve));
  const upstream = await accepted.promise;
  let text = '';
  upstream.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  upstream.on('error', () => {});
  const client = clientConnection(socket, httpLimits(), clock);
  const informs: [number, readonly string[]][] = [];
  return {
    client,
    upstream,
    informs,
    received: () => text,
    ask: (request = {}, body, options = {}) => {
      const onInform = (status: number, fields: readonly string[]) =>
        void informs.push([status, fields]);
      return client.request({ ...GET, ...request }, body, {
        signal: new AbortController().signal,
        onInform,
        ...options,
      });
    },
    async [Symbol.asyncDispose]() {
      client.destroy(new Error('the test is over'));
      await server[Symbol.asyncDispose]();
    },
  };
}

t.test('one connection carries request after request', async (t) => {
  await using it = await talk();
  for (const [i, wire] of [
    OK('abc'),
    head('HTTP/1.1 204 No Content'),
    `${head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked')}3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n`,
    OK(''),
  ].entries()) {
    t.ok(it.client.reusable);
    const asking = it.ask({ target: `/${i}` });
    t.notOk(it.client.reusable);
    t.throws(() => it.ask(), TypeError, 'one at a time');
    await until(
      () => it.received().includes(`GET /${i} HTTP/1.1\r\nhost: a\r\n\r\n`),
      'the request',
    );
    it.upstream.write(wire);
    const { head, body, sent, upgraded } = await asking;
    t.equal((await collect(body)).toString(), wire.includes('abc') ? 'abc' : '');
    t.strictSame(body.trailers(), wire.includes('Sum') ? ['x-sum', '1'] : []);
    t.equal(head.status, wire.includes('204') ? 204 : 200);
    t.equal(upgraded, undefined);
    await sent;
  }
  t.ok(it.client.reusable);
});

t.test('head and small body leave in one write, a large one as it is', async () => {
  await using it = await talk();
  for (const size of [3, 100_000]) {
    const body = Buffer.alloc(size, 'x');
    const asking = it.ask({ method: 'POST', framing: { kind: 'length', length: size } }, body);
    await until(
      () => it.received().endsWith(`content-length: ${size}\r\n\r\n${'x'.repeat(size)}`),
      'the body',
    );
    it.upstream.write(OK(''));
    await (
      await asking
    ).sent;
  }
});

t.test('interim answers are told, and a flood of them is refused (F8)', async (t) => {
  await using it = await talk();
  const asking = it.ask(
    { method: 'POST', framing: { kind: 'length', length: 3 } },
    Buffer.from('abc'),
  );
  it.upstream.write(head('HTTP/1.1 100 Continue') + head('HTTP/1.1 103 Early Hints', 'Link: </a>'));
  await until(() => it.informs.length === 2, 'both');
  it.upstream.write(OK('x'));
  t.equal((await collect((await asking).body)).toString(), 'x');
  t.strictSame(it.informs, [
    [100, []],
    [103, ['link', '</a>']],
  ]);
  const again = it.ask();
  const { informs } = httpLimits();
  it.upstream.write(head('HTTP/1.1 102 Processing').repeat(informs) + OK(''));
  await again;
  const flooded = it.ask();
  it.upstream.write(head('HTTP/1.1 102 Processing').repeat(informs + 1) + OK(''));
  await t.rejects(flooded, { code: 'upstream-malformed' });
  t.notOk(it.client.reusable);
});

t.test(
  'what is not plainly an answer to what was asked is refused and the connection destroyed (F9)',
  async (t) => {
    const cases: readonly (readonly [string, string])[] = [
      [
        'Content-Length and Transfer-Encoding',
        head('HTTP/1.1 200 OK', 'Content-Length: 3', 'Transfer-Encoding: chunked'),
      ],
      ['two Content-Lengths', head('HTTP/1.1 200 OK', 'Content-Length: 3', 'Content-Length: 3')],
      [
        'a 101 that nobody asked for',
        head('HTTP/1.1 101 Switching Protocols', 'Connection: upgrade', 'Upgrade: websocket'),
      ],
      ['a head over the limit', head('HTTP/1.1 200 OK', `X: ${'a'.repeat(20_000)}`)],
      ['another protocol', 'SSH-2.0-OpenSSH_9.2p1\r\n'],
    ];
    for (const [title, wire] of cases) {
      await using it = await talk();
      const asking = it.ask();
      it.upstream.write(wire);
      await t.rejects(asking, { code: 'upstream-malformed' }, title);
      t.notOk(it.client.reusable);
      await until(
        () => it.upstream.closed || it.upstream.readableEnded,
        'the upstream to see the end',
      );
    }
    await using it = await talk();
    const asking = it.ask({ upgrade: 'websocket' });
    it.upstream.write(
      head('HTTP/1.1 101 Switching Protocols', 'Connection: upgrade', 'Upgrade: h2c'),
    );
    await t.rejects(asking, { code: 'upstream-malformed' }, 'a 101 to another protocol');
  },
);

t.test(
  'bytes after the end of an answer, or while idle, destroy the connection (F9)',
  async (t) => {
    for (const wire of [
      `${OK('abc')}x`,
      OK('abc') + OK('abc'),
      `${OK('')}x`,
      `${head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked')}0\r\n\r\nx`,
    ]) {
      await using it = await talk();
      const asking = it.ask();
      it.upstream.write(wire);
      const { body } = await asking;
      await collect(body);
      t.notOk(it.client.reusable, JSON.stringify(wire));
      await until(() => it.client.socket.destroyed, 'its end');
    }
    for (const act of [
      (s: net.Socket) => void s.write('x'),
      (s: net.Socket) => void s.write(OK('')),
      (s: net.Socket) => void s.end(),
      (s: net.Socket) => void s.resetAndDestroy(),
    ]) {
      await using it = await talk();
      t.ok(it.client.reusable);
      act(it.upstream);
      await until(() => !it.client.reusable && it.client.socket.destroyed, 'its end');
      t.ok(
        isUnprocessed(await it.ask().catch((failure: unknown) => failure)),
        'a request on it was never sent',
      );
    }
  },
);

t.test('an answer that is cut is a cut, and never a short answer (F9)', async (t) => {
  const cases: readonly (readonly [string, string | undefined])[] = [
    ['', undefined],
    ['HTTP/1.1 200 OK\r\nConte', undefined],
    [head('HTTP/1.1 100 Continue'), undefined],
    [head('HTTP/1.1 200 OK', 'Content-Length: 5'), ''],
    [`${head('HTTP/1.1 200 OK', 'Content-Length: 5')}abc`, 'abc'],
    [`${head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked')}5\r\nabc`, 'abc'],
    [`${head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked')}3\r\nabc\r\n`, 'abc'],
  ];
  for (const [wire, body] of cases) {
    for (const reset of [false, true]) {
      await using it = await talk();
      const asking = it.ask();
      it.upstream.write(wire);
      if (body === undefined) {
        if (reset) setTimeout(() => it.upstream.resetAndDestroy(), 20);
        else it.upstream.end();
        await t.rejects(asking, { code: 'upstream-cut' });
        t.notOk(
          isUntouched(await asking.catch((failure: unknown) => failure)),
          'a fresh connection is not tried again',
        );
      } else {
        const got = await asking;
        if (reset) setTimeout(() => it.upstream.resetAndDestroy(), 20);
        else it.upstream.end();
        await t.rejects(collect(got.body), { code: 'upstream-cut' }, JSON.stringify(wire));
      }
      t.notOk(it.client.reusable);
    }
  }
});

t.test('a body until close ends with the connection', async (t) => {
  await using it = await talk();
  const asking = it.ask();
  it.upstream.end(`${head('HTTP/1.1 200 OK')}abc`);
  const { body } = await asking;
  t.equal(body.length, undefined);
  t.equal((await collect(body)).toString(), 'abc');
  t.notOk(it.client.reusable);
  await until(() => it.client.socket.destroyed, 'its end');
});

t.test('an answer that says close, or of HTTP/1.0, is the last', async (t) => {
  for (const wire of [
    OK('abc', 'Connection: close'),
    OK('', 'Connection: x, Close'),
    OK('abc').replace('1.1', '1.0'),
  ]) {
    await using it = await talk();
    const asking = it.ask();
    it.upstream.write(wire);
    await collect((await asking).body);
    t.notOk(it.client.reusable);
    await until(() => it.upstream.readableEnded, 'our end');
  }
});

t.test(
  'a request on a connection used before that gets no byte may be tried again; one that got a byte may not',
  async (t) => {
    for (const [bytes, untouched] of [
      ['', true],
      ['H', false],
    ] as const) {
      await using it = await talk();
      const first = it.ask();
      it.upstream.write(OK('abc'));
      await collect((await first).body);
      const second = it.ask();
      it.upstream.write(bytes);
      await until(() => it.received().split('GET').length === 3, 'the second request');
      it.upstream.end();
      const failure = await second.catch((caught: unknown) => caught);
      t.match(failure, { code: 'upstream-cut' });
      t.equal(isUntouched(failure), untouched);
    }
  },
);

t.test(
  'an early answer stops the upload and ends the connection; the upload is no failure (F9)',
  async (t) => {
    await using it = await talk();
    let cancelled: Error | undefined;
    let stop: (reason: Error) => void = () => {};
    const upload: Body = {
      length: 100,
      poll: () => {
        if (cancelled !== undefined) throw cancelled;
        return 'later';
      },
      ready: () => new Promise((_, reject) => (stop = reject)),
      trailers: () => [],
      cancel(reason) {
        cancelled = reason;
        stop(reason);
      },
    };
    const asking = it.ask({ method: 'POST', framing: { kind: 'length', length: 100 } }, upload);
    await until(() => it.received().includes('\r\n\r\n'), 'the head');
    it.upstream.write(head('HTTP/1.1 413 No', 'Content-Length: 2'));
    const { head: answer, body, sent } = await asking;
    t.equal(answer.status, 413);
    t.equal(cancelled, undefined, 'both may go on side by side');
    it.upstream.write('no');
    t.equal((await collect(body)).toString(), 'no');
    await sent;
    t.ok(cancelled);
    t.notOk(it.client.reusable);
  },
);

/**
 * The upstream says something, resets the connection, and what is sent next fails before anything
 * is read.
 */
async function answeredAndReset(it: Talk, said: string): Promise<ClientResponse> {
  const reset = Promise.withResolvers<void>();
  let pieces = 0;
  const upload: Body = {
    length: undefined,
    poll: () => (pieces++ % 2 === 0 ? 'later' : Buffer.alloc(1000)),
    ready: () => reset.promise,
    trailers: () => [],
    cancel: (reason) => reset.reject(reason),
  };
  ignore(reset.promise, 'whoever waits for the body is told');
  const asking = it.ask({ method: 'POST', framing: { kind: 'chunked' } }, upload);
  await until(() => it.received().includes('\r\n\r\n'), 'the head');
  await new Promise<void>((resolve) =>
    it.upstream.write(said, () => {
      it.upstream.resetAndDestroy();
      reset.resolve();
      resolve();
    }),
  );
  return asking;
}

t.test('a final answer is delivered though the request can be sent no more', async (t) => {
  for (const said of [
    OK('done'),
    `${head('HTTP/1.1 413 No', 'Transfer-Encoding: chunked')}4\r\ndone\r\n0\r\n\r\n`,
  ]) {
    for (let round = 0; round < 20; round++) {
      await using it = await talk();
      const { body, sent } = await answeredAndReset(it, said);
      t.equal((await collect(body)).toString(), 'done');
      ignore(sent, 'it may have failed');
      t.notOk(it.client.reusable);
      await until(() => it.client.socket.destroyed, 'its end');
    }
  }
});

t.test('a reset is no end of an answer that lasts until the connection closes', async (t) => {
  for (let round = 0; round < 20; round++) {
    await using it = await talk();
    const asked = answeredAndReset(it, `${head('HTTP/1.1 200 OK')}done`);
    await t.rejects(
      asked.then(({ body }) => collect(body)),
      { code: 'upstream-cut' },
    );
  }
  await using it = await talk();
  const asking = it.ask();
  it.upstream.write(`${head('HTTP/1.1 200 OK')}done`, () => it.upstream.resetAndDestroy());
  await t.rejects(
    asking.then(({ body }) => collect(body)),
    { code: 'upstream-cut' },
  );
});

t.test(
  'an upload that is cut cuts the request, so that the upstream never takes it for whole (F9)',
  async (t) => {
    await using it = await talk();
    const gone = new Fault('client-gone', 'test');
    const pieces: (Buffer | Fault)[] = [Buffer.from('abc'), Buffer.from('def'), gone];
    const upload: Body = {
      length: undefined,
      poll() {
        const piece = pieces.shift() ?? gone;
        if (piece instanceof Fault) throw piece;
        return piece;
      },
      ready: async () => {},
      trailers: () => [],
      cancel() {},
    };
    let failure: NodeJS.ErrnoException | undefined;
    it.upstream.on('error', (caught) => (failure = caught));
    const asking = it.ask({ method: 'POST', framing: { kind: 'chunked' } }, upload);
    await t.rejects(asking, gone);
    await until(() => it.upstream.closed || it.upstream.readableEnded, 'the end');
    t.notMatch(it.received(), /0\r\n\r\n$/);
    t.equal(failure?.code, 'ECONNRESET');
  },
);

t.test(
  'an abort destroys the connection, before the answer and in its body; after it, it does not',
  async (t) => {
    const reason = new Fault('no-longer-allowed', 'revoked');
    {
      await using it = await talk();
      const controller = new AbortController();
      const asking = it.ask({}, undefined, { signal: controller.signal });
      controller.abort(reason);
      await t.rejects(asking, reason);
      await until(() => it.upstream.closed || it.upstream.readableEnded, 'the end');
    }
    {
      await using it = await talk();
      const controller = new AbortController();
      const asking = it.ask({}, undefined, { signal: controller.signal });
      it.upstream.write(OK('abc').slice(0, -1));
      const { body } = await asking;
      controller.abort(reason);
      await t.rejects(collect(body), reason);
    }
    {
      await using it = await talk();
      const controller = new AbortController();
      const asking = it.ask({}, undefined, { signal: controller.signal });
      it.upstream.write(OK('abc'));
      await collect((await asking).body);
      controller.abort(reason);
      t.ok(it.client.reusable);
      await t.rejects(it.ask({}, undefined, { signal: controller.signal }), reason);
      t.ok(it.client.reusable, 'nothing was sent');
    }
  },
);

t.test('an answer nobody reads on is given up with its connection', async (t) => {
  await using it = await talk();
  const asking = it.ask();
  it.upstream.write(OK('abc').slice(0, -1));
  const { body } = await asking;
  body.cancel(new Fault('client-gone', 'test'));
  t.throws(() => body.poll(), { code: 'client-gone' });
  t.notOk(it.client.reusable);
  await until(() => it.upstream.closed || it.upstream.readableEnded, 'the end');
});

t.test(
  'an upstream that does not answer, stops in the body or does not read is timed out (R1, R3)',
  async (t) => {
    const clock = manualClock();
    {
      await using it = await talk(clock);
      const asking = it.ask({}, undefined, { headMs: 1000 });
      clock.advance(999);
      it.upstream.write(head('HTTP/1.1 100 Continue'));
      await until(() => it.informs.length > 0, 'the interim answer');
      clock.advance(2);
      await t.rejects(asking, { code: 'upstream-timeout' });
    }
    {
      await using it = await talk(clock);
      const asking = it.ask({}, undefined, { headMs: 1000, bodyIdleMs: 500 });
      it.upstream.write(head('HTTP/1.1 200 OK', 'Content-Length: 5'));
      const { body } = await asking;
      clock.advance(5000);
      const collected = collect(body);
      clock.advance(499);
      it.upstream.write('a');
      await new Promise((resolve) => setTimeout(resolve, 30));
      clock.advance(499);
      await new Promise((resolve) => setTimeout(resolve, 5));
      clock.advance(2);
      await t.rejects(collected, { code: 'upstream-timeout' });
    }
    {
      await using it = await talk(clock);
      it.upstream.pause();
      const piece = Buffer.alloc(1_000_000);
      const endless: Body = {
        length: undefined,
        poll: () => piece,
        ready: async () => {},
        trailers: () => [],
        cancel() {},
      };
      const asking = it.ask({ method: 'POST', framing: { kind: 'chunked' } }, endless);
      await until(() => it.client.socket.writableNeedDrain, 'a full socket');
      await new Promise((resolve) => setTimeout(resolve, 20));
      clock.advance(httpLimits().writeIdleMs + 1);
      await t.rejects(asking, { code: 'upstream-timeout' });
    }
  },
);

t.test('an upgraded connection is handed over with its early bytes (T4, F9)', async (t) => {
  for (const [request, wire] of [
    [
      { upgrade: 'websocket' },
      head('HTTP/1.1 101 Switching Protocols', 'Connection: upgrade', 'Upgrade: WebSocket'),
    ],
    [{ method: 'CONNECT', target: 'a.example:443' }, head('HTTP/1.1 200 OK')],
  ] as const) {
    await using it = await talk();
    const asking = it.ask(request);
    it.upstream.write(`${wire}early`);
    const { upgraded, body, head: answer } = await asking;
    t.ok(answer.status === 101 || answer.status === 200);
    t.equal(body.poll(), 'end');
    t.equal(upgraded?.early.toString(), 'early');
    t.equal(upgraded?.socket.listenerCount('data'), 0);
    t.notOk(it.client.reusable);
    let text = '';
    upgraded?.socket
      .on('error', () => {})
      .on('data', (chunk: Buffer) => (text += chunk.toString()));
    upgraded?.socket.resume();
    upgraded?.socket.write('ping');
    it.upstream.write('pong');
    await until(() => text === 'pong' && it.received().endsWith('ping'), 'both ways');
    upgraded?.socket.destroy();
  }
});

t.test('misuse is a TypeError and sends nothing', async (t) => {
  await using it = await talk();
  const length = (n: number) => ({ framing: { kind: 'length', length: n } as const });
  t.throws(() => it.ask({ method: 'POST', ...length(3) }), TypeError, 'no body');
  t.throws(
    () => it.ask({ method: 'POST', ...length(3) }, Buffer.from('ab')),
    TypeError,
    'another length',
  );
  t.throws(
    () => it.ask({ method: 'POST', framing: { kind: 'chunked' } }, Buffer.from('ab')),
    TypeError,
    'chunks of a buffer',
  );
  t.throws(() => it.ask({ fields: ['x', 'a\r\n'] }), TypeError, 'a value that splits');
  t.ok(it.client.reusable);
  const asking = it.ask({ target: '/only' });
  await until(() => it.received().includes('/only'), 'the request');
  t.match(it.received(), /^GET \/only/);
  it.upstream.write(OK(''));
  await asking;
});
