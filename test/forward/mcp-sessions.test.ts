/** Sessions of MCP: whose they are, and what a server says in one. */
import t from 'tap';
import {
  type Script,
  TOOLS,
  type TestMcpProxy,
  call,
  dataOf,
  event,
  events,
  message,
  post,
  result,
  rpc,
  sendJson,
  testMcpProxy,
} from '../support/mcp.ts';

function tokenOf(params: Readonly<Record<string, unknown>> | undefined): unknown {
  const meta = params?.['_meta'] as { progressToken?: unknown } | undefined;
  return meta?.progressToken;
}

/** Opens a session and returns its fields. */
async function session(
  p: TestMcpProxy,
  fields: Record<string, string> = {},
): Promise<Record<string, string>> {
  const told = await post(
    p.proxy,
    message('initialize', {
      protocolVersion: '2025-11-25',
      capabilities: { sampling: {}, roots: { listChanged: true }, elicitation: {}, tasks: {} },
      clientInfo: { name: 'x', version: '1' },
    }),
    {
      fields: { 'mcp-protocol-version': '', ...fields },
    },
  );
  return { 'mcp-session-id': /mcp-session-id: (\S+)/.exec(told.head)?.[1] ?? '' };
}

const INITIALIZED = {
  protocolVersion: '2025-11-25',
  capabilities: { tools: {} },
  serverInfo: { name: 's', version: '1' },
};

/** A server with sessions; `more` answers what is not the handshake. */
function withSessions(more: Script): Script {
  let opened = 0;
  return (asked, response) => {
    if (asked.body?.method === 'initialize') {
      opened += 1;
      response.setHeader('mcp-session-id', `session-${opened}`);
      sendJson(response, rpc(asked.body.id, INITIALIZED));
    } else more(asked, response);
  };
}

t.test('a session is of who opened it; from elsewhere it is 404 (M13)', async (t) => {
  await using p = await testMcpProxy(withSessions(result({ content: [] })), { listen: true });
  const { proxy, server } = p;
  const fields = await session(p);
  t.equal(fields['mcp-session-id'], 'session-1');
  t.match(
    server.asked[0]?.body?.params,
    {
      capabilities: {
        sampling: undefined,
        roots: undefined,
        elicitation: undefined,
        tasks: undefined,
      },
    },
    'offers are narrowed',
  );
  t.equal((await post(proxy, call('get_ticket'), { fields })).status, 200);
  t.equal(server.asked[1]?.headers['mcp-session-id'], 'session-1');
  t.equal(
    (await post(proxy, call('get_ticket'), { fields: { ...fields, 'mcp-protocol-version': '' } }))
      .status,
    200,
    'the version is that of the session',
  );
  t.equal(server.asked[2]?.headers['mcp-protocol-version'], '2025-11-25');
  t.equal(
    (
      await post(proxy, call('get_ticket'), {
        fields: { ...fields, 'mcp-protocol-version': '2025-06-18' },
      })
    ).status,
    200,
    'another version that is known: the session has the one that was negotiated',
  );
  t.equal(server.asked[3]?.headers['mcp-protocol-version'], '2025-11-25');
  for (const version of ['2027-01-01', 'x'])
    t.equal(
      (
        await post(proxy, call('get_ticket'), {
          fields: { ...fields, 'mcp-protocol-version': version },
        })
      ).status,
      400,
      version,
    );
  const listener = {
    name: 'tools',
    fields: { ...fields, host: `127.0.0.1:${proxy.port('tools')}` },
  };
  const elsewhere = await post(proxy, call('get_ticket'), listener);
  t.equal(elsewhere.status, 404, 'another way in');
  t.match(elsewhere.body.error, {
    data: { reason: 'session-unknown', hint: 'open a session with initialize' },
  });
  t.equal(
    (await post(proxy, call('get_ticket'), { fields: { 'mcp-session-id': 'session-2' } })).status,
    404,
    'a guess',
  );
  t.equal(server.asked.length, 4);
  const ended = await post(proxy, '', {
    method: 'DELETE',
    fields: { ...fields, 'content-type': '' },
  });
  t.equal(ended.status, 200);
  t.equal((await post(proxy, call('get_ticket'), { fields })).status, 404, 'ended');
  t.notMatch(JSON.stringify(proxy.audit.records), /session-1/, 'ids of sessions are secrets');
});

t.test('a session of one identity is not that of another', async (t) => {
  const { testAuthority } = await import('../support/authority.ts');
  const { mtlsUpstream } = await import('../support/upstream.ts');
  const { testProxy } = await import('../support/proxy.ts');
  const { mcpDestination } = await import('../support/mcp.ts');
  const authority = await testAuthority();
  await using upstream = await mtlsUpstream({
    authority,
    http: async (request, response) => {
      const { id } = JSON.parse(Buffer.concat(await request.toArray()).toString()) as {
        id: unknown;
      };
      response.setHeader('mcp-session-id', 's1');
      sendJson(response, rpc(id, INITIALIZED));
    },
  });
  await using proxy = await testProxy({
    authority,
    destinations: [
      mcpDestination({ mode: 'mtls', upstream: { host: '127.0.0.1', port: upstream.port } }),
    ],
  });
  const p = { proxy } as TestMcpProxy;
  const fields = await session(p);
  t.equal((await post(proxy, message('ping'), { fields })).status, 200);
  proxy.identity.set({
    kind: 'current',
    identity: authority.identity(await authority.svid('/other')),
    problem: undefined,
  });
  t.equal((await post(proxy, message('ping'), { fields })).status, 404);
});

t.test(
  'requests by the server reach the agent only where they are allowed, and so do its answers (M10)',
  async (t) => {
    const sampling = {
      jsonrpc: '2.0',
      id: 'q1',
      method: 'sampling/createMessage',
      params: { messages: [] },
    };
    const script = (): Script =>
      withSessions(({ body }, response) => {
        if (body?.method === 'tools/call')
          events(
            response,
            event(sampling),
            event({
              jsonrpc: '2.0',
              method: 'notifications/progress',
              params: { progressToken: tokenOf(body.params), progress: 1 },
            }),
            event({
              jsonrpc: '2.0',
              method: 'notifications/progress',
              params: { progressToken: 'x', progress: 1 },
            }),
            event({ jsonrpc: '2.0', method: 'notifications/evil' }),
            event(rpc(body.id, { content: [] })),
          );
        else response.writeHead(202).end();
      });
    const answer = '{"jsonrpc":"2.0","id":"q1","result":{"role":"assistant"}}';
    await using closed = await testMcpProxy(script());
    const fields = await session(closed);
    const asking = message(
      'tools/call',
      { name: 'get_ticket', _meta: { progressToken: 'my words' } },
      'of mine',
    );
    const told = await post(closed.proxy, asking, { fields });
    t.match(dataOf(told.text), [
      { method: 'notifications/progress', params: { progressToken: 'my words' } },
      { id: 'of mine', result: {} },
    ]);
    t.equal(dataOf(told.text).length, 2);
    t.notMatch(closed.server.asked.at(-1)?.text, /my words|of mine/);
    t.equal((await post(closed.proxy, answer, { fields })).status, 403, 'nobody asked');
    await closed.proxy.quiet();
    t.match(closed.proxy.audit.of('ended')[1], {
      withheld:
        'a request by the server that is not allowed: sampling/createMessage; progress of ' +
        'what nobody waits for; a notification that is not known',
    });

    await using open = await testMcpProxy(script(), {
      settings: { serverRequests: new Set(['sampling/createMessage']) },
    });
    const own = await session(open);
    t.match(open.server.asked[0]?.body?.params, {
      capabilities: { sampling: {}, roots: undefined },
    });
    t.same(dataOf((await post(open.proxy, call('get_ticket'), { fields: own })).text)[0], sampling);
    t.equal((await post(open.proxy, answer, { fields: own })).status, 202);
    t.equal((await post(open.proxy, answer.replace('q1', 'q2'), { fields: own })).status, 403);
    t.equal((await post(open.proxy, answer)).status, 403, 'without the session');
  },
);

t.test('a request has one answer: what the server says to it after that is withheld', async (t) => {
  const text = (said: string): unknown => ({ content: [{ type: 'text', text: said }] });
  const script = withSessions(({ body }, response) => {
    if (body?.method !== 'tools/call') response.writeHead(202).end();
    else
      events(
        response,
        event(rpc(body.id, text('first'))),
        event(rpc(body.id, text('second'))),
        event({ jsonrpc: '2.0', id: body.id, error: { code: -1, message: 'third' } }),
      );
  });
  await using p = await testMcpProxy(script);
  const fields = await session(p);
  for (const held of [fields, fields]) {
    const told = await post(p.proxy, call('get_ticket'), { fields: held });
    t.equal(dataOf(told.text).length, 1);
    t.match(told.text, /first/);
    t.notMatch(told.text, /second|third/);
  }
  await p.proxy.quiet();
  t.match(p.proxy.audit.of('ended').at(-1), { withheld: 'an answer that nobody asked for' });
});

t.test(
  'the stream of a session resumes where it was cut, and is filtered as the answer would have been',
  async (t) => {
    let asked: unknown;
    const script = withSessions(({ http, body }, response) => {
      if (http === 'GET')
        events(response, event(rpc(asked, { tools: TOOLS })), event(rpc(6666, { tools: TOOLS })));
      else if (body?.method === 'tools/list') {
        asked = body.id;
        events(response, 'id: 41\ndata:\n\n');
      } else response.writeHead(202).end();
    });
    await using p = await testMcpProxy(script);
    const { proxy, server } = p;
    const fields = await session(p);
    const cutOff = await post(proxy, message('tools/list', {}, 5), { fields });
    t.match(cutOff.text, /id: 41\ndata: \n\n/);
    const bare = { 'content-type': '', 'last-event-id': '41' };
    const resumed = await post(proxy, '', { method: 'GET', fields: { ...fields, ...bare } });
    t.same(
      dataOf(resumed.text),
      [rpc(5, { tools: [TOOLS[0]] })],
      'an answer that nobody asked for is withheld',
    );
    t.equal(server.asked.at(-1)?.headers['last-event-id'], '41');
    const invented = { ...fields, ...bare, 'last-event-id': 'words of mine' };
    t.equal(
      (await post(proxy, '', { method: 'GET', fields: invented })).status,
      400,
      'a place that the server never gave',
    );
    t.notMatch(server.asked.at(-1)?.headers, { 'last-event-id': 'words of mine' });
    t.equal(
      (await post(proxy, '', { method: 'GET', fields: bare })).status,
      404,
      'without a session there is nothing to resume',
    );
    await proxy.quiet();
    t.match(
      proxy.audit.of('decided').find((one) => 'mcpMethod' in one && one.mcpMethod === 'stream'),
      { effect: 'allow' },
    );
  },
);

t.test('a server that gives reasons without end fills no record', async (t) => {
  const letters = 'abcdefghijklmnopqrst'.split('');
  await using p = await testMcpProxy(
    withSessions(({ body }, response) =>
      events(
        response,
        ...letters.map((letter) =>
          event({ jsonrpc: '2.0', id: letter, method: `sampling/${letter}` }),
        ),
        event(rpc(body?.id, { content: [] })),
      ),
    ),
  );
  const fields = await session(p);
  await post(p.proxy, call('get_ticket'), { fields });
  await p.proxy.quiet();
  const ended = p.proxy.audit.of('ended')[1];
  const withheld = ended !== undefined && 'withheld' in ended ? (ended.withheld ?? '') : '';
  t.match(withheld, /^a request by the server that is not allowed: sampling\/a; /);
  t.ok(withheld.length <= 300, 'text in records has its own bound');
  t.notMatch(withheld, /sampling\/t/);
});
