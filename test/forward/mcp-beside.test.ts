/** Requests beside the endpoints of an MCP server, and the Host that it wants. */
import t from 'tap';
import { reachesEndpoint } from '../../lib/policy/protocols/mcp-endpoint.ts';
import { rule } from '../support/destination.ts';
import { call, mcpRule, post, result, testMcpProxy } from '../support/mcp.ts';

const ok = result({ content: [{ type: 'text', text: 'done' }] });
const read = mcpRule('read', 'allow', { tools: ['get_ticket'] });

t.test(
  'a rule about HTTP serves what lies beside the endpoint, and nothing that could be a message',
  async (t) => {
    const rules = [
      read,
      rule('discovery', 'allow', { methods: ['GET'], paths: ['/.well-known/**'], mcpLike: false }),
      rule('token', 'allow', { methods: ['POST'], paths: ['/token', '/upload'], mcpLike: false }),
      rule('agents', 'allow', { methods: ['POST'], paths: ['/a2a'], mcpLike: true }),
      rule('no', 'deny', { paths: ['/.well-known/secret'] }),
      rule('no-posts', 'deny', { methods: ['POST'], paths: ['/mcp'] }),
    ];
    await using p = await testMcpProxy(ok, { rules });
    const { proxy, server } = p;
    const bare = { accept: '*/*', 'mcp-protocol-version': '' };
    const asks = async (
      method: string,
      path: string,
      fields: Readonly<Record<string, string>> = bare,
    ) => (await post(proxy, method === 'GET' ? '' : '{}', { method, path, fields })).status;
    const discovery = { accept: 'application/json', 'mcp-protocol-version': '2025-11-25' };
    t.equal(
      await asks('GET', '/.well-known/oauth-protected-resource/mcp', discovery),
      200,
      'as the SDKs ask',
    );
    t.equal(await asks('POST', '/token?grant=1'), 200);
    t.equal(
      await asks('POST', '/a2a', { accept: 'text/event-stream', 'mcp-protocol-version': '' }),
      200,
      'its rule says so',
    );
    t.same(
      server.asked.map(({ http, text }) => `${http} ${text}`),
      ['GET ', 'POST {}', 'POST {}'],
    );
    t.equal(await asks('GET', '/.well-known/secret'), 403);
    t.equal(await asks('POST', '/token', { ...bare, accept: 'text/event-stream' }), 403);
    t.equal(await asks('POST', '/upload', { ...bare, 'mcp-session-id': '1' }), 403);
    t.equal(await asks('POST', '/other'), 403);
    t.equal(server.asked.length, 3);
    const told = await post(proxy, '{}', {
      path: '/token',
      fields: { accept: 'text/event-stream' },
    });
    t.match(told.text, /looks like a message of MCP beside its endpoints/);
    t.match(told.text, /mcpLike: allow/);
    t.equal(
      (await post(proxy, call('get_ticket'))).status,
      200,
      'rules about HTTP say nothing about messages',
    );
    t.match(proxy.audit.of('decided').at(-1), { rule: 'read', tool: 'get_ticket' });
  },
);

t.test('in report mode too nothing that could be a message goes beside the endpoint', async (t) => {
  await using p = await testMcpProxy(ok, {
    report: true,
    rules: [rule('pages', 'allow', { paths: ['/x'], mcpLike: false })],
  });
  t.equal(
    (
      await post(p.proxy, '{}', {
        path: '/other',
        fields: { 'mcp-protocol-version': '', accept: '*/*' },
      })
    ).status,
    200,
  );
  for (const path of ['/other', '/x', '/MCP', '/mcp/below'])
    t.equal(
      (await post(p.proxy, '{}', { path, fields: { accept: 'text/event-stream' } })).status,
      403,
      path,
    );
  for (const path of ['/MCP', '/mcp/below', '/mcp/'])
    t.equal(
      (await post(p.proxy, '{}', { path, fields: { 'mcp-protocol-version': '', accept: '*/*' } }))
        .status,
      403,
      path,
    );
  t.equal(p.server.asked.length, 1);
});

t.test('every endpoint takes messages, and a session belongs to one of them', async (t) => {
  await using p = await testMcpProxy(
    ({ body }, response) => {
      response.writeHead(200, { 'content-type': 'application/json', 'mcp-session-id': 's1' });
      const value =
        body?.method === 'initialize' ? { protocolVersion: '2025-11-25', capabilities: {} } : {};
      response.end(JSON.stringify({ jsonrpc: '2.0', id: body?.id, result: value }));
    },
    { settings: { endpoints: new Set(['/mcp', '/v2/mcp']) } },
  );
  const { proxy } = p;
  const handshake = JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'initialize',
    params: {
      protocolVersion: '2025-11-25',
      capabilities: {},
      clientInfo: { name: 'a', version: '1' },
    },
  });
  t.match((await post(proxy, handshake, { path: '/v2/mcp' })).head, /mcp-session-id: s1/);
  const fields = { 'mcp-session-id': 's1' };
  t.equal((await post(proxy, call('get_ticket'), { path: '/v2/mcp', fields })).status, 200);
  t.equal((await post(proxy, call('get_ticket'), { path: '/mcp', fields })).status, 404);
  t.equal((await post(proxy, call('get_ticket'), { path: '/v3/mcp' })).status, 403);
});

t.test(
  'the upstream is sent the Host that it wants, and what is judged stays what was asked for',
  async (t) => {
    await using p = await testMcpProxy(ok, { sentHost: 'localhost:3000' });
    t.equal((await post(p.proxy, call('get_ticket'))).status, 200);
    t.equal(p.server.asked.at(-1)?.headers.host, 'localhost:3000');
    t.match(p.proxy.audit.of('decided')[0], { host: 'tools.internal', port: 80 });
  },
);

t.test('spellings of an endpoint', async (t) => {
  const near = [
    '/mcp', '/MCP/', '//mcp', '/mcp/x', '/%6D%63%70', '/%256Dcp', '/mcp;v=1', '/mcp%3Bv', '/x/../mcp', '/x/..;/mcp',
    '/mcp/../x', '/\\mcp', '/mcp%00.json', '/mcp%3f', '/%u006dcp', '/mcp.', '/mcp%20', '/mcp%2fx', '/%2525252525256d',
    '/\u212Acp/../mcp', '/mcp/%2e%2e/x',
  ]; // prettier-ignore
  for (const path of near) t.equal(reachesEndpoint(['/v1', '/mcp'], path), true, path);
  for (const path of [
    '/',
    '/mcpx',
    '/x/mcp',
    '/mc',
    '/mcp-x/y',
    '/token',
    '/.well-known/oauth-protected-resource/mcp',
  ])
    t.equal(reachesEndpoint(['/v1', '/mcp'], path), false, path);
  t.equal(reachesEndpoint(['/'], '/anything'), true);
});
