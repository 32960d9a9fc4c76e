/**
 * The end of a task, by every way in: what is under way is cut within a second, whatever it is, its
 * record says why, and nothing of another task is touched (C6).
 */
import { createHash } from 'node:crypto';
import { type ClientHttp2Session, type ClientHttp2Stream, connect as http2 } from 'node:http2';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import type { McpRule } from '../../lib/policy/protocols/mcp-service.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Opened, Tasks } from '../../lib/tasks/tasks.ts';
import { type TestConnection, testConnectionOver } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { rule, testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { SERVICE, grpcServer } from '../support/grpc.ts';
import {
  type McpAnswer,
  call,
  event,
  mcpDestination,
  mcpServer,
  message,
  post,
  result,
} from '../support/mcp.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { mtlsUpstream, rawUpstream } from '../support/upstream.ts';
import { intent, rule as taskRule } from '../tasks/fixture.ts';
import t, { type Test } from 'tap';

interface Room extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly tasks: Tasks;
  open(): Opened;
}

const LATE_MS = 1000;

async function room(t: Test): Promise<Room> {
  const authority = await testAuthority();
  const web = await mtlsUpstream({
    authority,
    http: (request, response) => {
      if (request.url === '/hang') return;
      response.writeHead(200);
      response.write('first');
    },
  });
  const bytes = await mtlsUpstream({
    authority,
    raw: (socket) => void socket.on('data', () => socket.write('heard')),
  });
  const ws = await rawUpstream({
    raw: (socket) => void socket.once('data', (head: Buffer) => switching(socket, head)),
  });
  const calls = await grpcServer(authority);
  const tools = await mcpServer(
    ({ body }, response) => {
      if (body?.params?.['name'] === 'hang') return;
      const meta = (body?.params?.['_meta'] ?? {}) as { readonly progressToken?: unknown };
      const params = { progressToken: meta.progressToken, progress: 1 };
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(event({ jsonrpc: '2.0', method: 'notifications/progress', params }));
    },
    result({
      tools: ['hang', 'stream'].map((name) => ({ name, inputSchema: { type: 'object' } })),
    }),
  );
  const at = ({ port }: { readonly port: number }): { host: string; port: number } => ({
    host: '127.0.0.1',
    port,
  });
  const grpc = { services: new Set([SERVICE]), methods: new Set(['*']) };
  const task = 'required';
  const destinations: readonly Destination[] = [
    testDestination({ upstream: at(web), task, listen: true }),
    testDestination({
      name: 'db',
      hosts: ['db.internal'],
      protocol: 'tcp',
      action: 'read',
      upstream: at(bytes),
      task,
      listen: true,
    }),
    testDestination({
      name: 'chat',
      hosts: ['chat.internal'],
      mode: 'plaintext',
      upstream: at(ws),
      limits: { concurrent: 2000 },
      task,
      rules: [rule('ws', 'allow', { websocket: true })],
    }),
    mcpDestination({ upstream: at(tools), task, rules: [mcpAny()] }),
    {
      ...testDestination({
        name: 'billing',
        hosts: ['billing.internal'],
        protocol: 'grpc',
        upstream: at(calls),
        task,
        listen: true,
        rules: [{ name: 'all', effect: 'allow', action: 'read', grpc, when: undefined }],
      }),
      http2: true,
    },
  ];
  const names = destinations.map(({ name }) => name);
  const taskPolicies = [taskRule({ destinations: new Set(names), maxCalls: 10_000 })];
  const policy = cell<Policy>(
    buildPolicy({ generation: 1, digest: 'd', destinations, unlisted: 'deny', taskPolicies }),
  );
  const late: { proxy?: TestProxy['server'] } = {};
  const registry = tasks({
    clock: systemClock,
    policy,
    tell: () => {},
    onChange: () => late.proxy?.reauthorize(),
    release: async (one) => (await late.proxy?.release(one), []),
  });
  const proxy = await testProxy({ authority, destinations, options: { tasks: registry, policy } });
  late.proxy = proxy.server;
  t.teardown(async () => {
    for (const one of [registry, proxy, web, bytes, ws, calls, tools])
      await one[Symbol.asyncDispose]();
  });
  return {
    proxy,
    tasks: registry,
    open: () => registry.open(intent({ targets: names, dataClasses: ['internal'] })),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

function mcpAny(): McpRule {
  const mcp = {
    tools: new Set(['hang', 'stream']),
    prompts: new Set<string>(),
    resources: [],
    methods: new Set<string>(),
  };
  return { name: 'any', effect: 'allow', action: 'read', mcp, when: undefined };
}

function switching(socket: Duplex, head: Buffer): void {
  const key = /sec-websocket-key: (\S+)/i.exec(head.toString('latin1'))?.[1] ?? '';
  const accept = createHash('sha1')
    .update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`)
    .digest('base64');
  socket.write(
    `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: ` +
      `Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\nframe`,
  );
}

const value = ({ task, secret }: Opened): string =>
  `Basic ${Buffer.from(`${task.id}:${secret}`).toString('base64')}`;
const field = (opened: Opened): string => `Proxy-Authorization: ${value(opened)}\r\n`;

/** Something under way for a task, and how its agent sees that it is over. */
interface Running {
  over(): boolean;
}

const byWire = (line: TestConnection): Running => ({
  over: () => line.reset || line.socket.destroyed || line.socket.readableEnded,
});

async function stream(
  r: Room,
  opened: Opened,
  head: string,
  sees: string,
): Promise<TestConnection> {
  const line = await r.proxy.open();
  line.write(head.replace('\r\n\r\n', `\r\n${field(opened)}\r\n`));
  await line.sees(sees);
  return line;
}

const HANDSHAKE =
  'GET http://chat.internal/ HTTP/1.1\r\nHost: chat.internal\r\nConnection: ' +
  'Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ' +
  'dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n';

interface Http2Stream extends Running {
  readonly stream: ClientHttp2Stream;
  readonly session: ClientHttp2Session;
  trailers: Record<string, unknown>;
}

async function http2Stream(
  r: Room,
  opened: Opened,
  name: string,
  headers: Record<string, string>,
): Promise<Http2Stream> {
  const session = http2(`http://127.0.0.1:${r.proxy.port(name)}`);
  session.on('error', () => {});
  const one = session.request(
    { 'proxy-authorization': value(opened), ...headers },
    { endStream: headers[':method'] !== 'POST' },
  );
  const seen: Http2Stream = { stream: one, session, trailers: {}, over: () => one.closed };
  let bytes = 0;
  one.on('error', () => {}).on('trailers', (trailers) => (seen.trailers = { ...trailers }));
  one.on('data', (chunk: Buffer) => (bytes += chunk.length));
  if (headers[':method'] === 'POST') one.end(Buffer.from([0, 0, 0, 0, 0]));
  await until('the stream has begun', () => bytes > 0);
  return seen;
}

const WAYS: Readonly<Record<string, (r: Room, opened: Opened, t: Test) => Promise<Running>>> = {
  'a stream at the forward port': async (r, opened) =>
    byWire(
      await stream(
        r,
        opened,
        'GET http://crm.internal/s HTTP/1.1\r\nHost: crm.internal\r\n\r\n',
        'first',
      ),
    ),
  'a tunnel to bytes': async (r, opened) => {
    const line = await stream(
      r,
      opened,
      'CONNECT db.internal:80 HTTP/1.1\r\nHost: db.internal:80\r\n\r\n',
      '200',
    );
    line.write('x');
    await line.sees('heard');
    return byWire(line);
  },
  'a WebSocket': async (r, opened) => byWire(await stream(r, opened, HANDSHAKE, 'frame')),
  'a stream of events from an MCP server': async (r, opened) => {
    const body = message('tools/call', {
      name: 'stream',
      arguments: {},
      _meta: { progressToken: 1 },
    });
    const head =
      `POST http://tools.internal/mcp HTTP/1.1\r\nHost: tools.internal\r\nContent-Type: ` +
      `application/json\r\nMCP-Protocol-Version: 2025-11-25\r\nAccept: application/json, ` +
      `text/event-stream\r\nContent-Length: ${body.length}\r\n${field(opened)}\r\n${body}`;
    const line = await r.proxy.open();
    line.write(head);
    await line.sees('progress');
    return byWire(line);
  },
  'a stream of HTTP/2 at a listener': (r, opened) =>
    http2Stream(r, opened, 'crm', { ':path': '/s', ':authority': 'crm.internal' }),
  'bytes through the socket of the task': async (r, opened, t) => {
    const paths = await r.proxy.server.taskSockets(opened.task, {
      folder: shortFolder(t),
      mode: 0o600,
    });
    const line = testConnectionOver(connect({ path: paths['db'] ?? '', allowHalfOpen: true }));
    line.write('x');
    await line.sees('heard');
    return byWire(line);
  },
};

for (const [way, begin] of Object.entries(WAYS)) {
  t.test(
    `${way} is cut at once when its task ends, and that of another task goes on`,
    async (t) => {
      const r = await room(t);
      const [mine, theirs] = [r.open(), r.open()];
      const [one, other] = [await begin(r, mine, t), await begin(r, theirs, t)];
      const began = performance.now();
      r.tasks.end(mine.task, 'revoked', 'by hand');
      await until('it is over', () => one.over(), LATE_MS);
      t.ok(performance.now() - began < LATE_MS);
      t.notOk(other.over());
      await until('it is recorded', () => r.proxy.audit.of('ended').length > 0);
      t.match(r.proxy.audit.of('ended'), [
        { outcome: 'task-ended', reason: /task t-\S+ was revoked: by hand/ },
      ]);
      r.tasks.endAll('completed', 'done');
      await until('that of the other is over', () => other.over(), LATE_MS);
      await r.proxy.quiet();
      t.same(unpaired(r.proxy.audit.records), []);
    },
  );
}

t.test(
  'a gRPC stream is told with PERMISSION_DENIED when its task ends, and no task is UNAUTHENTICATED',
  async (t) => {
    const r = await room(t);
    const opened = r.open();
    const headers = {
      ':method': 'POST',
      ':path': `/${SERVICE}/Watch`,
      ':authority': 'billing.internal',
      'content-type': 'application/grpc',
      te: 'trailers',
    };
    const one = await http2Stream(r, opened, 'billing', headers);
    r.tasks.end(opened.task, 'expired', 'its time is over');
    await until('it is over', () => one.over(), LATE_MS);
    t.match(one.trailers, { 'grpc-status': '7', 'grpc-message': /has expired/ });
    t.match(r.proxy.audit.of('ended'), [{ outcome: 'task-ended', grpcStatus: 7 }]);
    for (const credentials of [undefined, value(opened), 'Bearer x']) {
      const session = http2(`http://127.0.0.1:${r.proxy.port('billing')}`);
      const bare = session.request({
        ...headers,
        ...(credentials && { 'proxy-authorization': credentials }),
      });
      const told = await new Promise<object>((resolve) => bare.once('response', resolve).end());
      t.match(told, { ':status': 200, 'grpc-status': '16' }, String(credentials));
      session.destroy();
    }
    one.session.destroy();
  },
);

t.test(
  'a request that has no answer yet is answered when its task ends: HTTP with 403, MCP in JSON-RPC',
  async (t) => {
    const r = await room(t);
    const opened = r.open();
    const line = await r.proxy.open();
    line.write(
      `GET http://crm.internal/hang HTTP/1.1\r\nHost: crm.internal\r\n${field(opened)}\r\n`,
    );
    const answer: Promise<McpAnswer> = post(r.proxy, call('hang', {}, 7), {
      fields: { 'proxy-authorization': value(opened) },
    });
    await until(
      'both are under way',
      () => r.proxy.audit.of('decided').length === 2 && opened.task.live === 2,
    );
    r.tasks.end(opened.task, 'completed', 'its agent completed it');
    await line.sees(/^HTTP\/1\.1 403 [^]*was completed.* \[chaperone: task-ended,.*\]\n$/);
    line.socket.end();
    t.match(await answer, {
      status: 403,
      body: { id: 7, error: { data: { reason: 'task-ended' } } },
    });
    const dead = await post(r.proxy, call('hang', {}, 8), {
      fields: { 'proxy-authorization': value(opened) },
    });
    t.match(dead, {
      status: 407,
      body: { id: 8, error: { data: { reason: 'task-unknown', hint: /open another task/ } } },
    });
    const none = await post(r.proxy, call('hang', {}, 9));
    t.match(none, {
      body: { id: 9, error: { data: { reason: 'task-required', hint: /open a task/ } } },
    });
  },
);

t.test('a thousand streams of one task are cut within a second', async (t) => {
  const r = await room(t);
  const opened = r.open();
  const lines: TestConnection[] = [];
  for (let i = 0; i < 20; i += 1) {
    const begun = Array.from({ length: 50 }, () => stream(r, opened, HANDSHAKE, 'frame'));
    lines.push(...(await Promise.all(begun)));
  }
  t.equal(opened.task.live, 1000);
  const began = performance.now();
  r.tasks.end(opened.task, 'revoked', 'enough');
  t.ok(performance.now() - began < LATE_MS, 'aborted');
  await until('all are cut', () => lines.every((line) => byWire(line).over()), 5000);
  t.comment(`${Math.round(performance.now() - began)} ms until every client saw it`);
});
