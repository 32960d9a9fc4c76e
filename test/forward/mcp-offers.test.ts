/** Versions, capabilities and answers of MCP servers as they are in the field. */
import t from 'tap';
import {
  call,
  mcpRule,
  message,
  newest,
  NEWEST,
  testMcpProxy,
  type TestMcpProxy,
  post,
  result,
  rpc,
  type Script,
  sendJson,
} from '../support/mcp.ts';

const ALL = {
  logging: {},
  completions: {},
  prompts: { listChanged: true },
  resources: { subscribe: true, listChanged: true },
  tools: { listChanged: true },
  tasks: { list: {} },
  experimental: { x: {} },
};

const initialize = (protocolVersion: unknown): string =>
  message('initialize', {
    protocolVersion,
    capabilities: {},
    clientInfo: { name: 'a', version: '1' },
  });
const hello = (p: TestMcpProxy, version: unknown = '2025-11-25') =>
  post(p.proxy, initialize(version), { fields: { 'mcp-protocol-version': '' } });
const server =
  (version?: string): Script =>
  ({ body }, response) =>
    sendJson(
      response,
      rpc(body?.id, {
        protocolVersion: version ?? body?.params?.['protocolVersion'],
        capabilities: ALL,
      }),
    );

t.test('what a server can do is cut to what policy allows', async (t) => {
  await using narrow = await testMcpProxy(server());
  t.same((await hello(narrow)).body.result?.['capabilities'], {
    prompts: ALL.prompts,
    resources: { listChanged: true },
    tools: ALL.tools,
  });
  const rules = [
    mcpRule('all', 'allow', { resources: ['ticket://**'], methods: ['logging/setLevel'] }),
    mcpRule('no', 'deny', { methods: ['prompts/list'] }),
  ];
  await using wide = await testMcpProxy(server(), { rules });
  const { tasks, experimental, prompts, ...left } = ALL;
  t.same((await hello(wide)).body.result?.['capabilities'], left);
  t.ok([tasks, experimental, prompts].every((one) => one !== undefined));
  await using reporting = await testMcpProxy(server(), { report: true });
  t.same(
    Object.keys(((await hello(reporting)).body.result?.['capabilities'] ?? {}) as object),
    [...Object.keys(left), 'prompts'].toSorted(
      (a, b) => Object.keys(ALL).indexOf(a) - Object.keys(ALL).indexOf(b),
    ),
  );
  await using stateless = await testMcpProxy(
    result({ supportedVersions: [NEWEST, '2030-01-01'], capabilities: ALL }),
  );
  const found = (await post(stateless.proxy, ...newest('server/discover'))).body.result;
  t.same(found?.['supportedVersions'], [NEWEST]);
  t.equal((found?.['capabilities'] as Partial<typeof ALL> | undefined)?.logging, undefined);
});

t.test(
  'a version that is not known is answered with one that is (2025-11-25, lifecycle)',
  async (t) => {
    await using p = await testMcpProxy(server());
    for (const [asked, sent] of [
      ['2030-01-01', '2025-11-25'],
      ['2024-11-05', '2025-11-25'],
      [NEWEST, '2025-11-25'],
      ['2025-06-18', '2025-06-18'],
    ] as const) {
      const told = await hello(p, asked);
      t.equal(told.body.result?.['protocolVersion'], sent, asked);
      t.equal(p.server.asked.at(-1)?.body?.params?.['protocolVersion'], sent, asked);
    }
    const before = p.server.asked.length;
    for (const asked of ['latest', 7, null, '2025-11-25; words'])
      t.match((await hello(p, asked)).body.error, {
        code: -32602,
        message: /params\.protocolVersion/,
      });
    t.equal(p.server.asked.length, before);
    await using older = await testMcpProxy(server('2024-11-05'));
    t.match((await hello(older)).body.error, { message: /a protocol version that is not allowed/ });
    await using one = await testMcpProxy(server(), {
      settings: { versions: new Set(['2025-06-18']) },
    });
    t.equal((await hello(one)).body.result?.['protocolVersion'], '2025-06-18');
    await using none = await testMcpProxy(server(), { settings: { versions: new Set([NEWEST]) } });
    t.match((await hello(none)).body.error, { code: -32022, data: { supported: [NEWEST] } });
  },
);

t.test('a refusal has the id of its request, whatever is wrong with it', async (t) => {
  await using p = await testMcpProxy(server());
  for (const [what, body, fields] of [
    ['a member too many', '{"jsonrpc":"2.0","id":"r","method":"ping","extra":1}', {}],
    ['params is a list', message('tools/call', [], 'r'), {}],
    ['no name', message('tools/call', {}, 'r'), {}],
    ['a version', call('get_ticket', {}, 'r'), { 'mcp-protocol-version': '1' }],
    ['a session', call('get_ticket', {}, 'r'), { 'mcp-session-id': 'guessed' }],
    ['fields', call('get_ticket', {}, 'r'), { 'mcp-method': 'ping' }],
  ] as const)
    t.equal((await post(p.proxy, body, { fields })).body.id, 'r', what);
  t.equal(
    (await post(p.proxy, '{"jsonrpc":"2.0","id":"r","result":{},"extra":1}')).body.id,
    null,
    'an answer is no request',
  );
  t.equal(p.server.connections.length, 0);
});

t.test(
  'tasks are not served: a tool that needs one is not listed, others are called without',
  async (t) => {
    const tools = ['required', 'optional', 'forbidden'].map((taskSupport) => ({
      name: taskSupport,
      inputSchema: {},
      execution: { taskSupport },
    }));
    await using p = await testMcpProxy(
      ({ body }, response) =>
        sendJson(
          response,
          rpc(body?.id, body?.method === 'tools/list' ? { tools } : { content: [] }),
        ),
      { rules: [mcpRule('all', 'allow', { tools: ['*'] })] },
    );
    const { result: listed } = (await post(p.proxy, message('tools/list'))).body;
    t.match(listed?.['tools'], [
      { name: 'optional', execution: { taskSupport: 'forbidden' } },
      { name: 'forbidden', execution: { taskSupport: 'forbidden' } },
    ]);
    await post(p.proxy, message('tools/call', { name: 'optional', task: { ttl: 1 } }));
    t.same(p.server.asked.at(-1)?.body?.params, { name: 'optional' });
    await p.proxy.quiet();
    t.match(p.proxy.audit.of('ended')[0], {
      withheld: /1 of 3 tools that are called as tasks alone/,
    });
  },
);

t.test(
  'an answer is taken with half of a surrogate pair, members that nobody knows, and an empty error',
  async (t) => {
    const body = (id: unknown, text: string): string =>
      `{"jsonrpc":"2.0","id":${String(id)},"error":null,"serverTime":1,` +
      `"result":{"content":[{"type":"text","text":"${text}"}]}}`;
    await using p = await testMcpProxy(({ body: asked }, response) =>
      response
        .writeHead(200, { 'content-type': 'application/json' })
        .end(body(asked?.id, 'a\\ud83d b')),
    );
    const told = await post(p.proxy, call('get_ticket'));
    t.same(told.body, {
      jsonrpc: '2.0',
      id: 1,
      result: { content: [{ type: 'text', text: 'a\ufffd b' }] },
    });
    await p.proxy.quiet();
    t.match(p.proxy.audit.of('ended')[0], {
      withheld: 'half of a surrogate pair, which was replaced',
    });
    for (const bad of [
      '{"jsonrpc":"2.0","id":ID,"Result":{},"result":{}}',
      '{"jsonrpc":"2.0","id":ID,"result":{},"error":{"code":1,"message":"m"}}',
      '{"jsonrpc":"2.0","id":ID,"error":null}',
      '{"jsonrpc":"2.0","id":ID,"result":null}',
    ]) {
      await using q = await testMcpProxy(({ body: asked }, response) =>
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(bad.replace('ID', String(asked?.id))),
      );
      t.equal((await post(q.proxy, call('get_ticket'))).status, 502, bad);
    }
  },
);

t.test(
  'an answer is taken with numbers that no double holds, and nested as deep as clients read',
  async (t) => {
    const odd = [
      '1E400',
      '-1e-999',
      `1${'0'.repeat(300)}.5`,
      '['.repeat(500) + ']'.repeat(500),
      '"a\u2028b\u2029c\u0085d"',
    ];
    for (const type of ['application/json', 'text/event-stream'])
      for (const [i, value] of odd.entries()) {
        await using p = await testMcpProxy(({ body: asked }, response) => {
          const result = `{"content":[],"structuredContent":{"v":${value}}}`;
          const text = `{"jsonrpc":"2.0","id":${String(asked?.id)},"result":${result}}`;
          response.writeHead(200, { 'content-type': type });
          response.end(type === 'application/json' ? text : `data: ${text}\n\n`);
        });
        const { status, text } = await post(p.proxy, call('get_ticket'));
        t.equal(status, 200, `${type}, number ${i}`);
        t.ok(text.includes(`{"v":${value}}`), 'what the server said');
      }
    for (const value of ['['.repeat(510) + ']'.repeat(510), '1E', '01']) {
      await using p = await testMcpProxy(({ body: asked }, response) =>
        response
          .writeHead(200, { 'content-type': 'application/json' })
          .end(
            `{"jsonrpc":"2.0","id":${String(asked?.id)},"result":{"content":[],"v":{"w":${value}}}}`,
          ),
      );
      t.equal((await post(p.proxy, call('get_ticket'))).status, 502, value.slice(0, 20));
    }
  },
);

t.test('a tool that is left out for its name is told to the operator, and cut short', async (t) => {
  const notices: string[] = [];
  const tools = [
    { name: 'Get User' },
    { name: `a/b\u2028${'x'.repeat(500)}` },
    { name: 'get_ticket', inputSchema: {} },
  ];
  await using p = await testMcpProxy(
    result({ tools }),
    {},
    { options: { onNotice: (what) => notices.push(what) } },
  );
  for (let i = 0; i < 3; i += 1) await post(p.proxy, message('tools/list'));
  t.equal(notices.length, 2, 'once for each');
  t.match(
    notices[0],
    /^destination tools lists a tool "Get User", which is left out: names of tools are/,
  );
  for (const one of notices) t.notMatch(one, /[\u2028\n]|x{100}/);
});

t.test('an elicitation by URL is held to its hosts however its members are spelt', async (t) => {
  const settings = { serverRequests: new Set(['elicitation/create']) };
  const given = { settings, elicitationHosts: ['ok.example'] };
  const evil = 'https://evil.example/';
  const input = (params: unknown, method = 'elicitation/create'): unknown => ({
    resultType: 'input_required',
    inputRequests: { a: { method, params } },
  });
  for (const value of [
    input({ mode: 'url', url: evil }),
    input({ Mode: 'url', Url: evil }),
    input({ mode: 'form', Url: evil }),
    input({ mode: 'form', URL: evil }),
    input([{ mode: 'url', url: evil }]),
    input(undefined),
    {
      resultType: 'input_required',
      inputRequests: { a: { method: 'elicitation/create', Params: { mode: 'url', url: evil } } },
    },
    {
      resultType: 'input_required',
      inputRequests: { a: { Method: 'elicitation/create', params: {} } },
    },
  ]) {
    await using p = await testMcpProxy(result(value), given);
    const told = await post(p.proxy, ...newest('tools/call', { name: 'get_ticket' }));
    t.match(told.body.error, { message: /withheld/ }, JSON.stringify(value));
    t.notMatch(told.text, 'evil.example');
  }
  for (const data of [
    { elicitations: [{ mode: 'url', url: evil }] },
    { Elicitations: [{ mode: 'url', url: evil }] },
    { elicitations: [{ Mode: 'url', Url: evil }] },
    { elicitations: { mode: 'url', url: evil } },
  ]) {
    await using p = await testMcpProxy(
      ({ body }, response) =>
        sendJson(response, {
          jsonrpc: '2.0',
          id: body?.id,
          error: { code: -32042, message: 'm', data },
        }),
      given,
    );
    const told = await post(p.proxy, call('get_ticket'));
    t.match(told.body.error, { message: /withheld/ }, JSON.stringify(data));
    t.notMatch(told.text, 'evil.example');
  }
});
