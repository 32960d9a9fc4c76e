/**
 * Tasks at the listeners: what belongs to one, what it may do, and that nothing of it outlives it.
 */
import { readdirSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { SHARE } from '../../lib/exchange/shares.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { TaskPolicy } from '../../lib/policy/model/grant.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import type { TaskEvent } from '../../lib/tasks/events.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Opened, Tasks } from '../../lib/tasks/tasks.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { type TestAuthority, testAuthority } from '../support/authority.ts';
import { rule, testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type MtlsUpstream, mtlsUpstream } from '../support/upstream.ts';
import { intent, rule as taskRule } from '../tasks/fixture.ts';
import t from 'tap';

interface Room extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly tasks: Tasks;
  readonly upstream: MtlsUpstream;
  readonly authority: TestAuthority;
  open(given?: Readonly<Record<string, unknown>>): Opened;
  get(path: string, opened?: Opened | string, host?: string): Promise<string>;
}

const RULES = [
  rule('read', 'allow', { methods: ['GET'] }),
  { ...rule('write', 'allow', { methods: ['POST'] }), action: 'write' },
];

function header(opened: Opened | string | undefined): string {
  if (opened === undefined) return '';
  const text = typeof opened === 'string' ? opened : `${opened.task.id}:${opened.secret}`;
  return `Proxy-Authorization: Basic ${Buffer.from(text).toString('base64')}\r\n`;
}

function policyOf(
  destinations: readonly Destination[],
  taskPolicies: readonly TaskPolicy[],
): Policy {
  return buildPolicy({ generation: 1, digest: 'd', destinations, unlisted: 'deny', taskPolicies });
}

async function room(given: Partial<TaskPolicy> = {}): Promise<Room> {
  const authority = await testAuthority();
  const upstream = await mtlsUpstream({
    authority,
    http: (request, response) => {
      if (request.url !== '/stream') return void response.end(JSON.stringify(request.headers));
      response.writeHead(200);
      response.write('first');
    },
  });
  const at = { host: '127.0.0.1', port: upstream.port };
  const destinations = [
    testDestination({ upstream: at, task: 'required', rules: RULES, listen: true }),
    testDestination({ name: 'wiki', hosts: ['wiki.internal'], upstream: at, rules: RULES }),
    testDestination({
      name: 'db',
      hosts: ['db.internal'],
      ports: [5432],
      protocol: 'tcp',
      upstream: at,
      task: 'required',
      action: 'read',
    }),
  ];
  const policy = cell(
    policyOf(destinations, [taskRule({ destinations: new Set(['crm', 'db']), ...given })]),
  );
  const late: { proxy?: TestProxy['server'] } = {};
  const registry = tasks({
    clock: systemClock,
    policy,
    tell: () => {},
    onChange: () => late.proxy?.reauthorize(),
    release: async (task) => {
      await late.proxy?.release(task);
      return [];
    },
  });
  const proxy = await testProxy({ authority, destinations, options: { tasks: registry, policy } });
  late.proxy = proxy.server;
  return {
    proxy,
    tasks: registry,
    upstream,
    authority,
    open: (asked = {}) =>
      registry.open(intent({ targets: ['crm', 'db'], actions: ['read', 'write'], ...asked })),
    get: (path, opened, host = 'crm.internal') =>
      proxy.ask(
        `GET http://${host}${path} HTTP/1.1\r\nHost: ` +
          `${host}\r\n${header(opened)}Connection: close\r\n\r\n`,
      ),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

t.test(
  'a destination that requires a task serves none without one; the upstream sees not one byte',
  async (t) => {
    await using r = await room();
    const answer = await r.get('/x');
    t.equal(statusOf(answer), 407);
    t.match(refusal(answer), { code: 'task-required', message: /open a task/ });
    t.match(answer, /proxy-authenticate: Basic/i);
    t.equal(r.upstream.connections.length, 0);
    t.match(r.proxy.audit.of('decided'), [
      { effect: 'deny', code: 'task-required', destination: 'crm' },
    ]);
    t.same(unpaired(r.proxy.audit.records), []);
  },
);

t.test(
  'a live task gets what it was granted, its record names it, and its secret goes no further (H3, C5)',
  async (t) => {
    await using r = await room();
    const opened = r.open();
    const answer = await r.get('/x', opened);
    t.equal(statusOf(answer), 200);
    t.notMatch(answer, /proxy-authorization/i, 'the upstream was not sent it');
    t.match(r.proxy.audit.of('decided'), [
      { effect: 'allow', task: opened.task.id, action: 'read' },
    ]);
    t.equal(opened.task.uses, 1);
    t.notOk(JSON.stringify(r.proxy.audit.records).includes(opened.secret));
  },
);

t.test('a reference that is no live task is 407 everywhere, never no task', async (t) => {
  await using r = await room();
  const [opened, other, ended] = [r.open(), r.open(), r.open()];
  r.tasks.end(ended.task, 'completed', 'done');
  const wrong: readonly (Opened | string)[] = [
    ended,
    `${opened.task.id}:${other.secret}`,
    `${opened.task.id}:`,
    'user:password',
    '',
    `t-aaaaaaaaaaaaaaaaaaaa:${opened.secret}`,
  ];
  for (const one of wrong) {
    const name = typeof one === 'string' ? one : 'ended';
    // The wiki needs no task: a wrong one is wrong there too.
    for (const host of ['crm.internal', 'wiki.internal'])
      t.equal(statusOf(await r.get('/x', one, host)), 407, `${name} ${host}`);
    const connected = await r.proxy.ask(
      `CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n${header(one)}\r\n`,
    );
    t.equal(statusOf(connected), 407, `${name} CONNECT`);
    const local = await r.proxy.ask(
      `GET /x HTTP/1.1\r\nHost: crm.internal\r\n${header(one)}\r\n`,
      'crm',
    );
    t.equal(statusOf(local), 407, `${name} at a listener`);
  }
  t.equal(r.upstream.connections.length, 0);
  t.equal(r.proxy.audit.of('refused').length, wrong.length * 4);
  t.same(unpaired(r.proxy.audit.records), []);
});

t.test('what a task was not granted is refused, whatever the rules allow', async (t) => {
  await using r = await room();
  const opened = r.open({ targets: ['db'], actions: ['read'] });
  t.match(refusal(await r.get('/x', opened)), {
    code: 'denied',
    message: /crm is not among its targets/,
  });
  t.match(
    refusal(await r.get('/x', opened, 'wiki.internal')),
    { message: /wiki is not among its targets/ },
    'a task holds where none is needed',
  );
  const spent = r.open({ maxCalls: 1 });
  t.equal(statusOf(await r.get('/x', spent)), 200);
  t.match(refusal(await r.get('/x', spent)), { code: 'denied', message: /the 1 calls/ });
  t.equal(r.upstream.connections.length, 1);
});

t.test(
  'an action that needs an approval waits for one, works once, and is read-only again',
  async (t) => {
    await using r = await room();
    const opened = r.open();
    const post = (): Promise<string> =>
      r.proxy.ask(
        `POST http://crm.internal/x HTTP/1.1\r\nHost: ` +
          `crm.internal\r\n${header(opened)}Content-Length: 0\r\nConnection: close\r\n\r\n`,
      );
    const refused = await post();
    t.equal(statusOf(refused), 403);
    t.match(refusal(refused), {
      code: 'step-up-required',
      message: /approval for action write .*step-ups on the agent API/,
    });
    t.equal(r.upstream.connections.length, 0);
    const { decision } = refusal(refused);
    const { id } = await r.tasks.stepUps.ask(opened.task, { decision: decision ?? '' });
    await r.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' });
    t.equal(statusOf(await post()), 200);
    t.equal(statusOf(await post()), 403);
    t.match(r.proxy.audit.of('decided')[1], { effect: 'allow', action: 'write', stepUp: id });
  },
);

t.test(
  'the end of a task cuts its streams and tunnels within a second, and nothing of another task (C6)',
  async (t) => {
    await using r = await room();
    const [one, other] = [r.open(), r.open()];
    const stream = async (opened: Opened): Promise<Awaited<ReturnType<TestProxy['open']>>> => {
      const line = await r.proxy.open();
      line.write(
        `GET http://crm.internal/stream HTTP/1.1\r\nHost: crm.internal\r\n${header(opened)}\r\n`,
      );
      await line.sees('first');
      return line;
    };
    const [mine, theirs] = [await stream(one), await stream(other)];
    const tunnel = await r.proxy.open();
    tunnel.write(
      `CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n${header(one)}\r\n`,
    );
    await tunnel.sees('200');
    const began = performance.now();
    r.tasks.end(one.task, 'revoked', 'by hand');
    await until('both are cut', () => mine.reset && tunnel.socket.destroyed);
    t.ok(performance.now() - began < 1000);
    t.notOk(theirs.reset);
    t.equal(statusOf(await r.get('/x', one)), 407);
    t.equal(statusOf(await r.get('/x', other)), 200);
    t.match(
      r.proxy.audit
        .of('ended')
        .filter(
          ({ kind, ...rest }) =>
            kind === 'ended' && 'outcome' in rest && rest.outcome === 'task-ended',
        ),
      [{ reason: /was revoked: by hand/ }, { reason: /was revoked/ }],
    );
  },
);

t.test('the kill switch cuts every open stream of every task within a second', async (t) => {
  await using r = await room({ maxCalls: 5000 });
  const opened = r.open();
  const lines = await Promise.all(
    Array.from({ length: 60 }, async () => {
      const line = await r.proxy.open();
      line.write(
        `GET http://crm.internal/stream HTTP/1.1\r\nHost: crm.internal\r\n${header(opened)}\r\n`,
      );
      await line.sees('first');
      return line;
    }),
  );
  t.equal(opened.task.live, lines.length);
  const began = performance.now();
  r.tasks.endAll('revoked', 'kill switch');
  await until('all are cut', () => lines.every(({ reset }) => reset));
  t.ok(performance.now() - began < 1000);
  await r.proxy.quiet();
  await until('nothing is left', () => r.tasks.list().length === 0);
});

t.test('a local listener takes a task by a socket of its own, which goes with it', async (t) => {
  const folder = shortFolder(t);
  await using r = await room();
  const opened = r.open();
  const sockets = await r.proxy.server.taskSockets(opened.task, { folder, mode: 0o660 });
  t.same(Object.keys(sockets), ['crm']);
  const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
  t.same([mode(sockets['crm'] ?? ''), mode(dirname(sockets['crm'] ?? ''))], ['660', '750']);
  const ask = (request: string): Promise<string> =>
    new Promise((resolve) => {
      let text = '';
      const socket = connect(sockets['crm'] ?? '');
      socket.on('error', (error) => resolve(error.message));
      socket
        .on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
        .on('close', () => resolve(text));
      socket.write(request);
    });
  t.equal(
    statusOf(await ask('GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n')),
    200,
  );
  t.match(r.proxy.audit.of('decided'), [{ task: opened.task.id, entry: 'listener' }]);
  const other = r.open();
  t.equal(
    statusOf(
      await ask(`GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n${header(other)}\r\n`),
    ),
    407,
    'two tasks at once are none',
  );
  t.equal(
    statusOf(await ask('GET /x HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n')),
    421,
  );
  r.tasks.end(opened.task, 'completed', 'done');
  await until(
    'the socket is gone',
    async () => /ENOENT|ECONNREFUSED/.test(await ask('x')) || undefined,
  );
});

t.test('tasks together have no more sockets than descriptors can be spared for', async (t) => {
  const folder = shortFolder(t);
  await using r = await room();
  const where = { folder, mode: 0o600 };
  const all = Array.from({ length: SHARE.sockets + 1 }, () => r.open().task);
  await Promise.all(all.slice(1).map((task) => r.proxy.server.taskSockets(task, where)));
  const [one] = all;
  if (one === undefined) return;
  await t.rejects(r.proxy.server.taskSockets(one, where), { code: 'too-many' });
  for (const task of all.slice(1)) r.tasks.end(task, 'completed', 'done');
  await until('they are gone', () => readdirSync(folder).length === 0, 20_000);
  t.same(
    Object.keys(await r.proxy.server.taskSockets(one, where)),
    ['crm'],
    'and there is room again',
  );
});

t.test('each task has tokens of its own, which are forgotten with it', async (t) => {
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({
    authority,
    http: (request, response) => void response.end(String(request.headers.authorization)),
  });
  const credential = { kind: 'jwt-svid', audience: 'crm' } as const;
  const destinations = [
    testDestination({
      upstream: { host: '127.0.0.1', port: upstream.port },
      task: 'required',
      credential,
      rules: RULES,
    }),
  ];
  const policy = cell(policyOf(destinations, [taskRule({ destinations: new Set(['crm']) })]));
  const events: TaskEvent[] = [];
  let issued = 0;
  const late: { proxy?: TestProxy['server'] } = {};
  const registry = tasks({
    clock: systemClock,
    policy,
    tell: (event) => void events.push(event),
    onChange: () => {},
    release: async (task) => (await late.proxy?.release(task)) ?? [],
  });
  await using proxy = await testProxy({
    authority,
    destinations,
    options: { tasks: registry, policy },
    fetchJwtSvid: () =>
      Promise.resolve({ token: `token-${++issued}`, expiresAt: Date.now() + 300_000 }),
  });
  late.proxy = proxy.server;
  const get = (opened: Opened): Promise<string> =>
    proxy.ask(
      `GET http://crm.internal/x HTTP/1.1\r\nHost: ` +
        `crm.internal\r\n${header(opened)}Connection: close\r\n\r\n`,
    );
  const [one, other] = [registry.open(intent()), registry.open(intent())];
  t.match(await get(one), /token-1/);
  t.match(await get(one), /token-1/);
  t.match(await get(other), /token-2/);
  t.equal(
    upstream.connections.length,
    2,
    'a connection that carried a token of one task is not for another',
  );
  registry.end(one.task, 'completed', 'done');
  await until('what cannot be revoked is told', () =>
    events.find(({ event }) => event === 'credential-left'),
  );
  t.match(events.at(-1), {
    task: one.task.id,
    detail: { what: /^a JWT-SVID for crm, valid until \d{4}-/ },
  });
  t.notOk(JSON.stringify(events).includes('token-'));
  await until('its connection is closed', () => proxy.server.pools().idle === 1);
  t.match(await get(other), /token-2/);
  await registry[Symbol.asyncDispose]();
});
