/**
 * What ends an exchange is told before it is cut: frames as an agent sees them, many of each kind.
 */
import { createHash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import { Fault } from '../../lib/base/fault.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  type Field,
  type Frame,
  GOAWAY,
  HEADERS,
  RST_STREAM,
  type RawClient,
  WINDOW_UPDATE,
  ask,
  block,
  frame,
  rawClient,
} from '../http2/raw.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { policyOf, rule, testDestination } from '../support/destination.ts';
import { h2cUpstream } from '../support/http2-upstream.ts';
import { tlsInTunnel } from '../support/tunnel.ts';
import { testInterception } from '../support/interception.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import type { Rule } from '../support/service.ts';
import { until } from '../support/until.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';
import t, { type Test } from 'tap';

const MANY = 200;
/** Streams on one connection. */
const EACH = 20;

function billing(
  upstream: { readonly port: number },
  effect: Rule['effect'] = 'allow',
): Destination {
  const grpc = { services: undefined, methods: new Set(['Watch', 'Get']) };
  const action = effect === 'allow' ? 'read' : undefined;
  const at = { host: '127.0.0.1', port: upstream.port };
  const rules = [{ name: 'some', effect, action, http: undefined, grpc, when: undefined }];
  return testDestination({
    name: 'billing',
    hosts: ['billing.internal'],
    listen: true,
    protocol: 'grpc',
    mode: 'plaintext',
    upstream: at,
    rules,
    limits: { concurrent: 1000 },
  });
}

const call = (name: string, ...more: readonly Field[]): Buffer =>
  block(
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', `/a.B/${name}`],
    [':authority', 'billing.internal'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
    ...more,
  );
const MESSAGE = Buffer.alloc(5);

/** The frames of a stream up to its end: a header block that ends it, or its reset. */
async function framesOf(client: RawClient, stream: number): Promise<readonly Frame[]> {
  const over = (one: Frame): boolean =>
    one.stream === stream &&
    (one.type === RST_STREAM || (one.type !== DATA && (one.flags & END_STREAM) !== 0));
  await until(
    'the stream is over',
    () => client.frames.find(over) ?? (client.over || undefined),
    20_000,
  );
  return client.frames.filter((one) => one.stream === stream);
}

/** The status of gRPC in the block that ends a stream; undefined where it was reset without one. */
function statusIn(frames: readonly Frame[]): string | undefined {
  const last = frames.find(({ type, flags }) => type === HEADERS && (flags & END_STREAM) !== 0);
  if (last === undefined) return undefined;
  const text = last.payload.toString('latin1');
  // As a literal that our own blocks hold, or as the engine's coder writes it.
  return (
    /grpc-status.(\d+)/s.exec(text)?.[1] ??
    (text.includes('\x9a\xca\xc8\xb2\x12\x34\xda\x8f') ? 'coded' : undefined)
  );
}

/** Sends so many calls, a few connections at a time; how many were told a status. */
async function told(proxy: TestProxy, frames: (stream: number) => Buffer): Promise<number> {
  let count = 0;
  for (let left = MANY; left > 0; left -= EACH) {
    const client = await rawClient(proxy.port('billing'));
    const streams = Array.from({ length: EACH }, (_, i) => 2 * i + 1);
    client.send(...streams.map(frames));
    for (const stream of streams)
      if (statusIn(await framesOf(client, stream)) !== undefined) count++;
    client.socket.destroy();
  }
  return count;
}

t.test('a refused call is told its status, whatever of it is still to come', async (t) => {
  await using upstream = await h2cUpstream();
  await using proxy = await testProxy({ destinations: [billing(upstream)] });
  const head = (name: string, stream: number, ...more: readonly Field[]): Buffer =>
    frame(HEADERS, END_HEADERS, stream, call(name, ...more));
  const kinds: Readonly<Record<string, (stream: number) => Buffer>> = {
    'denied, whole': (s) => Buffer.concat([head('No', s), frame(DATA, END_STREAM, s, MESSAGE)]),
    'denied, unfinished': (s) => Buffer.concat([head('No', s), frame(DATA, 0, s, MESSAGE)]),
    'denied, head alone': (s) => head('No', s),
    malformed: (s) => head('Get', s, ['grpc-timeout', 'soon']),
    'a task that is none': (s) => head('Get', s, ['proxy-authorization', 'Basic eDp5']),
  };
  for (const [title, frames] of Object.entries(kinds))
    t.equal(await told(proxy, frames), MANY, title);
  await proxy.quiet();
  t.equal(upstream.connections.length, 0, 'nothing was dialled');
  t.same(unpaired(proxy.audit.records), []);
  t.ok(
    proxy.audit
      .of('ended')
      .every((record) => record.kind === 'ended' && record.grpcStatus !== undefined),
  );
});

/** Streams under way, on a few connections, each with a first message from the upstream. */
async function streaming(proxy: TestProxy, heads = true): Promise<readonly RawClient[]> {
  const clients: RawClient[] = [];
  for (let left = MANY; left > 0; left -= EACH) {
    const client = await rawClient(proxy.port('billing'));
    clients.push(client);
    for (let i = 0; i < EACH; i++)
      client.send(
        frame(HEADERS, END_HEADERS, 2 * i + 1, call('Watch')),
        frame(DATA, 0, 2 * i + 1, MESSAGE),
      );
  }
  for (const client of heads ? clients : [])
    for (let i = 0; i < EACH; i++) await client.sees(DATA, 2 * i + 1);
  await until('all are under way', () => proxy.server.live() === MANY || undefined, 20_000);
  return clients;
}

async function allTold(t: Test, clients: readonly RawClient[]): Promise<void> {
  let count = 0;
  for (const client of clients)
    for (let i = 0; i < EACH; i++)
      if (statusIn(await framesOf(client, 2 * i + 1)) !== undefined) count++;
  t.equal(count, MANY);
  for (const { socket } of clients) socket.destroy();
}

const ENDS: Readonly<Record<string, (proxy: TestProxy, at: { readonly port: number }) => void>> = {
  'a policy that no longer allows it': (proxy, at) =>
    proxy.policy.set(policyOf(billing(at, 'deny'))),
  'the withdrawal of all policy': (proxy) => proxy.policy.set(policyOf()),
};

for (const [way, end] of Object.entries(ENDS)) {
  for (const heads of [true, false]) {
    t.test(
      `a stream that ${way} cuts is told its status${heads ? '' : ' before its head'}`,
      async (t) => {
        await using upstream = await h2cUpstream((stream) => {
          if (heads) stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
          if (heads) stream.write(MESSAGE);
        });
        await using proxy = await testProxy({ destinations: [billing(upstream)] });
        const clients = await streaming(proxy, heads);
        end(proxy, upstream);
        await allTold(t, clients);
        await proxy.quiet();
        t.ok(
          proxy.audit
            .of('ended')
            .every((record) => record.kind === 'ended' && record.grpcStatus === 7),
        );
        t.same(unpaired(proxy.audit.records), []);
      },
    );
  }
}

t.test('at the end of the drain every stream is told UNAVAILABLE', async (t) => {
  for (const heads of [true, false]) {
    await using upstream = await h2cUpstream((stream) => {
      if (heads) stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
      if (heads) stream.write(MESSAGE);
    });
    await using proxy = await testProxy({ destinations: [billing(upstream)] });
    const clients = await streaming(proxy, heads);
    const drained = drainedNow(proxy);
    await allTold(t, clients);
    await drained;
    t.ok(
      proxy.audit
        .of('ended')
        .every((record) => record.kind === 'ended' && record.grpcStatus === 14),
    );
    t.ok(clients.every(({ frames }) => frames.some(({ type }) => type === GOAWAY)));
    t.same(unpaired(proxy.audit.records), []);
  }
});

/** Drains with a deadline that has passed. */
function drainedNow(proxy: TestProxy): Promise<void> {
  const deadline = new AbortController();
  const drained = proxy.server.drain(deadline.signal);
  deadline.abort(new Fault('shutting-down', 'the drain took too long'));
  return drained;
}

const KEY = 'dGhlIHNhbXBsZSBub25jZQ==';
const HANDSHAKE =
  `GET http://chat.internal/ws HTTP/1.1\r\nHost: chat.internal\r\nConnection: ` +
  `Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ` +
  `${KEY}\r\n\r\n`;

function chat(upstream: { readonly port: number }, websocket = true): Destination {
  const at = { host: '127.0.0.1', port: upstream.port };
  const rules = [rule('ws', 'allow', { methods: ['GET'], websocket })];
  return testDestination({
    name: 'chat',
    hosts: ['chat.internal'],
    mode: 'plaintext',
    rules,
    upstream: at,
    limits: { concurrent: 1000 },
  });
}

/** A server of WebSockets that says something at once, and more than a whole frame. */
function chatServer(says: readonly Buffer[]): Promise<RawUpstream> {
  return rawUpstream({
    raw: (socket) => void socket.once('data', (head: Buffer) => switchTo(socket, head, says)),
  });
}

function switchTo(socket: Duplex, head: Buffer, says: readonly Buffer[]): void {
  const key = /sec-websocket-key: (\S+)/i.exec(head.toString('latin1'))?.[1] ?? '';
  const accept = createHash('sha1')
    .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.on('error', () => {});
  socket.write(
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: ` +
          `Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
      ),
      ...says,
    ]),
  );
}

const TEXT = Buffer.from('\x81\x05hello', 'latin1');
/** The begin of a frame of 1000 bytes. */
const PART = Buffer.concat([Buffer.from([0x82, 126, 3, 232]), Buffer.alloc(100, 'p')]);

/** Opcodes of the frames of a server, the code of its Close, and whether they end with it. */
function framesIn(text: string): {
  readonly opcodes: number[];
  readonly code: number;
  readonly last: boolean;
} {
  const bytes = Buffer.from(text.slice(text.indexOf('\r\n\r\n') + 4), 'latin1');
  const opcodes: number[] = [];
  let code = 0;
  let at = 0;
  while (at < bytes.length) {
    const short = bytes[at + 1] ?? 0;
    const length = short === 126 ? bytes.readUInt16BE(at + 2) : short;
    const from = at + (short === 126 ? 4 : 2);
    opcodes.push((bytes[at] ?? 0) & 15);
    if (opcodes.at(-1) === 8) code = bytes.readUInt16BE(from);
    at = from + length;
  }
  return { opcodes, code, last: at === bytes.length && opcodes.at(-1) === 8 };
}

const GOING_AWAY = 1001;
const CUTS: Readonly<
  Record<string, readonly [code: number, (proxy: TestProxy, at: RawUpstream) => void]>
> = {
  'a policy that no longer allows it': [
    1008,
    (proxy, at) => proxy.policy.set(policyOf(chat(at, false))),
  ],
  'the end of the drain': [GOING_AWAY, (proxy) => void drainedNow(proxy)],
};

for (const [way, [code, end]] of Object.entries(CUTS)) {
  t.test(`a WebSocket that is cut by ${way} is told so by a Close, in mid-frame too`, async (t) => {
    for (const says of [[], [TEXT], [TEXT, PART]]) {
      await using upstream = await chatServer(says);
      await using proxy = await testProxy({ identity: 'none', destinations: [chat(upstream)] });
      const lines = await Promise.all(Array.from({ length: MANY }, () => proxy.open()));
      for (const line of lines) line.write(HANDSHAKE);
      await until('all are open', () => upstream.connections.length === MANY || undefined, 20_000);
      const last = says.at(-1)?.toString('latin1').slice(-5) ?? '\r\n\r\n';
      for (const line of lines) await line.sees(last, 20_000);
      const before = upstream.received();
      for (const line of lines) line.write('x'.repeat(100));
      end(proxy, upstream);
      for (const line of lines) await line.ended();
      const seen = lines.map(({ text }) => framesIn(text));
      t.ok(
        seen.every((one) => one.last && one.code === code),
        JSON.stringify(seen.find((one) => !one.last) ?? seen[0]),
      );
      t.equal(lines.filter(({ reset }) => reset).length, 0);
      await proxy.quiet();
      // A policy is held against many exchanges in slices of a turn, so that some are cut a
      // little later.
      if (code === GOING_AWAY)
        t.equal(upstream.received(), before, 'the upstream received not one byte more');
    }
  });
}

t.test('what an agent has sent when its WebSocket is cut reaches nobody', async (t) => {
  await using upstream = await chatServer([TEXT]);
  await using proxy = await testProxy({ identity: 'none', destinations: [chat(upstream)] });
  const line = await proxy.open();
  line.write(HANDSHAKE);
  await line.sees('hello');
  const before = upstream.received();
  line.write('x'.repeat(1000));
  proxy.policy.set(policyOf(chat(upstream, false)));
  await line.ended();
  await proxy.quiet();
  t.equal(framesIn(line.text).code, 1008);
  t.equal(upstream.received(), before, 'the upstream received not one byte more');
});

t.test('a tunnel that is cut hands on what the upstream said before', async (t) => {
  const said = Buffer.alloc(200_000, '#');
  await using upstream = await rawUpstream({
    raw: (socket) => void socket.on('error', () => {}).once('data', () => socket.write(said)),
  });
  const at = { host: '127.0.0.1', port: upstream.port };
  const tcp = testDestination({
    name: 'db',
    hosts: ['db.internal'],
    ports: [5432],
    protocol: 'tcp',
    mode: 'plaintext',
    upstream: at,
  });
  await using proxy = await testProxy({ identity: 'none', destinations: [tcp] });
  const line = await proxy.open();
  line.write('CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\nask');
  await line.sees('###');
  proxy.policy.set(policyOf());
  await until('the agent sees a cut', () => line.reset || undefined);
  const ended = await until('it is recorded', () => proxy.audit.of('ended')[0]);
  t.match(ended, { outcome: 'no-longer-allowed' });
  t.equal(line.text.split('#').length - 1, ended.kind === 'ended' ? ended.received : 0);
});

t.test('an agent that reads nothing is cut all the same (farewellMs)', async (t) => {
  await using upstream = await h2cUpstream((stream) => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' });
    stream.write(Buffer.alloc(16 * 1024 * 1024));
  });
  const { farewellMs } = httpLimits();
  await using proxy = await testProxy({
    destinations: [billing(upstream)],
    options: { limits: httpLimits({ farewellMs }) },
  });
  // A window that lets everything come, and nobody who takes it.
  const client = await rawClient(
    proxy.port('billing'),
    Buffer.from([0, 1, 0, 0, 0, 0, 0, 4, 0x7f, 0xff, 0xff, 0xff]),
  );
  client.send(frame(WINDOW_UPDATE, 0, 0, Buffer.from([0x7f, 0xff, 0, 0])));
  client.socket.pause();
  client.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, call('Watch')));
  await until('it is under way', () => proxy.server.live() === 1 && upstream.requests.length === 1);
  await drainedNow(proxy);
  t.equal(proxy.server.live(), 0);
  client.socket.destroy();
});

t.test('an answer before the end of an upload is whole before the rest is reset', async (t) => {
  await using upstream = await rawUpstream({
    http: (request, response) => {
      response.statusCode = Number(request.url?.slice(1));
      response.end(response.statusCode === 200 ? 'early' : undefined);
    },
  });
  const at = { host: '127.0.0.1', port: upstream.port };
  const rules = [rule('some', 'allow', { methods: ['POST'], paths: ['/200', '/204', '/304'] })];
  const crm = testDestination({
    mode: 'plaintext',
    listen: true,
    rules,
    upstream: at,
    limits: { concurrent: 1000 },
  });
  await using proxy = await testProxy({ identity: 'none', destinations: [crm] });
  for (const path of ['/200', '/204', '/304', '/denied']) {
    let whole = 0;
    for (let left = MANY; left > 0; left -= EACH) {
      const client = await rawClient(proxy.port('crm'));
      const streams = Array.from({ length: EACH }, (_, i) => 2 * i + 1);
      for (const stream of streams)
        client.send(
          frame(HEADERS, END_HEADERS, stream, block(...ask('POST', path))),
          frame(DATA, 0, stream, 'the begin of an upload'),
        );
      for (const stream of streams) {
        await client.sees(RST_STREAM, stream);
        const ended = client.frames.findIndex(
          (one) => one.stream === stream && (one.flags & END_STREAM) !== 0,
        );
        const reset = client.frames.findIndex(
          (one) => one.stream === stream && one.type === RST_STREAM,
        );
        if (ended >= 0 && ended < reset && (await client.resetOf(stream)) === 0) whole++;
      }
      client.socket.destroy();
    }
    t.equal(whole, MANY, path);
  }
  await proxy.quiet();
  t.same(unpaired(proxy.audit.records), []);
});

const EVENTS = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n';

t.test(
  'a stream of events is cut by a policy that no longer allows it, over both versions',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) => void socket.on('error', () => {}).once('data', () => socket.write(EVENTS)),
    });
    const at = { host: '127.0.0.1', port: upstream.port };
    const destinations = [
      testDestination({
        mode: 'plaintext',
        listen: true,
        upstream: at,
        limits: { concurrent: 1000 },
      }),
    ];
    await using proxy = await testProxy({ identity: 'none', destinations });
    const lines = await Promise.all(Array.from({ length: EACH }, () => proxy.open('crm')));
    const client = await rawClient(proxy.port('crm'));
    for (const [i, line] of lines.entries()) {
      line.write('GET /events HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
      client.get(2 * i + 1, '/events');
    }
    for (const [i, line] of lines.entries()) {
      await line.sees('one');
      await client.sees(DATA, 2 * i + 1);
    }
    proxy.policy.set(policyOf());
    for (const [i, line] of lines.entries()) {
      await until('it is cut', () => line.reset || undefined);
      t.notMatch(line.text, /0\r\n\r\n$/, 'not ended');
      t.not(await client.resetOf(2 * i + 1), 0);
    }
    client.socket.destroy();
    await proxy.quiet();
    t.ok(
      proxy.audit
        .of('ended')
        .every((one) => one.kind === 'ended' && one.outcome === 'no-longer-allowed'),
    );
  },
);

t.test(
  'at the end of the drain a request without an answer is told 503, over both versions',
  async (t) => {
    await using upstream = await rawUpstream({
      raw: (socket) => void socket.on('error', () => {}).resume(),
    });
    const at = { host: '127.0.0.1', port: upstream.port };
    const destinations = [
      testDestination({
        mode: 'plaintext',
        listen: true,
        upstream: at,
        limits: { concurrent: 1000 },
      }),
    ];
    await using proxy = await testProxy({ identity: 'none', destinations });
    const lines = await Promise.all(Array.from({ length: MANY }, () => proxy.open('crm')));
    for (const line of lines) line.write('GET /hang HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    const client = await rawClient(proxy.port('crm'));
    for (let i = 0; i < EACH; i++) client.get(2 * i + 1, '/hang');
    await until(
      'all are under way',
      () => proxy.server.live() === MANY + EACH || undefined,
      20_000,
    );
    const drained = drainedNow(proxy);
    const answers = await Promise.all(lines.map((line) => line.ended()));
    t.equal(
      answers.filter((answer) => /^HTTP\/1\.1 503 [^]*shutting-down/.test(answer)).length,
      MANY,
    );
    for (let i = 0; i < EACH; i++) t.equal(await client.status(2 * i + 1), 503);
    await drained;
    t.ok(proxy.audit.of('ended').every((one) => one.kind === 'ended' && one.status === 503));
  },
);

t.test('inside an intercepted tunnel and over TLS, too, a WebSocket is told', async (t) => {
  const authority = await testAuthority();
  const svid = await authority.svid('/saas', { dns: ['api.example.com'] });
  const rules = [rule('ws', 'allow', { paths: ['/ws'], websocket: true })];
  await using w = await testInterception(t, {
    destination: { rules, roots: [authority.pem] },
    upstream: {
      authority,
      svid,
      raw: (socket: Duplex) =>
        void socket.once('data', (head: Buffer) => switchTo(socket, head, [TEXT, PART])),
    },
  });
  const agent = await tlsInTunnel(w.proxy, { ca: w.ca });
  agent.write(
    HANDSHAKE.replace('http://chat.internal', '').replace('chat.internal', 'api.example.com'),
  );
  await agent.sees('ppp');
  w.proxy.policy.set(policyOf());
  t.match(framesIn(await agent.ended()), { code: 1008, last: true });
});
