/**
 * "After confidential data was read, nothing goes there any more", and the ways round it: another
 * task, none, a stream from before, a sub-agent, a restart.
 */
import t, { type Test } from 'tap';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Opened, Tasks } from '../../lib/tasks/tasks.ts';
import { statusOf } from '../support/agent.ts';
import { rule, testDestination } from '../support/destination.ts';
import { mcpDestination, mcpServer, message, post, sendJson } from '../support/mcp.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { rawUpstream } from '../support/upstream.ts';
import { intent, rule as taskRule } from '../tasks/fixture.ts';

interface Room {
  readonly proxy: TestProxy;
  readonly tasks: Tasks;
  readonly policy: { set(rule: ReturnType<typeof taskRule>): void };
  open(given?: object): Opened;
  get(host: string, opened?: Opened): Promise<number>;
}

const header = (opened: Opened | undefined): string =>
  opened === undefined
    ? ''
    : 'Proxy-Authorization: Basic ' +
      `${Buffer.from(`${opened.task.id}:${opened.secret}`).toString('base64')}\r\n`;

async function room(t: Test, unknownPast = false): Promise<Room> {
  const upstream = await rawUpstream({
    http: (request, response) =>
      void (request.url === '/s' ? response.write('first') : response.end()),
  });
  const at = { upstream: { host: '127.0.0.1', port: upstream.port }, mode: 'plaintext' } as const;
  const when = "rank(task.read) < rank('confidential')";
  const destinations = [
    { ...testDestination({ name: 'crm', ...at }), dataClass: 'confidential' },
    testDestination({
      name: 'forum',
      hosts: ['forum.internal'],
      ...at,
      rules: [rule('read', 'allow', { when })],
    }),
  ];
  const whole = taskRule({ destinations: new Set(['crm', 'forum']), isolated: true });
  const build = (rule: typeof whole): Policy =>
    buildPolicy({
      generation: 1,
      digest: 'd',
      destinations,
      unlisted: 'deny',
      taskPolicies: [rule],
    });
  const policy = cell<Policy>(build(whole));
  const late: { proxy?: TestProxy['server'] } = {};
  const onChange = (): void => late.proxy?.reauthorize();
  const registry = tasks({ clock: systemClock, policy, tell: () => {}, onChange, unknownPast });
  const proxy = await testProxy({
    identity: 'none',
    destinations,
    options: { tasks: registry, policy },
  });
  late.proxy = proxy.server;
  t.teardown(async () => {
    for (const one of [registry, proxy, upstream]) await one[Symbol.asyncDispose]();
  });
  return {
    proxy,
    tasks: registry,
    policy: { set: (rule) => policy.set(build(rule)) },
    open: (given = {}) => registry.open(intent({ targets: ['crm', 'forum'], ...given })),
    get: async (host, opened) =>
      statusOf(
        await proxy.ask(
          `GET http://${host}/ HTTP/1.1\r\nHost: ${host}\r\n${header(opened)}Connection: ` +
            `close\r\n\r\n`,
        ),
      ),
  };
}

t.test(
  'another task and a sub-agent inherit what was read; an isolated task has its own past',
  async (t) => {
    const r = await room(t);
    const [reader, second, apart] = [r.open(), r.open(), r.open({ isolated: true })];
    const child = r.tasks.derive(second.task, intent({ targets: ['forum'] }));
    const all = [reader, second, apart, child];
    for (const one of all) t.equal(await r.get('forum.internal', one), 200);
    t.equal(await r.get('crm.internal', reader), 200);
    const after = await Promise.all([...all, r.open()].map((one) => r.get('forum.internal', one)));
    t.same(after, [403, 403, 200, 403, 403]);
    t.equal(await r.get('forum.internal'), 403, 'without a task nobody can say what was read');
    t.equal(await r.get('crm.internal', apart), 200);
    const sub = r.tasks.derive(apart.task, intent({ targets: ['forum'] }));
    t.equal(
      await r.get('forum.internal', sub),
      403,
      'a sub-agent of it has the past of its parent',
    );
  },
);

t.test('reading without a task counts for the tasks that come later', async (t) => {
  const r = await room(t);
  t.equal(await r.get('crm.internal'), 200);
  t.equal(await r.get('forum.internal', r.open()), 403);
});

t.test('what a sub-agent reads counts for its parent', async (t) => {
  const r = await room(t);
  const parent = r.open({ isolated: true });
  const child = r.tasks.derive(parent.task, intent());
  t.equal(await r.get('crm.internal', child), 200);
  t.equal(await r.get('forum.internal', parent), 403);
});

t.test(
  'a stream that was opened before is cut within a second, and one of an isolated task goes on',
  async (t) => {
    const r = await room(t);
    const streams = [];
    for (const opened of [r.open(), r.open(), r.open({ isolated: true })]) {
      const line = await r.proxy.open();
      line.write(
        `GET http://forum.internal/s HTTP/1.1\r\nHost: forum.internal\r\n${header(opened)}\r\n`,
      );
      await line.sees('first');
      streams.push(line);
    }
    const [one, other, apart] = streams;
    t.equal(await r.get('crm.internal', r.open()), 200);
    await until(
      'those that share the past are cut',
      () => one?.reset === true && other?.reset === true,
      1000,
    );
    t.notOk(apart?.reset);
    t.match(r.proxy.audit.of('redecided'), [{ effect: 'deny' }, { effect: 'deny' }]);
  },
);

t.test('after a restart nobody knows what was read, and that counts as everything', async (t) => {
  const r = await room(t, true);
  t.equal(await r.get('forum.internal', r.open()), 403);
});

t.test(
  'a grant that a reload narrows cuts what it no longer covers, and nothing else',
  async (t) => {
    const r = await room(t);
    const opened = r.open();
    const stream = async (host: string): Promise<Awaited<ReturnType<TestProxy['open']>>> => {
      const line = await r.proxy.open();
      line.write(`GET http://${host}/s HTTP/1.1\r\nHost: ${host}\r\n${header(opened)}\r\n`);
      await line.sees('first');
      return line;
    };
    const [forum, crm] = [await stream('forum.internal'), await stream('crm.internal')];
    forum.socket.destroy();
    r.policy.set(taskRule({ destinations: new Set(['forum']) }));
    await until('it is cut', () => crm.reset, 1000);
    t.ok(opened.task.open);
    t.equal(await r.get('crm.internal', opened), 403);
  },
);

t.test('an MCP session of one task is unknown to another, and to none (M13)', async (t) => {
  await using server = await mcpServer(({ body }, response) => {
    const result = {
      protocolVersion: '2025-11-25',
      capabilities: {},
      serverInfo: { name: 's', version: '1' },
    };
    response.setHeader('mcp-session-id', 'one');
    sendJson(response, {
      jsonrpc: '2.0',
      id: body?.id,
      result: body?.method === 'initialize' ? result : {},
    });
  });
  const destinations = [mcpDestination({ upstream: { host: '127.0.0.1', port: server.port } })];
  const taskPolicies = [taskRule({ destinations: new Set(['tools']) })];
  const policy = cell<Policy>(
    buildPolicy({ generation: 1, digest: 'd', destinations, unlisted: 'deny', taskPolicies }),
  );
  const registry = tasks({ clock: systemClock, policy, tell: () => {}, onChange: () => {} });
  await using proxy = await testProxy({
    identity: 'none',
    destinations,
    options: { tasks: registry, policy },
  });
  const as = (opened: Opened | undefined): Record<string, string> =>
    opened === undefined
      ? {}
      : { 'proxy-authorization': header(opened).replace(/^.*?: |\r\n$/g, '') };
  const [mine, theirs] = [
    registry.open(intent({ targets: ['tools'] })),
    registry.open(intent({ targets: ['tools'] })),
  ];
  const hello = {
    protocolVersion: '2025-11-25',
    capabilities: {},
    clientInfo: { name: 'c', version: '1' },
  };
  const opened = await post(proxy, message('initialize', hello), {
    fields: { ...as(mine), 'mcp-protocol-version': '' },
  });
  t.equal(opened.status, 200);
  const ping = (one: Opened | undefined): Promise<{ readonly status: number }> =>
    post(proxy, message('ping'), { fields: { ...as(one), 'mcp-session-id': 'one' } });
  t.equal((await ping(mine)).status, 200);
  const before = server.asked.length;
  t.equal((await ping(theirs)).status, 404);
  t.equal((await ping(undefined)).status, 404);
  registry.end(mine.task, 'completed', 'done');
  t.equal((await ping(mine)).status, 407);
  t.equal(server.asked.length, before);
  await registry[Symbol.asyncDispose]();
});
