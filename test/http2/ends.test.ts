/**
 * Where a message of HTTP/2 ends, frame by frame: END_STREAM alone is an end, in both directions.
 */
import type { Socket } from 'node:net';
import { unpaired } from '../support/audit.ts';
import { rule, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';
import {
  ACK,
  DATA,
  END_HEADERS,
  END_STREAM,
  GOAWAY,
  HEADERS,
  PREFACE,
  RST_STREAM,
  SETTINGS,
  block,
  frame,
  rawClient,
} from './raw.ts';
import t from 'tap';

type Script = (socket: Socket, stream: number) => void;

/** An upstream that answers the head of each request with a script of frames. */
function scripted(script: () => Script, seen: Buffer[] = []): Promise<RawUpstream> {
  return rawUpstream({
    raw: (socket) => {
      let rest = Buffer.alloc(0);
      let preface = PREFACE.length;
      socket.on('error', () => {});
      socket.write(frame(SETTINGS, 0, 0));
      socket.on('data', (chunk: Buffer) => {
        seen.push(chunk);
        rest = Buffer.concat([rest, chunk]);
        if (preface > 0 && rest.length >= preface) {
          rest = rest.subarray(preface);
          preface = 0;
        }
        while (preface === 0 && rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
          const [type, flags, stream] = [rest[3] ?? 0, rest[4] ?? 0, rest.readUInt32BE(5)];
          rest = rest.subarray(9 + rest.readUIntBE(0, 3));
          if (type === SETTINGS && (flags & ACK) === 0) socket.write(frame(SETTINGS, ACK, 0));
          if (type === HEADERS) script()(socket as Socket, stream);
        }
      });
    },
  });
}

const code = (value: number): Buffer => Buffer.from([0, 0, 0, value]);
const head = (stream: number, flags = 0): Buffer =>
  frame(
    HEADERS,
    END_HEADERS | flags,
    stream,
    block([':status', '200'], ['content-type', 'text/plain']),
  );

/** How the upstream ends what it says; the frames that say it are given. */
const BODIES: Readonly<Record<string, (stream: number) => Buffer>> = {
  'DATA with END_STREAM': (stream) =>
    Buffer.concat([head(stream), frame(DATA, END_STREAM, stream, 'hello')]),
  'an empty DATA with END_STREAM': (stream) =>
    Buffer.concat([head(stream), frame(DATA, 0, stream, 'hello'), frame(DATA, END_STREAM, stream)]),
  trailers: (stream) =>
    Buffer.concat([
      head(stream),
      frame(DATA, 0, stream, 'hello'),
      frame(HEADERS, END_HEADERS | END_STREAM, stream, block(['x-sum', '1'])),
    ]),
  'no END_STREAM': (stream) => Buffer.concat([head(stream), frame(DATA, 0, stream, 'hello')]),
};

const AFTER: Readonly<Record<string, (socket: Socket, stream: number) => void>> = {
  'RST_STREAM(NO_ERROR)': (socket, stream) =>
    void socket.write(frame(RST_STREAM, 0, stream, code(0))),
  'RST_STREAM(CANCEL)': (socket, stream) =>
    void socket.write(frame(RST_STREAM, 0, stream, code(8))),
  'RST_STREAM(INTERNAL_ERROR)': (socket, stream) =>
    void socket.write(frame(RST_STREAM, 0, stream, code(2))),
  'GOAWAY and FIN': (socket, stream) =>
    void socket.end(frame(GOAWAY, 0, 0, Buffer.concat([code(stream), code(0)]))),
  FIN: (socket) => void socket.end(),
};

function destination(upstream: RawUpstream): ReturnType<typeof testDestination> {
  return testDestination({
    mode: 'plaintext',
    listen: true,
    http2: true,
    upstream: { host: '127.0.0.1', port: upstream.port },
    rules: [rule('all', 'allow')],
  });
}

/** Body and end as an agent of HTTP/1.1 sees them. */
async function overHttp1(
  proxy: TestProxy,
): Promise<{ readonly body: string; readonly whole: boolean }> {
  const wire = await proxy.open('crm');
  wire.write('GET /x HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\n\r\n');
  await wire.ended().catch(() => '');
  return { body: wire.text, whole: wire.text.endsWith('0\r\n\r\n') };
}

async function overHttp2(
  proxy: TestProxy,
): Promise<{ readonly body: string; readonly whole: boolean }> {
  const client = await rawClient(proxy.port('crm'));
  client.get(1, '/x');
  const of = (one: {
    readonly stream: number;
    readonly type: number;
    readonly flags: number;
  }): boolean => one.stream === 1 && (one.type === RST_STREAM || (one.flags & END_STREAM) !== 0);
  const last = await until('the stream is over', () => client.frames.find(of), 10_000);
  client.socket.destroy();
  return { body: client.content(1), whole: last.type !== RST_STREAM };
}

t.test(
  'an answer is complete with END_STREAM, whatever comes after it, and never without',
  async (t) => {
    let script: Script = () => {};
    await using upstream = await scripted(() => script);
    await using proxy = await testProxy({ destinations: [destination(upstream)] });
    for (const [body, said] of Object.entries(BODIES)) {
      for (const [after, then] of Object.entries(AFTER)) {
        for (const pause of [0, 20]) {
          script = (socket, stream) => {
            socket.cork();
            socket.write(said(stream));
            if (pause === 0) then(socket, stream);
            socket.uncork();
            if (pause > 0) setTimeout(() => then(socket, stream), pause);
          };
          for (const [agent, get] of [
            ['1.1', overHttp1],
            ['2', overHttp2],
          ] as const) {
            const name = `${body}, then ${after}${pause === 0 ? ' at once' : ''}, to HTTP/${agent}`;
            const before = proxy.audit.of('ended').length;
            const answer = await get(proxy);
            const ended = await until('the record', () => proxy.audit.of('ended')[before]);
            const whole = body !== 'no END_STREAM';
            t.equal(answer.whole, whole, name);
            if (whole) t.match(answer.body, 'hello', name);
            t.match(ended, { outcome: whole ? 'completed' : 'upstream-cut' }, name);
          }
        }
      }
    }
    await proxy.quiet();
    t.same(unpaired(proxy.audit.records), []);
  },
);

const ANSWERS_AGAINST_THE_STANDARD: Readonly<
  Record<string, (stream: number) => readonly Buffer[]>
> = {
  'two :status': (s) => [
    frame(HEADERS, END_HEADERS, s, block([':status', '200'], [':status', '201'])),
  ],
  'no :status': (s) => [frame(HEADERS, END_HEADERS, s, block(['x-a', 'b']))],
  'an upper-case name': (s) => [
    frame(HEADERS, END_HEADERS, s, block([':status', '200'], ['X-A', 'b'])),
  ],
  'a field of connections': (s) => [
    frame(HEADERS, END_HEADERS, s, block([':status', '200'], ['connection', 'close'])),
  ],
  'two lengths': (s) => [
    frame(
      HEADERS,
      END_HEADERS,
      s,
      block([':status', '200'], ['content-length', '1'], ['content-length', '2']),
    ),
  ],
  'a status that is none': (s) => [frame(HEADERS, END_HEADERS, s, block([':status', '20']))],
  'content without a head': (s) => [frame(DATA, END_STREAM, s, 'x')],
  'a block that cannot be decoded': (s) => [
    frame(HEADERS, END_HEADERS, s, Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
  ],
  'a frame that is too long': (s) => [frame(HEADERS, END_HEADERS, s, Buffer.alloc(20_000))],
  'a promise that nobody asked for': (s) => [
    frame(5, END_HEADERS, s, Buffer.concat([code(2), block([':method', 'GET'])])),
  ],
};

t.test('an answer against the standard is told as that, and not as a cut', async (t) => {
  let script: Script = () => {};
  await using upstream = await scripted(() => script);
  await using proxy = await testProxy({ destinations: [destination(upstream)] });
  for (const [title, says] of Object.entries(ANSWERS_AGAINST_THE_STANDARD)) {
    script = (socket, stream) => void socket.write(Buffer.concat(says(stream)));
    const before = proxy.audit.of('ended').length;
    t.match(await overHttp1(proxy), { body: /^HTTP\/1\.1 502 / }, title);
    t.match(
      await until('the record', () => proxy.audit.of('ended')[before]),
      { outcome: 'upstream-malformed' },
      title,
    );
  }
  script = (socket, stream) =>
    void socket.write(
      Buffer.concat([
        head(stream),
        frame(HEADERS, END_HEADERS | END_STREAM, stream, block([':path', '/'])),
      ]),
    );
  const before = proxy.audit.of('ended').length;
  t.notOk((await overHttp1(proxy)).whole, 'trailers, too');
  t.match(await until('the record', () => proxy.audit.of('ended')[before]), {
    outcome: 'upstream-malformed',
  });
  t.same(unpaired(proxy.audit.records), []);
});

t.test('a final answer is delivered though the request can be sent no more', async (t) => {
  let script: Script = () => {};
  await using upstream = await scripted(() => script);
  await using proxy = await testProxy({ destinations: [destination(upstream)] });
  const ends: Readonly<Record<string, (socket: Socket, stream: number) => void>> = {
    'RST_STREAM(NO_ERROR)': (socket, stream) =>
      void socket.write(frame(RST_STREAM, 0, stream, code(0))),
    'RST_STREAM(CANCEL)': (socket, stream) =>
      void socket.write(frame(RST_STREAM, 0, stream, code(8))),
    'GOAWAY and FIN': (socket, stream) =>
      void socket.end(frame(GOAWAY, 0, 0, Buffer.concat([code(stream), code(0)]))),
    'a reset of the connection': (socket) => socket.resetAndDestroy(),
  };
  for (const [title, end] of Object.entries(ends)) {
    for (let round = 0; round < 20; round++) {
      const wire = await proxy.open('crm');
      const chunk = `3e8\r\n${'x'.repeat(1000)}\r\n`;
      script = (socket, stream) =>
        void socket.write(
          Buffer.concat([head(stream), frame(DATA, END_STREAM, stream, 'hello')]),
          () => {
            end(socket, stream);
            wire.write(chunk.repeat(20));
          },
        );
      wire.write(
        `POST /x HTTP/1.1\r\nHost: crm.internal\r\nTransfer-Encoding: chunked\r\n\r\n${chunk}`,
      );
      await until(
        'it is over',
        () => wire.text.endsWith('0\r\n\r\n') || wire.reset || undefined,
        10_000,
      );
      t.match(wire.text, /^HTTP\/1\.1 200 [^]*hello[^]*0\r\n\r\n$/, `${title}, round ${round}`);
      wire.socket.destroy();
      await proxy.quiet();
    }
  }
  t.ok(proxy.audit.of('ended').every((one) => one.kind === 'ended' && one.outcome === 'completed'));
});
