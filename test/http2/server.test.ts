/**
 * The server's side of HTTP/2, alone: what reaches the handler, what is refused, what ends the
 * connection.
 */
import t, { type Test } from 'tap';
import type { Fault } from '../../lib/base/fault.ts';
import type { ServerExchange } from '../../lib/http/server-exchange.ts';
import { until } from '../support/until.ts';
import {
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  type Field,
  HEADERS,
  PING,
  PRIORITY,
  RST_STREAM,
  type RawClient,
  SETTINGS,
  WINDOW_UPDATE,
  ask,
  block,
  frame,
  rawClient,
} from './raw.ts';
import { answer, served, whole } from './served.ts';

/** A head that ends its request, in as many frames as it takes. */
function heads(stream: number, whole: Buffer): Buffer {
  const frames = [
    frame(
      HEADERS,
      END_STREAM | (whole.length > 16_000 ? 0 : END_HEADERS),
      stream,
      whole.subarray(0, 16_000),
    ),
  ];
  for (let at = 16_000; at < whole.length; at += 16_000)
    frames.push(
      frame(
        CONTINUATION,
        at + 16_000 < whole.length ? 0 : END_HEADERS,
        stream,
        whole.subarray(at, at + 16_000),
      ),
    );
  return Buffer.concat(frames);
}

/** Sends one head, which must be refused with 400 or by the engine's reset; never handled. */
async function refuses(
  t: Test,
  fields: readonly Field[],
  words: RegExp,
  status?: number,
): Promise<void> {
  await using site = await served();
  const client = await site.client();
  client.send(heads(1, block(...fields)));
  const seen = await until('an answer or a reset', () =>
    client.frames.find(
      ({ type, stream }) => stream === 1 && (type === HEADERS || type === RST_STREAM),
    ),
  );
  if (status === undefined) t.equal(seen.type, RST_STREAM, 'reset by the engine');
  else t.equal(await client.status(1), status);
  const fault = await until('it is recorded', () => site.refused[0]);
  t.match(fault.message, words);
  t.equal(site.refused.length, 1, 'once');
  t.equal(site.handled.length, 0, 'never handled');
  client.get(3, '/after');
  t.equal(await client.status(3), 200, 'other streams are served');
}

t.test('a request is the same head as one of HTTP/1.1', async (t) => {
  await using site = await served();
  const client = await site.client();
  client.get(1, '/a?b', ['cookie', 'a=1'], ['x-one', '1'], ['cookie', 'b=2']);
  t.equal(await client.status(1), 200);
  await client.sees(DATA, 1);
  t.equal(client.content(1), 'hello');
  const [x] = site.handled;
  t.strictSame(x?.head, {
    method: 'GET',
    target: '/a?b',
    minor: 1,
    fields: ['host', 'crm.internal', 'cookie', 'a=1; b=2', 'x-one', '1'],
    framing: { kind: 'none' },
    keepAlive: true,
    expectContinue: false,
  });
  t.match(x?.connection, { major: 2, remote: /^127/ });
});

t.test('A4: :authority and Host are equal, or one of them is left out', async (t) => {
  await using site = await served();
  const client = await site.client();
  const line = (...fields: Field[]): Buffer =>
    block([':method', 'GET'], [':scheme', 'http'], [':path', '/'], ...fields);
  const both = END_HEADERS | END_STREAM;
  client.send(
    frame(HEADERS, both, 1, line([':authority', 'crm.internal'], ['host', 'CRM.internal'])),
  );
  client.send(frame(HEADERS, both, 3, line(['host', 'crm.internal'])));
  client.send(frame(HEADERS, both, 5, line([':authority', 'crm.internal'], ['host', 'evil.test'])));
  client.send(frame(HEADERS, both, 7, line(['x', 'y'])));
  client.send(
    frame(HEADERS, both, 9, line([':authority', 'crm.internal'], ['host', 'a'], ['host', 'a'])),
  );
  t.strictSame(
    [await client.status(1), await client.status(3), await client.status(5)],
    [200, 200, 400],
  );
  const rest = await until('both are refused', () =>
    site.refused.length >= 3 ? site.refused : undefined,
  );
  t.match(
    rest.map(({ message }) => message).join('\n'),
    /:authority and Host name different hosts/,
  );
  t.equal(site.handled.length, 2);
});

t.test('F6, H9: heads that do not translate are refused one by one', async (t) => {
  await t.test('CRLF in a value', (t) =>
    refuses(t, ask('GET', '/', ['x', 'a\r\nhost: evil']), /value holds/, 400),
  );
  await t.test('NUL in a value', (t) =>
    refuses(t, ask('GET', '/', ['x', 'a\0b']), /value holds/, 400),
  );
  await t.test('DEL in a value', (t) =>
    refuses(t, ask('GET', '/', ['x', 'caf\x7f']), /value holds/, 400),
  );
  await t.test('a blank at an end of a value', (t) =>
    refuses(t, ask('GET', '/', ['x', ' a']), /holds what/, 400),
  );
  await t.test('a Host that is none', (t) =>
    refuses(t, ask('GET', '/', ['host', 'a, b']), /holds what/, 400),
  );
  await t.test('a space in a name', (t) =>
    refuses(t, ask('GET', '/', ['x y', 'a']), /name holds/, 400),
  );
  await t.test('an upper-case name', (t) => refuses(t, ask('GET', '/', ['X-Y', 'a']), /RFC 9113/));
  await t.test('connection', (t) =>
    refuses(t, ask('GET', '/', ['connection', 'close']), /RFC 9113/),
  );
  await t.test('transfer-encoding', (t) =>
    refuses(t, ask('GET', '/', ['transfer-encoding', 'chunked']), /RFC 9113/),
  );
  await t.test('upgrade', (t) => refuses(t, ask('GET', '/', ['upgrade', 'websocket']), /RFC 9113/));
  await t.test('http2-settings', (t) =>
    refuses(t, ask('GET', '/', ['http2-settings', 'AAA']), /http2-settings/, 400),
  );
  await t.test('te: gzip', (t) => refuses(t, ask('GET', '/', ['te', 'gzip']), /RFC 9113/));
  await t.test('an absolute path', (t) => refuses(t, ask('GET', 'http://evil.test/'), /RFC 9113/));
  await t.test('an empty path', (t) => refuses(t, ask('GET', ''), /RFC 9113/));
  await t.test('a space in the path', (t) => refuses(t, ask('GET', '/a b'), /RFC 9113/));
  await t.test('no :path', (t) =>
    refuses(
      t,
      [
        [':method', 'GET'],
        [':scheme', 'http'],
        [':authority', 'crm.internal'],
      ],
      /RFC 9113/,
    ),
  );
  await t.test('two :path', (t) => refuses(t, ask('GET', '/', [':path', '/b']), /RFC 9113/));
  await t.test('a pseudo-header after a field', (t) =>
    refuses(
      t,
      [...ask('GET', '/').slice(0, 3), ['x', 'y'], [':authority', 'crm.internal']],
      /RFC 9113/,
    ),
  );
  await t.test(':status in a request', (t) =>
    refuses(t, ask('GET', '/', [':status', '200']), /RFC 9113/),
  );
  await t.test('another scheme', (t) =>
    refuses(
      t,
      [
        [':method', 'GET'],
        [':scheme', 'https'],
        [':path', '/'],
        [':authority', 'a'],
      ],
      /:scheme/,
      400,
    ),
  );
  await t.test('F12: a method in lower case', (t) =>
    refuses(t, ask('get', '/'), /lower case/, 501),
  );
  await t.test('F12: CONNECT', (t) =>
    refuses(
      t,
      [
        [':method', 'CONNECT'],
        [':authority', 'crm.internal:80'],
      ],
      /CONNECT over HTTP/,
      501,
    ),
  );
  await t.test('F12: extended CONNECT', (t) =>
    refuses(t, ask('CONNECT', '/', [':protocol', 'websocket']), /RFC 9113/),
  );
  await t.test('content-length without content', (t) =>
    refuses(t, ask('POST', '/', ['content-length', '5']), /RFC 9113/),
  );
  await t.test('two content-lengths', (t) =>
    refuses(t, ask('POST', '/', ['content-length', '0'], ['content-length', '0']), /RFC 9113/),
  );
  await t.test('a target that is too long', (t) =>
    refuses(t, ask('GET', `/${'a'.repeat(9000)}`), /longer/, 414),
  );
  await t.test('a field that is too long', (t) =>
    refuses(t, ask('GET', '/', ['x', 'a'.repeat(17_000)]), /large/, 431),
  );
  await t.test('too many fields', (t) =>
    refuses(
      t,
      ask('GET', '/', ...Array.from({ length: 150 }, (_, i): Field => [`x${i}`, 'a'])),
      /fields/,
      431,
    ),
  );
  await t.test('far too many fields', (t) =>
    refuses(
      t,
      ask('GET', '/', ...Array.from({ length: 1500 }, (_, i): Field => [`x${i}`, 'a'])),
      /RFC 9113/,
    ),
  );
  await t.test('HEAD with a body', async (t) => {
    await using site = await served();
    const client = await site.client();
    client.send(
      frame(HEADERS, END_HEADERS, 1, block(...ask('HEAD', '/'))),
      frame(DATA, END_STREAM, 1, 'x'),
    );
    t.equal(await client.status(1), 400);
    t.equal(site.handled.length, 0);
  });
});

t.test('F6: content that is not as long as Content-Length says fails the body', async (t) => {
  for (const [said, sent] of [
    ['3', 'four'],
    ['5', 'four'],
  ] as const) {
    const failures: unknown[] = [];
    await using site = await served({
      handle: async (x) => {
        await whole(x).catch((failure: unknown) => {
          failures.push(failure);
          throw failure;
        });
        await answer(x);
      },
    });
    const client = await site.client();
    const head = block(...ask('POST', '/', ['content-length', said]));
    client.send(frame(HEADERS, END_HEADERS, 1, head));
    await until('it is handled', () => site.handled[0]);
    client.send(frame(DATA, END_STREAM, 1, sent));
    t.match(await until('the body fails', () => failures[0]), { code: 'malformed' });
    const again = await site.client();
    again.send(frame(HEADERS, END_HEADERS, 1, head), frame(DATA, END_STREAM, 1, sent));
    t.match(await until('in one piece too', () => failures[1] ?? site.refused[0]), {
      code: 'malformed',
    });
    t.notOk(
      client.frames.some(({ type }) => type === HEADERS),
      'no answer',
    );
  }
});

t.test('F7: trailers with a field that frames or routes fail the body', async (t) => {
  for (const bad of [
    ['content-length', '3'],
    ['host', 'evil.test'],
    ['x', 'a\nb'],
  ] as const) {
    const failures: unknown[] = [];
    await using site = await served({
      handle: (x) =>
        whole(x).then(
          () => answer(x),
          (failure: unknown) => (failures.push(failure), x.abort(failure as Fault)),
        ),
    });
    const client = await site.client();
    client.send(
      frame(HEADERS, END_HEADERS, 1, block(...ask('POST', '/'))),
      frame(DATA, 0, 1, 'abc'),
    );
    await until('it is handled', () => site.handled[0]);
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, block(bad)));
    t.match(await until('the body fails', () => failures[0]), { code: 'malformed' }, bad[0]);
  }
});

t.test('R2, H9: floods end the connection with ENHANCE_YOUR_CALM and one record', async (t) => {
  const cases: Readonly<Record<string, { send: (client: RawClient) => void; words: RegExp }>> = {
    'rapid reset': {
      send: (client) => {
        for (let id = 1; id < 1200; id += 2) {
          client.get(id, '/');
          client.send(frame(RST_STREAM, 0, id, Buffer.from([0, 0, 0, 8])));
        }
      },
      words: /resets its streams too often/,
    },
    ping: {
      send: (client) => {
        for (let i = 0; i < 1500; i++) client.send(frame(PING, 0, 0, Buffer.alloc(8)));
      },
      words: /too many PING frames/,
    },
    settings: {
      send: (client) => {
        for (let i = 0; i < 1500; i++) client.send(frame(SETTINGS, 0, 0));
      },
      words: /too many SETTINGS frames/,
    },
    priority: {
      send: (client) => {
        for (let i = 0; i < 1500; i++)
          client.send(frame(PRIORITY, 0, 3, Buffer.from([0, 0, 0, 0, 1])));
      },
      words: /too many PRIORITY frames/,
    },
    'empty DATA': {
      send: (client) => {
        client.send(frame(HEADERS, END_HEADERS, 1, block(...ask('POST', '/'))));
        for (let i = 0; i < 1500; i++) client.send(frame(DATA, 0, 1));
      },
      words: /too many empty DATA frames/,
    },
    CONTINUATION: {
      send: (client) => {
        client.send(frame(HEADERS, 0, 1, block(...ask('GET', '/'))));
        for (let i = 0; i < 10_000; i++)
          client.send(frame(CONTINUATION, 0, 1, block([`x${i}`, 'a'])));
      },
      words: /too many frames/,
    },
    'a header block of megabytes': {
      send: (client) => {
        client.send(frame(HEADERS, 0, 1, block(...ask('GET', '/'))));
        for (let i = 0; i < 12; i++)
          client.send(frame(CONTINUATION, 0, 1, block([`x${i}`, 'a'.repeat(16_000)])));
      },
      words: /header block that is too large/,
    },
  };
  for (const [name, { send, words }] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      await using site = await served({ handle: (x) => whole(x).then(() => answer(x)) });
      const client = await site.client();
      send(client);
      t.equal(await client.goaway(), 11, 'ENHANCE_YOUR_CALM');
      await client.ended();
      t.match(site.refused.map(({ message }) => message).join('\n'), words);
      const again = await site.client();
      again.get(1, '/');
      t.equal(await again.status(1), 200, 'other connections are served');
    });
  }
});

t.test('a header block that does not end in time ends the connection', async (t) => {
  await using site = await served({ limits: { headMs: 150 } });
  const client = await site.client();
  client.send(frame(HEADERS, 0, 1, block(...ask('GET', '/'))));
  await client.ended();
  t.match(site.refused[0], { code: 'request-timeout' });
});

t.test('R2: more streams at once than the SETTINGS allow end the connection', async (t) => {
  await using site = await served({ http2: { streams: 4 }, handle: (x) => aborted(x) });
  const client = await site.client();
  for (const id of [1, 3, 5, 7]) client.get(id, '/');
  await until('four are handled', () => site.handled[3]);
  client.get(9, '/');
  t.not(await client.goaway(), 0);
  await client.ended();
  t.equal(site.handled.length, 4);
  t.equal((await until('the fifth is recorded', () => site.refused[0])).code, 'too-many');
  t.equal(site.refused.filter(({ code }) => code === 'too-many').length, 1, 'once');
});

/** Rejects with why its exchange was aborted. */
function aborted(x: ServerExchange): Promise<never> {
  const { signal } = x.connection;
  return new Promise((_, reject) =>
    signal.addEventListener('abort', () => reject(signal.reason as Error)),
  );
}

t.test(
  'back-pressure: a client that does not open its window stops the body, and is cut off in the end',
  async (t) => {
    let taken = 0;
    const body = {
      length: undefined,
      poll: () => ((taken += 16_384), Buffer.alloc(16_384)),
      ready: () => Promise.resolve(),
      trailers: () => [],
      cancel: () => {},
    };
    let failure: unknown;
    await using site = await served({
      limits: { writeIdleMs: 300 },
      handle: (x) =>
        x
          .respond({ status: 200, fields: [], length: undefined }, body)
          .catch((reason: unknown) => (failure = reason)) as Promise<void>,
    });
    const client = await site.client();
    client.get(1, '/');
    t.equal(await client.resetOf(1), 2, 'INTERNAL_ERROR');
    t.ok(taken < 1_000_000, `${taken} bytes were taken`);
    t.equal(client.content(1).length, 65_535, 'the window, and not a byte more');
    t.notOk(
      client.frames.some(
        ({ type, flags, stream }) => type === DATA && stream === 1 && (flags & END_STREAM) !== 0,
      ),
      'a cut looks cut',
    );
    t.match(failure, { code: 'client-gone' });
  },
);

t.test('back-pressure: a request body that nobody reads stops at its window', async (t) => {
  let go: () => void = () => {};
  const held = new Promise<void>((resolve) => (go = resolve));
  let bytes = 0;
  await using site = await served({
    handle: async (x) => {
      await held;
      bytes = await whole(x);
      await answer(x);
    },
  });
  const client = await site.client();
  client.send(frame(HEADERS, END_HEADERS, 1, block(...ask('POST', '/'))));
  for (let i = 0; i < 16; i++) client.send(frame(DATA, 0, 1, Buffer.alloc(16_384)));
  client.get(3, '/other');
  await until('another stream is handled', () => site.handled[1]);
  t.notOk(
    client.frames.some(({ type, stream }) => type === WINDOW_UPDATE && stream === 1),
    'the window stays closed',
  );
  go();
  await client.sees(WINDOW_UPDATE, 1);
  client.send(frame(DATA, END_STREAM, 1, 'end'));
  t.equal(await client.status(1), 200);
  t.equal(bytes, 16 * 16_384 + 3);
});

t.test('a stream that the client resets aborts its exchange and no other', async (t) => {
  const reasons: unknown[] = [];
  await using site = await served({
    handle: (x) => aborted(x).catch((reason: unknown) => void reasons.push(reason)),
  });
  const client = await site.client();
  client.get(1, '/');
  client.get(3, '/');
  await until('both are handled', () => site.handled[1]);
  client.send(frame(RST_STREAM, 0, 1, Buffer.from([0, 0, 0, 8])));
  t.match(await until('the first is aborted', () => reasons[0]), { code: 'client-gone' });
  t.equal(reasons.length, 1);
  client.socket.destroy();
  await until('the second goes with the connection', () => reasons[1]);
});

t.test('draining sends GOAWAY, finishes what runs and ends the connection', async (t) => {
  let go: () => void = () => {};
  const held = new Promise<void>((resolve) => (go = resolve));
  await using site = await served({ handle: (x) => held.then(() => answer(x)) });
  const client = await site.client();
  client.get(1, '/');
  await until('it is handled', () => site.handled[0]);
  site.draining.abort();
  t.equal(await client.goaway(), 0, 'NO_ERROR');
  client.get(3, '/late');
  go();
  t.equal(await client.status(1), 200);
  await client.ended();
  t.equal(client.content(1), 'hello');
  t.equal(site.handled.length, 1, 'nothing new was taken');
});

t.test('an idle connection is closed with GOAWAY', async (t) => {
  await using site = await served({ limits: { keepAliveMs: 200 } });
  const client = await site.client();
  client.get(1, '/');
  t.equal(await client.status(1), 200);
  t.equal(await client.goaway(), 0);
  await client.ended();
});

t.test('an answer before the end of the request resets the rest with NO_ERROR', async (t) => {
  await using site = await served();
  const client = await site.client();
  client.send(
    frame(HEADERS, END_HEADERS, 1, block(...ask('POST', '/'))),
    frame(DATA, 0, 1, 'begin'),
  );
  t.equal(await client.status(1), 200);
  t.equal(await client.resetOf(1), 0);
  t.equal(client.content(1), 'hello');
  client.send(
    frame(HEADERS, END_HEADERS, 3, block(...ask('HEAD', '/'))),
    frame(DATA, 0, 3, 'a body that HEAD has not'),
  );
  t.equal(await client.status(3), 400);
  t.equal(await client.resetOf(3), 0, 'one that is refused too');
  client.send(frame(HEADERS, END_HEADERS, 5, block(...ask('POST', '/'))));
  for (let i = 0; i < 10; i++) client.send(frame(DATA, 0, 5, Buffer.alloc(16_384)));
  t.equal(await client.status(5), 200);
  await client.resetOf(5);
  site.draining.abort();
  t.equal(await client.goaway(), 0);
  await client.ended();
});

t.test(
  'a client that does not read holds up its own requests, and none of them is taken for malformed',
  async (t) => {
    const large = Buffer.alloc(300_000);
    await using site = await served({
      handle: (x) => x.respond({ status: 200, fields: [], length: undefined }, large),
    });
    const settings = Buffer.from([0, 1, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
    const client = await rawClient(site.port, settings);
    t.teardown(() => client.socket.destroy());
    client.send(frame(WINDOW_UPDATE, 0, 0, Buffer.from([0x3f, 0xff, 0xff, 0xff])));
    client.socket.pause();
    const ids = Array.from({ length: 100 }, (_, i) => 2 * i + 1);
    for (const id of ids.slice(0, 50)) client.get(id, '/');
    await until('some are handled', () => site.handled[0]);
    for (const id of ids.slice(50)) {
      client.get(id, '/');
      await new Promise((resolve) => setTimeout(resolve, 4));
    }
    client.socket.resume();
    for (const id of ids) t.equal(await client.status(id), 200, `stream ${id}`);
    t.same(site.refused, []);
  },
);
