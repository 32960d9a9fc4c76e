/** The sidecar asks a server for its tools before a call of one that it does not know is judged. */
import t from 'tap';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import { soleAgent } from '../../lib/policy/model/agent.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Opened } from '../../lib/tasks/tasks.ts';
import { unpaired } from '../support/audit.ts';
import {
  type McpAnswer,
  type McpServer,
  type Script,
  call,
  mcpDestination,
  mcpRule,
  mcpServer,
  message,
  newest,
  post,
  result,
  rpc,
  sendJson,
  testMcpProxy,
} from '../support/mcp.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { intent, rule as taskRule } from '../tasks/fixture.ts';

const ok = result({ content: [] });
const tool = (name: string, annotations = {}): unknown => ({
  name,
  inputSchema: { type: 'object' },
  annotations,
});
const HARMLESS = tool('get_ticket');

interface Stage extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly server: McpServer;
  readonly reader: Opened;
  /** As a task that may read. */
  says(body: string, fields?: Readonly<Record<string, string>>): Promise<McpAnswer>;
}

/** A destination for tasks, and one that may read. */
async function stage(lists: Script): Promise<Stage> {
  const server = await mcpServer(ok, lists);
  const rules = [mcpRule('read', 'allow', { tools: ['get_ticket', 'wipe'] })];
  const destination = mcpDestination({
    task: 'required',
    upstream: { host: '127.0.0.1', port: server.port },
    rules,
  });
  const taskPolicies = [
    taskRule({ destinations: new Set(['tools']), actions: new Set(['read']), stepUp: [] }),
  ];
  const policy = cell(
    buildPolicy({
      generation: 1,
      digest: 'd',
      destinations: [destination],
      unlisted: 'deny',
      taskPolicies,
    }),
  );
  const registry = tasks({ clock: systemClock, policy, tell: () => {}, onChange: () => {} });
  const proxy = await testProxy({
    destinations: [destination],
    options: { tasks: registry, policy },
  });
  const reader = registry.open(intent({ targets: ['tools'], actions: ['read'], maxCalls: 3 }));
  const secret = Buffer.from(`${reader.task.id}:${reader.secret}`).toString('base64');
  return {
    proxy,
    server,
    reader,
    says: (body, fields = {}) =>
      post(proxy, body, { fields: { 'proxy-authorization': `Basic ${secret}`, ...fields } }),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

t.test('a tool that its server calls destructive is no read, whoever never lists it', async (t) => {
  await using at = await stage(
    result({ tools: [HARMLESS, tool('wipe', { destructiveHint: true })] }),
  );
  const { proxy, server, reader } = at;
  t.match((await at.says(call('wipe'))).body.error, {
    code: -31403,
    message: /its actions leave out write/,
  });
  t.equal(server.asked.length, 0, 'the call reached nobody');
  t.equal(server.listed.length, 1);
  t.equal(
    (await at.says(call('get_ticket'))).body.error,
    undefined,
    'listed without a word against it',
  );
  t.equal(server.listed.length, 1, 'once for all');
  t.equal(reader.task.uses, 1, 'the list took no use');
  await proxy.quiet();
  t.match(proxy.audit.own(), [
    {
      kind: 'decided',
      effect: 'allow',
      mcpMethod: 'tools/list',
      task: reader.task.id,
      tool: undefined,
    },
    { kind: 'ended', outcome: 'completed', status: 200 },
  ]);
  t.equal(
    (proxy.audit.own()[0] as { asker?: string }).asker,
    (proxy.audit.of('decided')[0] as { exchange: string }).exchange,
  );
  t.same(unpaired(proxy.audit.records), []);
});

t.test('what a server says of its tools to one agent counts for no other', async (t) => {
  const agents = [soleAgent('a'), soleAgent('b')];
  const said = new Map([
    ['a', tool('look', { destructiveHint: true })],
    ['b', tool('look')],
  ]);
  const lists: Script = ({ body, headers }, response) =>
    sendJson(response, rpc(body?.id, { tools: [said.get(headers.authorization?.slice(7) ?? '')] }));
  const script: Script = (asked, response) =>
    (asked.body?.method === 'tools/list' ? lists : ok)(asked, response);
  await using server = await mcpServer(script, lists);
  const rules = [mcpRule('read', 'allow', { tools: ['look'] })];
  const destination = mcpDestination({
    task: 'required',
    upstream: { host: '127.0.0.1', port: server.port },
    rules,
  });
  const taskPolicies = [
    taskRule({ destinations: new Set(['tools']), actions: new Set(['read']), stepUp: [] }),
  ];
  const policy = cell(
    buildPolicy({
      generation: 1,
      digest: 'd',
      destinations: [destination],
      unlisted: 'deny',
      taskPolicies,
    }),
  );
  await using registry = tasks({
    clock: systemClock,
    policy,
    agents,
    tell: () => {},
    onChange: () => {},
  });
  await using proxy = await testProxy({
    destinations: [destination],
    options: { tasks: registry, policy, agents },
  });
  const [asA, asB] = agents.map((agent) => {
    const { task, secret } = registry.open(
      intent({ targets: ['tools'], actions: ['read'] }),
      agent,
    );
    const basic = Buffer.from(`${task.id}:${secret}`).toString('base64');
    const fields = {
      'proxy-authorization': `Basic ${basic}`,
      authorization: `Bearer ${agent.name}`,
    };
    return (body: string): Promise<McpAnswer> => post(proxy, body, { fields });
  });
  if (asA === undefined || asB === undefined) throw new TypeError('there are two');
  const WRITES = { message: /its actions leave out write/ };
  t.equal((await asB(call('look'))).body.error, undefined, 'to b it is harmless');
  t.match((await asA(call('look'))).body.error, WRITES, 'to a it is not, whatever b was told');
  t.equal((await asB(call('look'))).body.error, undefined, 'nor does what a was told count for b');
  t.equal(server.listed.length, 2, 'each was told by itself');
  said.set('b', tool('look', { title: 'another' }));
  await asB(message('tools/list'));
  t.match((await asB(call('look'))).body.error, { message: /is not the one that was pinned/ });
  t.match((await asA(call('look'))).body.error, WRITES, 'what changed for b has not changed for a');
  t.equal(server.asked.filter(({ body }) => body?.method === 'tools/call').length, 2);
  t.match(
    proxy.server.definitions.pins().map(({ pinned, current }) => pinned === current),
    [false, true],
  );
});

t.test('a server that does not tell has tools that write', async (t) => {
  const silent: readonly (readonly [string, Script])[] = [
    [
      'an error',
      ({ body }, response) =>
        sendJson(response, { jsonrpc: '2.0', id: body?.id, error: { code: -1, message: 'no' } }),
    ],
    ['a page', (_, response) => response.writeHead(500).end()],
    ['no list', result({ tools: 'none' })],
    ['a list without it', result({ tools: [tool('other')] })],
    ['a cut', (_, response) => response.destroy()],
    [
      'the answer to something else',
      (_, response) => sendJson(response, rpc(1, { tools: [HARMLESS] })),
    ],
    [
      'a list without end',
      ({ body }, response) => sendJson(response, rpc(body?.id, { tools: [], nextCursor: 'x' })),
    ],
  ];
  for (const [what, lists] of silent) {
    await using at = await stage(lists);
    t.match(
      (await at.says(call('get_ticket'))).body.error,
      { message: /its actions leave out write/ },
      what,
    );
    t.equal(at.server.asked.length, 0, what);
    t.ok(at.server.listed.length <= 32, what);
    await at.proxy.quiet();
    t.same(unpaired(at.proxy.audit.records), [], what);
  }
});

t.test('five seconds is as long as it is waited for', { timeout: 120_000 }, async (t) => {
  await using at = await stage(() => {});
  t.match((await at.says(call('get_ticket'))).body.error, {
    message: /its actions leave out write/,
  });
  await at.proxy.quiet();
  t.match(at.proxy.audit.own().at(-1), { kind: 'ended', outcome: 'timeout' });
});

t.test(
  'pages and streams are read, with the session and the credentials of the agent',
  async (t) => {
    await using at = await stage(({ body }, response) => {
      const first = body?.params?.['cursor'] === undefined;
      const page = first ? { tools: [tool('other')], nextCursor: 'second' } : { tools: [HARMLESS] };
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      // And then the stream is left open.
      response.write(`: hello\n\ndata: ${JSON.stringify(rpc(body?.id, page))}\n\n`);
    });
    t.equal(
      (await at.says(call('get_ticket'), { authorization: 'Bearer own', 'x-odd': 'words' })).body
        .error,
      undefined,
    );
    t.equal(at.server.listed.length, 2);
    for (const { headers } of at.server.listed) {
      t.match(headers, {
        authorization: 'Bearer own',
        'mcp-protocol-version': '2025-11-25',
        'x-odd': undefined,
      });
      t.equal(headers['proxy-authorization'], undefined);
    }
  },
);

t.test('calls at one time wait for one list', async (t) => {
  let answer: () => void = () => {};
  await using p = await testMcpProxy(ok, {
    lists: ({ body }, response) => {
      answer = () => sendJson(response, rpc(body?.id, { tools: [HARMLESS] }));
      setTimeout(() => answer(), 200);
    },
  });
  const told = await Promise.all(
    [1, 2, 3, 4].map((id) => post(p.proxy, call('get_ticket', {}, id))),
  );
  t.same(
    told.map(({ body }) => body.error),
    [undefined, undefined, undefined, undefined],
  );
  t.equal(p.server.listed.length, 1);
});

t.test('what is denied whatever the server says reaches it in no way', async (t) => {
  await using p = await testMcpProxy(ok, { lists: result({ tools: [HARMLESS] }) });
  t.match((await post(p.proxy, call('delete_ticket'))).body.error, { code: -31403 });
  t.equal(p.server.connections.length, 0);
});

t.test(
  'a tool that changes when the server says so is asked for again before it is called',
  async (t) => {
    let description = 'first';
    const lists: Script = ({ body }, response) =>
      sendJson(response, rpc(body?.id, { tools: [{ name: 'get_ticket', description }] }));
    const changed = `data: ${JSON.stringify({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' })}\n\n`;
    await using p = await testMcpProxy(
      ({ body }, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' });
        response.end(`${changed}data: ${JSON.stringify(rpc(body?.id, { content: [] }))}\n\n`);
      },
      { lists },
    );
    t.equal((await post(p.proxy, call('get_ticket'))).status, 200);
    description = 'second';
    t.match((await post(p.proxy, call('get_ticket'))).body.error, {
      message: /is not the one that was pinned/,
    });
    t.equal(p.server.asked.length, 1);
    t.equal(p.server.listed.length, 2);
  },
);

t.test('a tool that the policy pins is verified before its first call', async (t) => {
  const { definitionDigest } = await import('../../lib/mcp/definitions.ts');
  const { parseJson } = await import('../../lib/schema/json-reader.ts');
  const digest = definitionDigest(parseJson(Buffer.from(JSON.stringify(HARMLESS))) as never);
  for (const [pinned, denied] of [
    [digest, undefined],
    ['0'.repeat(64), /is not the one that was pinned/],
  ] as const) {
    await using p = await testMcpProxy(ok, {
      lists: result({ tools: [HARMLESS] }),
      settings: { pins: new Map([['get_ticket', pinned]]) },
    });
    const { error } = (await post(p.proxy, call('get_ticket'))).body;
    if (denied === undefined) t.equal(error, undefined);
    else t.match(error, { message: denied });
    t.equal(p.server.asked.length, denied === undefined ? 1 : 0);
  }
});

t.test('2026-07-28: the list is asked for in the version of the call', async (t) => {
  await using p = await testMcpProxy(ok, { lists: result({ tools: [HARMLESS] }) });
  t.equal((await post(p.proxy, ...newest('tools/call', { name: 'get_ticket' }))).status, 200);
  t.match(p.server.listed[0]?.headers, {
    'mcp-method': 'tools/list',
    'mcp-protocol-version': '2026-07-28',
  });
  t.match(p.server.listed[0]?.body?.params?.['_meta'], {
    'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  });
});

t.test('an agent that lists has nothing listed for it', async (t) => {
  await using p = await testMcpProxy(({ body }, response) =>
    sendJson(
      response,
      rpc(body?.id, body?.method === 'tools/list' ? { tools: [HARMLESS] } : { content: [] }),
    ),
  );
  await post(p.proxy, message('tools/list'));
  await post(p.proxy, call('get_ticket'));
  t.equal(p.server.listed.length, 0);
});
