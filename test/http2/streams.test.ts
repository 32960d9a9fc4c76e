/** Where a stream of a client begins and ends, and that what is refused is told of once. */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import t from 'tap';
import { until } from '../support/until.ts';
import {
  ask,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  PING,
  RST_STREAM,
  SETTINGS,
  type Field,
} from './raw.ts';
import { answer, served, whole } from './served.ts';

t.test('a request is complete with END_STREAM and not with a reset', async (t) => {
  for (const code of [0, 8]) {
    const read: unknown[] = [];
    await using site = await served({
      handle: async (x) => {
        const reading = whole(x).catch((failure: unknown) => failure);
        // Longer than the window: its end waits for the client.
        const head = { status: 200, fields: [], length: undefined };
        await x
          .respond(head, Buffer.alloc(100_000))
          .catch((failure: unknown) => read.push(failure));
        read.push(await reading);
      },
    });
    const client = await site.client();
    client.send(
      frame(HEADERS, END_HEADERS, 1, block(...ask('POST', '/'))),
      frame(DATA, 0, 1, 'half'),
    );
    await until('the window is full', () => client.content(1).length === 65_535 || undefined);
    client.send(frame(RST_STREAM, 0, 1, Buffer.from([0, 0, 0, code])));
    await until('both have ended', () => read[1]);
    t.match(read, [{ code: 'client-gone' }, { code: 'client-gone' }], `code ${code}`);
  }
});

t.test('a stream that ends with an empty DATA frame has no body', async (t) => {
  await using site = await served();
  const client = await site.client();
  const get = frame(HEADERS, END_HEADERS, 1, block(...ask('GET', '/')));
  client.send(get, frame(DATA, END_STREAM, 1));
  t.equal(await client.status(1), 200, 'at once');
  client.send(frame(HEADERS, END_HEADERS, 3, block(...ask('GET', '/'))));
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(site.handled.length, 1, 'not read before it is known');
  client.send(frame(DATA, 0, 3), frame(DATA, END_STREAM, 3));
  t.equal(await client.status(3), 200, 'later');
  client.send(
    frame(HEADERS, END_HEADERS, 5, block(...ask('DELETE', '/'))),
    frame(DATA, END_STREAM, 5),
  );
  t.equal(await client.status(5), 200);
  t.strictSame(
    site.handled.map(({ head }) => head.framing),
    [{ kind: 'none' }, { kind: 'none' }, { kind: 'none' }],
  );
  client.send(
    frame(HEADERS, END_HEADERS, 7, block(...ask('HEAD', '/'))),
    frame(DATA, END_STREAM, 7, 'x'),
  );
  t.equal(await client.status(7), 400, 'one byte is one');
  t.equal(site.handled.length, 3);
});

t.test('a GET of which it is not told whether it has content is refused in time', async (t) => {
  await using site = await served({ limits: { headMs: 150 } });
  const client = await site.client();
  client.send(frame(HEADERS, END_HEADERS, 1, block(...ask('GET', '/'))));
  t.equal(await client.status(1), 408);
  t.equal(site.handled.length, 0);
});

const POST = (id: number, ...more: readonly Field[]): Buffer =>
  frame(HEADERS, END_HEADERS, id, block(...ask('POST', '/', ...more)));
const trailers = (flags: number, ...fields: readonly Field[]): Buffer =>
  frame(HEADERS, END_HEADERS | flags, 1, block(...fields));

const BURSTS: Readonly<Record<string, readonly Buffer[]>> = {
  'trailers with a pseudo-header': [POST(1), trailers(END_STREAM, [':path', '/'])],
  'trailers with transfer-encoding': [
    POST(1),
    trailers(END_STREAM, ['transfer-encoding', 'chunked']),
  ],
  'trailers with content-length': [
    POST(1),
    frame(DATA, 0, 1, 'abc'),
    trailers(END_STREAM, ['content-length', '3']),
  ],
  'trailers with an upper-case name': [POST(1), trailers(END_STREAM, ['X-A', 'b'])],
  'trailers without END_STREAM': [POST(1), trailers(0, ['x-a', 'b'])],
  'less content than Content-Length': [
    POST(1, ['content-length', '5']),
    frame(DATA, END_STREAM, 1, 'abc'),
  ],
  'more content than Content-Length': [
    POST(1, ['content-length', '1']),
    frame(DATA, END_STREAM, 1, 'abc'),
  ],
  'a reset': [POST(1), frame(RST_STREAM, 0, 1, Buffer.from([0, 0, 0, 8]))],
};

t.test('a stream that turns bad in the burst of its head is told of once', async (t) => {
  for (const [title, burst] of Object.entries(BURSTS)) {
    await using site = await served({ handle: (x) => whole(x).then(() => answer(x)) });
    const client = await site.client();
    client.send(...burst);
    await until(title, () => site.refused[0]);
    client.get(3, '/after');
    await Promise.race([client.status(3), client.ended()]).catch(() => {});
    t.equal(site.refused.length, 1, `${title}: ${JSON.stringify(site.refused)}`);
  }
});

const RST = (id: number): Buffer => frame(RST_STREAM, 0, id, Buffer.alloc(4));
const GET = (id: number): Buffer =>
  frame(HEADERS, END_HEADERS | END_STREAM, id, block(...ask('GET', '/')));

/** What ends a connection, though no stream that could be told of is in it. */
const VIOLATIONS: Readonly<Record<string, readonly (Buffer | string)[]>> = {
  'HEADERS on an even stream': [GET(2)],
  'HEADERS on stream 0': [GET(0)],
  'DATA on an idle stream': [frame(DATA, END_STREAM, 1, 'x')],
  'a lone CONTINUATION': [frame(CONTINUATION, END_HEADERS, 1, block(...ask('GET', '/')))],
  'a frame that is too long': [frame(DATA, 0, 1, Buffer.alloc(20_000))],
  'RST_STREAM on an idle stream': [RST(5)],
  'HTTP/1.1 behind the preface': ['GET / HTTP/1.1\r\nHost: crm.internal\r\n\r\n'],
  'a PING of 7 bytes': [frame(PING, 0, 0, Buffer.alloc(7))],
  'SETTINGS of 5 bytes': [frame(SETTINGS, 0, 0, Buffer.alloc(5))],
};

t.test(
  'a connection that is ended for an error is told of once, and answered with GOAWAY',
  async (t) => {
    for (const [title, bytes] of Object.entries(VIOLATIONS)) {
      await using site = await served();
      const client = await site.client();
      client.send(...bytes);
      t.not(await client.goaway(), 0, title);
      await client.ended();
      t.match(
        site.refused.map(({ code }) => code),
        ['malformed'],
        title,
      );
      t.equal(site.refused.length, 1, title);
      t.equal(site.handled.length, 0, title);
    }
  },
);

t.test(
  'a head on a stream below the last one ends the connection (RFC 9113 section 5.1.1)',
  async (t) => {
    for (const [title, before, id] of [
      ['passed over', [5], 3],
      ['ended', [1, 3], 1],
    ] as const) {
      await using site = await served();
      const client = await site.client();
      for (const one of before) {
        client.get(one, '/');
        t.equal(await client.status(one), 200);
      }
      client.get(id, '/again');
      t.equal(await client.goaway(), 1, title);
      t.match(site.refused, [{ code: 'malformed', message: /closed before/ }], title);
      t.equal(site.handled.length, before.length, title);
    }
    await using site = await served({
      handle: (x) =>
        x.respond({ status: 200, fields: [], length: undefined }, Buffer.from('early')),
    });
    const client = await site.client();
    client.send(POST(1));
    t.equal(await client.resetOf(1), 0);
    client.send(frame(DATA, 0, 1, 'late'), trailers(END_STREAM, ['x-a', 'b']));
    client.get(3, '/');
    t.equal(
      await client.status(3),
      200,
      'what was on its way when we reset the stream is no fault of the client',
    );
    t.strictSame(site.refused, []);
  },
);

/** A socket that takes one write at a time, and each after a while. */
function busy(socket: Socket): Duplex {
  const duplex = new Duplex({
    writableHighWaterMark: 1,
    read: () => void socket.resume(),
    write: (chunk: Buffer, _encoding, done) =>
      void setTimeout(() => socket.write(chunk, () => done()), 20),
    destroy: (failure, done) => (socket.destroy(), done(failure)),
  });
  socket.on('data', (chunk: Buffer) => duplex.push(chunk)).on('close', () => duplex.destroy());
  return duplex;
}

t.test('a head goes out before its stream is reset, also while the socket is busy', async (t) => {
  const head = { status: 403, fields: [], length: undefined };
  for (const content of [undefined, Buffer.from('no')]) {
    await using site = await served({ through: busy, handle: (x) => x.respond(head, content) });
    const client = await site.client();
    const streams = Array.from({ length: 50 }, (_, i) => 2 * i + 1);
    for (const id of streams) {
      client.send(POST(id), frame(DATA, 0, id, 'the begin of an upload'));
      // So that it is answered while what was said to another is on its way.
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    for (const id of streams) t.equal(await client.resetOf(id), 0);
    for (const id of streams) {
      const seen = client.frames.filter(({ stream }) => stream === id).map(({ type }) => type);
      t.strictSame(
        seen,
        content === undefined ? [HEADERS, RST_STREAM] : [HEADERS, DATA, RST_STREAM],
      );
    }
  }
});
