/**
 * Messages to an MCP server: what is refused never reaches it, what is allowed reaches it as it was
 * judged.
 */
import t from 'tap';
import { unpaired } from '../support/audit.ts';
import {
  NEWEST,
  call,
  mcpRule,
  message,
  newest,
  post,
  result,
  testMcpProxy,
} from '../support/mcp.ts';

const ok = result({ content: [{ type: 'text', text: 'done' }] });

t.test(
  'an allowed tool call arrives as it was judged, an other one is told in JSON-RPC and never arrives',
  async (t) => {
    await using p = await testMcpProxy(ok, {
      lists: result({ tools: [{ name: 'get_ticket', inputSchema: {} }] }),
    });
    const { proxy, server } = p;
    const told = await post(
      proxy,
      '{ "params" : {"arguments":{"big":9007199254740993,"x":1.0,"s":"\\u00e9"},' +
        '"name":"get_ticket"},\n"method":"tools/call","id":7,"jsonrpc":"2.0"}',
    );
    t.equal(told.status, 200, told.text);
    t.same(told.body, {
      jsonrpc: '2.0',
      id: 7,
      result: { content: [{ type: 'text', text: 'done' }] },
    });
    t.equal(
      server.asked[0]?.text,
      `{"jsonrpc":"2.0","id":${String(server.asked[0]?.body?.id)},"method":"tools/call",` +
        '"params":{"arguments":{"big":9007199254740993,"x":1.0,"s":"é"},"name":"get_ticket"}}',
      'numbers keep their digits',
    );
    t.equal(
      server.asked[0]?.headers['content-length'],
      String(Buffer.byteLength(server.asked[0]?.text ?? '')),
    );
    t.match(server.asked[0]?.headers, {
      'mcp-protocol-version': '2025-11-25',
      'accept-encoding': 'identity',
    });

    const denied = await post(proxy, call('delete_ticket', { id: 'hunter2' }, 'abc'));
    t.equal(denied.status, 200, 'an error that clients hand on');
    t.equal(denied.body.id, 'abc');
    t.equal(denied.body.error?.code, -31403);
    t.match(
      denied.body.error?.message,
      /^no rule of destination tools allows tools\/call delete_ticket; .*do not repeat/,
    );
    t.match(denied.body.error?.data, {
      reason: 'denied',
      hint: /tools: \[delete_ticket\]/,
      retryable: false,
    });
    t.equal(server.asked.length, 1);
    await proxy.quiet();
    const [first, second] = proxy.audit.of('decided');
    t.match(first, {
      effect: 'allow',
      rule: 'read',
      action: 'read',
      mcpMethod: 'tools/call',
      tool: 'get_ticket',
      mcpVersion: '2025-11-25',
      argsDigest: /^[0-9a-f]{64}$/,
    });
    t.match(second, {
      effect: 'deny',
      code: 'no-rule-matched',
      tool: 'delete_ticket',
      exchange: denied.body.error?.data?.['decision'],
    });
    t.notMatch(
      JSON.stringify(proxy.audit.records),
      /hunter2|9007199254740993/,
      'no argument in a record',
    );
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test(
  'what cannot be read is 400, 413 or 415 with the error of JSON-RPC, and nothing reaches the server',
  async (t) => {
    await using p = await testMcpProxy(ok);
    const { proxy, server } = p;
    const cases: readonly (readonly [
      string,
      string | Buffer,
      Record<string, string>,
      number,
      number,
    ])[] = [
      [
        'M1 a name twice',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"get_ticket","name":"delete_ticket"}}',
        {},
        400,
        -32700,
      ],
      [
        'M1 a method twice',
        '{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}',
        {},
        400,
        -32700,
      ],
      [
        'M2 Method',
        '{"jsonrpc":"2.0","id":1,"Method":"tools/call","method":"ping"}',
        {},
        400,
        -32700,
      ],
      ['M2 Method alone', '{"jsonrpc":"2.0","id":1,"Method":"ping"}', {}, 400, -32600],
      [
        'M2 the long s',
        '{"jsonrpc":"2.0","id":1,"method":"tools/call","param\u017f":{}}',
        {},
        400,
        -32600,
      ],
      ['M2 Name', message('tools/call', { Name: 'get_ticket', arguments: {} }), {}, 400, -32600],
      ['M2 NUL', '{"jsonrpc":"2.0","id":1,"method\\u0000":"ping"}', {}, 400, -32700],
      ['M3 a batch', `[${call('get_ticket')},${call('delete_ticket')}]`, {}, 400, -32600],
      ['M3 an empty batch', '[]', {}, 400, -32600],
      ['M4 text/plain', call('get_ticket'), { 'content-type': 'text/plain' }, 415, -32600],
      ['M4 no type', call('get_ticket'), { 'content-type': '' }, 415, -32600],
      [
        'M4 UTF-16 said',
        call('get_ticket'),
        { 'content-type': 'application/json; charset=utf-16' },
        415,
        -32600,
      ],
      ['M4 UTF-16 sent', Buffer.from(call('get_ticket'), 'utf16le'), {}, 400, -32700],
      ['M4 a byte order mark', `\ufeff${call('get_ticket')}`, {}, 400, -32700],
      ['M5 gzip', call('get_ticket'), { 'content-encoding': 'gzip' }, 415, -32600],
      ['M5 stacked', call('get_ticket'), { 'content-encoding': 'identity, gzip' }, 415, -32600],
      ['M6 too long', call('get_ticket', { x: 'a'.repeat(70_000) }), {}, 413, -32600],
      [
        'M6 too deep',
        call('get_ticket', JSON.parse(`${'['.repeat(80)}${']'.repeat(80)}`)),
        {},
        400,
        -32700,
      ],
      ['M6 half a pair', '{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', {}, 400, -32700],
      ['M6 NaN', '{"jsonrpc":"2.0","id":NaN,"method":"ping"}', {}, 400, -32700],
      ['M7 Mcp-Method', call('get_ticket'), { 'mcp-method': 'ping' }, 400, -32020],
      ['M7 Mcp-Name', call('get_ticket'), { 'mcp-name': 'list_tickets' }, 400, -32020],
      [
        'M7 Mcp-Name in an envelope',
        call('get_ticket'),
        { 'mcp-name': '=?base64?bGlzdA==?=' },
        400,
        -32020,
      ],
      ['M8 Cyrillic', call('get_tick\u0435t'), {}, 400, -32600],
      ['M8 a zero width space', call('get_ticket\u200b'), {}, 400, -32600],
      ['M8 a space behind', call('get_ticket '), {}, 400, -32600],
      ['M11 params is a list', message('tools/call', ['get_ticket']), {}, 400, -32600],
      ['M11 no name', message('tools/call', { arguments: {} }), {}, 400, -32600],
      ['M11 the name is a number', message('tools/call', { name: 7 }), {}, 400, -32600],
      [
        'M11 arguments is a list',
        message('tools/call', { name: 'get_ticket', arguments: [] }),
        {},
        400,
        -32600,
      ],
      [
        'M11 arguments is null',
        message('tools/call', { name: 'get_ticket', arguments: null }),
        {},
        400,
        -32600,
      ],
      ['no jsonrpc', '{"id":1,"method":"ping"}', {}, 400, -32600],
      ['the id is null', message('ping', {}, null), {}, 400, -32600],
      ['the id is a fraction', message('ping', {}, 1.5), {}, 400, -32600],
      ['not JSON', 'method=tools/call', {}, 400, -32700],
      ['nothing', '', {}, 400, -32700],
      ['two values', `${call('get_ticket')}${call('delete_ticket')}`, {}, 400, -32700],
      [
        'a version of tomorrow',
        call('get_ticket'),
        { 'mcp-protocol-version': '2027-01-01' },
        400,
        -32022,
      ],
      [
        'a version of yesterday',
        call('get_ticket'),
        { 'mcp-protocol-version': '2025-03-26' },
        400,
        -32022,
      ],
      ['no version', call('get_ticket'), { 'mcp-protocol-version': '' }, 400, -32022],
      ['a session of nobody', call('get_ticket'), { 'mcp-session-id': 'abc' }, 404, -31403],
    ];
    for (const [what, body, fields, status, code] of cases) {
      const told = await post(proxy, body, { fields });
      t.equal(told.status, status, `${what}: ${told.text}`);
      t.equal(told.body.error?.code, code, what);
      t.equal(told.body.error?.data?.['decision'] !== undefined, true, what);
    }
    t.equal(server.connections.length, 0, 'the server heard nothing');
    await proxy.quiet();
    t.equal(proxy.audit.of('refused').length, cases.length);
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('letter case of a name, and of a media type (M4, M8)', async (t) => {
  await using p = await testMcpProxy(ok);
  const { proxy, server } = p;
  t.equal(
    (
      await post(proxy, call('get_ticket'), {
        fields: { 'content-type': 'Application/JSON; charset=UTF-8' },
      })
    ).status,
    200,
  );
  t.match((await post(proxy, call('Get_Ticket'))).body.error, { code: -31403 });
  t.equal(server.asked.length, 1);
  t.equal(server.asked[0]?.headers['content-type'], 'application/json', 'written anew');
});

t.test(
  'unknown methods, answers that nobody waits for and notifications that are none are denied (M10)',
  async (t) => {
    await using p = await testMcpProxy(ok);
    const { proxy, server } = p;
    for (const method of [
      'tools/delete',
      'tasks/list',
      'tools/Call',
      'sampling/createMessage',
      'rpc.discover',
    ]) {
      const told = await post(proxy, message(method));
      t.match(
        told.body.error,
        { code: -31403, message: new RegExp(`no rule of destination tools allows ${method}`) },
        method,
      );
    }
    const asNotification = JSON.stringify({
      jsonrpc: '2.0',
      method: 'tools/call',
      params: { name: 'get_ticket' },
    });
    for (const body of [
      asNotification,
      '{"jsonrpc":"2.0","id":3,"result":{}}',
      '{"jsonrpc":"2.0","method":"notifications/unknown"}',
    ]) {
      const told = await post(proxy, body);
      t.equal(told.status, 403, body);
      t.match(told.body.error, { code: -31403 });
    }
    t.equal(server.connections.length, 0);
  },
);

t.test('only the endpoint is served, without a query, by POST, GET and DELETE', async (t) => {
  await using p = await testMcpProxy(ok);
  const { proxy, server } = p;
  for (const [path, method] of [
    ['/', 'POST'],
    ['/mcp/', 'POST'],
    ['/mcp?x=1', 'POST'],
    ['/admin', 'POST'],
    ['/mcp', 'PUT'],
    ['/mcp', 'PATCH'],
  ] as const) {
    const told = await post(proxy, call('get_ticket'), { path, method });
    t.equal(told.status, 403, `${method} ${path}`);
    t.match(told.text, /is no message to the MCP endpoint/);
  }
  t.equal(
    (await post(proxy, call('get_ticket'), { path: '/%6dcp' })).status,
    200,
    'another spelling of the endpoint is the endpoint',
  );
  t.equal(server.asked.length, 1);
});

t.test(
  'what belongs to every conversation needs no rule, and none of it without any',
  async (t) => {
    await using p = await testMcpProxy(ok);
    for (const method of ['ping', 'tools/list'])
      t.equal((await post(p.proxy, message(method))).status, 200, method);
    t.match(p.proxy.audit.of('decided')[0], {
      effect: 'allow',
      code: 'allowed',
      mcpMethod: 'ping',
      action: 'read',
    });
    await using none = await testMcpProxy(ok, { rules: [] });
    t.match((await post(none.proxy, message('ping'))).body.error, {
      code: -31403,
      message: /no rule/,
    });
    await using pingless = await testMcpProxy(ok, {
      rules: [
        mcpRule('read', 'allow', { tools: ['*'] }),
        mcpRule('no', 'deny', { methods: ['ping'] }),
      ],
    });
    t.match((await post(pingless.proxy, message('ping'))).body.error, {
      message: /rule no of destination tools denies ping/,
    });
  },
);

t.test('2026-07-28: fields and body say the same or nothing is sent (M7)', async (t) => {
  await using p = await testMcpProxy(ok, {
    rules: [mcpRule('read', 'allow', { tools: ['get_ticket'], resources: ['ticket://**'] })],
  });
  const { proxy, server } = p;
  const good = newest('tools/call', { name: 'get_ticket', arguments: {} });
  t.equal((await post(proxy, ...good)).status, 200);
  t.match(server.asked[0]?.headers, {
    'mcp-method': 'tools/call',
    'mcp-name': 'get_ticket',
    'mcp-protocol-version': NEWEST,
  });
  t.notMatch(
    server.asked[0]?.text ?? '',
    /sampling|roots/,
    'what the server may not ask for is not offered to it',
  );
  const enveloped = newest(
    'tools/call',
    { name: 'get_ticket' },
    { 'mcp-name': '=?base64?Z2V0X3RpY2tldA==?=' },
  );
  t.equal((await post(proxy, ...enveloped)).status, 200);
  for (const changes of [
    { 'mcp-method': '' },
    { 'mcp-name': '' },
    { 'mcp-name': 'other' },
    { 'mcp-method': 'ping' },
    { 'mcp-protocol-version': '2025-11-25' },
    { 'mcp-name': '=?base64?Z2V0X3RpY2tldA?=' },
  ]) {
    const told = await post(
      proxy,
      ...newest('tools/call', { name: 'get_ticket' }, changes as Record<string, string>),
    );
    t.equal(told.status, 400, JSON.stringify(changes));
    t.equal(told.body.error?.code, -32020, told.text);
  }
  t.equal(
    (
      await post(proxy, call('get_ticket'), {
        fields: {
          'mcp-protocol-version': NEWEST,
          'mcp-method': 'tools/call',
          'mcp-name': 'get_ticket',
        },
      })
    ).body.error?.code,
    -32020,
    'the body must repeat it',
  );
  t.match(
    (await post(proxy, ...newest('resources/subscribe', { uri: 'ticket://1' }, { 'mcp-name': '' })))
      .body.error,
    { code: -31403 },
    'a method of earlier versions',
  );
  t.equal(server.asked.length, 2);
  const bare = { 'content-type': '', 'mcp-protocol-version': NEWEST };
  t.equal(
    (await post(proxy, '', { method: 'DELETE', fields: bare })).status,
    404,
    'there is no session to end',
  );
  const resuming = { ...bare, 'last-event-id': '7' };
  t.equal(
    (await post(proxy, '', { method: 'GET', fields: resuming })).status,
    404,
    'and no stream to resume',
  );
  t.equal(server.asked.length, 2);
});

t.test('prompts, resources and their deny rules', async (t) => {
  const rules = [
    mcpRule('read', 'allow', {
      prompts: ['summarise'],
      resources: ['ticket://open/**', 'file:///srv/readme'],
    }),
    mcpRule('no', 'deny', { resources: ['ticket://open/secret/**'] }),
  ];
  await using p = await testMcpProxy(ok, { rules });
  const { proxy, server } = p;
  const allowed = async (method: string, params: unknown): Promise<boolean | number> => {
    const { status, body } = await post(proxy, message(method, params));
    return status === 200 ? body.error === undefined : status;
  };
  t.equal(await allowed('prompts/get', { name: 'summarise' }), true);
  t.equal(await allowed('prompts/get', { name: 'Summarise' }), false);
  t.equal(await allowed('resources/read', { uri: 'ticket://open/7' }), true);
  t.equal(await allowed('resources/subscribe', { uri: 'ticket://open/7' }), true);
  t.equal(await allowed('resources/read', { uri: 'file:///srv/readme' }), true);
  t.equal(await allowed('resources/read', { uri: 'ticket://openly/7' }), false);
  t.equal(await allowed('resources/read', { uri: 'ticket://open/secret/7' }), false);
  t.equal(
    await allowed('resources/read', { uri: 'ticket://open/SECRET/7' }),
    false,
    'deny rules see through letter case',
  );
  t.equal(await allowed('resources/read', { uri: 'ticket://open/secret?x=/' }), false);
  t.equal(
    await allowed('completion/complete', {
      ref: { type: 'ref/resource', uri: 'ticket://open/{id}' },
      argument: { name: 'id', value: '' },
    }),
    true,
  );
  t.equal(
    await allowed('completion/complete', {
      ref: { type: 'ref/resource', uri: 'ticket://{id}' },
      argument: {},
    }),
    false,
  );
  const before = server.asked.length;
  for (const uri of [
    'ticket://open/../closed/1',
    'ticket://open/%2e%2e/closed',
    'ticket://open/a%2fb',
    'ticket://open//x',
    'Ticket://open/1',
    'ticket://open/ 1',
    'ticket://open/%61',
    'file:/srv/readme',
    'ticket://open/\\x',
    'x',
  ])
    t.equal(await allowed('resources/read', { uri }), 400, uri);
  t.equal(server.asked.length, before);
});

t.test('denials as the destination says: as the result of a tool, or with 403', async (t) => {
  await using asResult = await testMcpProxy(ok, {
    settings: { denial: { as: 'result', status: 200, code: -31403 } },
  });
  const told = await post(asResult.proxy, call('delete_ticket'));
  t.equal(told.status, 200);
  t.match(told.body.result, {
    isError: true,
    content: [{ type: 'text', text: /denied by policy: no rule of destination tools/ }],
  });
  t.match(
    (await post(asResult.proxy, message('tasks/list'))).body.error,
    { code: -31403 },
    'only tools have results',
  );
  await using strict = await testMcpProxy(ok, {
    settings: { denial: { as: 'error', status: 403, code: -1 } },
  });
  const refused = await post(strict.proxy, call('delete_ticket'));
  t.equal(refused.status, 403);
  t.equal(refused.body.error?.code, -1);
});

t.test(
  'in report mode what the rules deny goes through, and nothing else is relaxed',
  async (t) => {
    await using p = await testMcpProxy(ok, { report: true });
    t.equal((await post(p.proxy, call('delete_ticket'))).body.error, undefined);
    t.match(p.proxy.audit.of('decided')[0], {
      effect: 'allow',
      code: 'reported',
      tool: 'delete_ticket',
    });
    t.equal((await post(p.proxy, '[]')).status, 400);
    t.equal((await post(p.proxy, call('x'), { path: '/other' })).status, 403);
  },
);

t.test('a server that is gone, and a log that cannot be written', async (t) => {
  await using p = await testMcpProxy(ok);
  await p.server[Symbol.asyncDispose]();
  const gone = await post(p.proxy, call('get_ticket'));
  t.equal(gone.status, 502);
  t.match(gone.body, {
    id: 1,
    error: { code: -32603, data: { reason: 'upstream-refused', retryable: true } },
  });
  await using q = await testMcpProxy(ok);
  const { Fault } = await import('../../lib/base/fault.ts');
  q.proxy.audit.fail = new Fault('audit-unavailable', 'the disk is full');
  const unrecorded = await post(q.proxy, call('get_ticket'));
  t.equal(unrecorded.status, 503);
  t.equal(q.server.connections.length, 0);
});

t.test('a local listener serves messages too, and turns pages of other origins away', async (t) => {
  await using p = await testMcpProxy(ok, { listen: true });
  const { proxy, server } = p;
  const local = `127.0.0.1:${proxy.port('tools')}`;
  t.equal(
    (await post(proxy, call('get_ticket'), { name: 'tools', fields: { host: local } })).status,
    200,
  );
  t.match((await post(proxy, call('no'), { name: 'tools', fields: { host: local } })).body.error, {
    code: -31403,
  });
  t.equal(
    (
      await post(proxy, call('get_ticket'), {
        name: 'tools',
        fields: { host: local, origin: 'http://evil.example' },
      })
    ).status,
    403,
  );
  t.equal(
    (await post(proxy, call('get_ticket'), { name: 'tools', fields: { host: 'evil.example' } }))
      .status,
    421,
  );
  t.equal(server.asked.length, 1);
});

t.test('messages inside a CONNECT are judged one by one', async (t) => {
  await using p = await testMcpProxy(ok);
  const line = await p.proxy.open();
  line.write('CONNECT tools.internal:80 HTTP/1.1\r\nhost: tools.internal:80\r\n\r\n');
  await line.sees(/^HTTP\/1\.1 200 /);
  const body = call('delete_ticket');
  line.write(
    `POST /mcp HTTP/1.1\r\nhost: tools.internal\r\nconnection: close\r\ncontent-type: ` +
      `application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: ` +
      `${body.length}\r\n\r\n${body}`,
  );
  t.match(await line.ended(), /no rule of destination tools allows tools\/call delete_ticket/);
  t.equal(p.server.connections.length, 0);
});
