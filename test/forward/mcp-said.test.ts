/**
 * What an agent says to an MCP server beyond what the protocol has a meaning for goes no further.
 */
import t from 'tap';
import {
  call,
  message,
  newest,
  NEWEST,
  testMcpProxy,
  type TestMcpProxy,
  post,
  rpc,
  type Script,
  sendJson,
} from '../support/mcp.ts';

const SECRET = 'iban-DE02';
const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

/** A server with a session that gives one cursor. */
const server: Script = ({ body }, response) => {
  if (body?.method === 'initialize') {
    response.setHeader('mcp-session-id', 's1');
    sendJson(response, rpc(body.id, { protocolVersion: '2025-11-25', capabilities: {} }));
  } else if (body?.id === undefined || body.method === undefined) response.writeHead(202).end();
  else if (body.method?.endsWith('/list') === true)
    sendJson(
      response,
      rpc(body.id, { [body.method.split('/')[0] ?? '']: [], nextCursor: `next of ${body.method}` }),
    );
  else sendJson(response, rpc(body.id, { content: [] }));
};

const HELLO = {
  protocolVersion: '2025-11-25',
  capabilities: {
    sampling: { [SECRET]: {}, tools: {} },
    elicitation: { form: { [SECRET]: 1 } },
    experimental: { [SECRET]: {} },
    extensions: { [SECRET]: {} },
    [SECRET]: {},
  },
  clientInfo: { name: SECRET, version: SECRET },
  _meta: { [SECRET]: SECRET },
};

async function opened(
  p: TestMcpProxy,
  fields: Readonly<Record<string, string>> = {},
): Promise<Record<string, string>> {
  await post(p.proxy, message('initialize', HELLO, SECRET), {
    fields: { 'mcp-protocol-version': '', ...fields },
  });
  return { 'mcp-session-id': 's1', ...fields };
}

const last = (p: TestMcpProxy): string =>
  `${JSON.stringify(p.server.asked.at(-1)?.headers)} ${p.server.asked.at(-1)?.text}`;

t.test(
  'words in every part of a message that is no argument reach the server in none',
  async (t) => {
    await using p = await testMcpProxy(server, {
      settings: { serverRequests: new Set(['sampling/createMessage', 'elicitation/create']) },
    });
    const odd = {
      'user-agent': SECRET,
      'x-anything': SECRET,
      cookie: SECRET,
      accept: `application/json;q=${SECRET}, text/event-stream`,
      'accept-language': SECRET,
      traceparent: SECRET,
      baggage: SECRET,
      'mcp-anything': SECRET,
    };
    const own = await opened(p, odd);
    t.notMatch(last(p), SECRET, 'initialize');
    t.match(p.server.asked[0]?.body?.params, {
      clientInfo: { name: 'chaperone' },
      capabilities: {
        sampling: { tools: {} },
        elicitation: { form: {} },
        experimental: undefined,
        extensions: undefined,
      },
    });
    t.match(p.server.asked[0]?.headers, {
      accept: 'application/json, text/event-stream',
      'user-agent': 'chaperone',
    });
    const fields = { ...odd, ...own };
    const meta = {
      [SECRET]: SECRET,
      tracestate: SECRET,
      baggage: SECRET,
      'io.modelcontextprotocol/other': SECRET,
    };
    const messages: readonly (readonly [string, string])[] = [
      [
        'a call',
        message(
          'tools/call',
          { name: 'get_ticket', [SECRET]: 1, _meta: { ...meta, progressToken: SECRET } },
          SECRET,
        ),
      ],
      ['a task', message('tools/call', { name: 'get_ticket', task: { ttl: 1, [SECRET]: 1 } })],
      ['a ping', message('ping', { data: SECRET, _meta: meta }, SECRET)],
      ['a list', message('tools/list', { query: SECRET, _meta: { ...meta, traceparent: SECRET } })],
      [
        'initialized',
        JSON.stringify({
          jsonrpc: '2.0',
          method: 'notifications/initialized',
          params: { a: SECRET },
        }),
      ],
      [
        'cancelled',
        JSON.stringify({
          jsonrpc: '2.0',
          method: 'notifications/cancelled',
          params: { requestId: SECRET, reason: SECRET },
        }),
      ],
    ];
    for (const [what, body] of messages) {
      t.ok([200, 202].includes((await post(p.proxy, body, { fields })).status), what);
      t.notMatch(last(p), SECRET, what);
    }
    t.equal(p.server.asked.length, messages.length + 1);
  },
);

t.test(
  'what the server did not give is refused as a parameter, with the id of the request',
  async (t) => {
    await using p = await testMcpProxy(server);
    const fields = await opened(p);
    const before = p.server.asked.length;
    const refused = async (what: string, body: string): Promise<void> => {
      const told = await post(p.proxy, body, { fields });
      t.match(
        told.body,
        { id: 'r', error: { code: -32602, message: /params\.\w+ is/ } },
        `${what}: ${told.text}`,
      );
      t.equal(told.status, 200, what);
    };
    await refused('a cursor', message('tools/list', { cursor: SECRET }, 'r'));
    await refused(
      'a cursor that is no text',
      message('tools/list', { cursor: { a: SECRET } }, 'r'),
    );
    await refused(
      'a state',
      message('tools/call', { name: 'get_ticket', requestState: SECRET }, 'r'),
    );
    const progress = {
      jsonrpc: '2.0',
      method: 'notifications/progress',
      params: { progressToken: SECRET, progress: 1 },
    };
    t.equal(
      (await post(p.proxy, JSON.stringify(progress), { fields })).status,
      400,
      'progress of nothing',
    );
    t.equal(p.server.asked.length, before, 'the server heard nothing');
    t.equal((await post(p.proxy, message('tools/list'), { fields })).status, 200);
    const again = message('tools/list', { cursor: 'next of tools/list' });
    t.equal((await post(p.proxy, again, { fields })).status, 200, 'what it gave');
    t.match(p.server.asked.at(-1)?.body?.params, { cursor: 'next of tools/list' });
    await refused(
      'of another list',
      message('prompts/list', { cursor: 'next of tools/list' }, 'r'),
    );
  },
);

t.test('ids and tokens are ours to the server, and its own to the agent', async (t) => {
  await using p = await testMcpProxy(({ body }, response) => {
    if (body?.method === 'tools/list') sendJson(response, rpc(body.id, { tools: [] }));
    else sendJson(response, rpc(body?.id, { content: [] }));
  });
  const ids: unknown[] = [];
  for (const id of ['words', 7, '7', 7]) {
    t.match((await post(p.proxy, call('get_ticket', {}, id))).body, { id, result: {} });
    ids.push(p.server.asked.at(-1)?.body?.id);
  }
  t.equal(new Set(ids).size, 4);
  for (const id of ids) t.type(id, 'number');
});

t.test('what ends something carries no field that the server was not shown before', async (t) => {
  await using p = await testMcpProxy(server);
  const known = { authorization: 'Bearer known' };
  const own = await opened(p, known);
  const ping = message('ping');
  await post(p.proxy, ping, {
    fields: { ...own, authorization: `Bearer ${SECRET}`, origin: `http://${SECRET}` },
  });
  t.notMatch(last(p), SECRET);
  await post(p.proxy, ping, { fields: { ...own, ...known } });
  t.equal(p.server.asked.at(-1)?.headers.authorization, 'Bearer known');
});

t.test('a destination may say what passes: clientInfo, names in _meta', async (t) => {
  await using p = await testMcpProxy(server, {
    settings: { clientInfo: 'pass', meta: new Set(['com.example/tenant']) },
  });
  const fields = await opened(p, { 'user-agent': 'agent/1', traceparent: TRACE });
  t.match(p.server.asked[0]?.body?.params, { clientInfo: { name: SECRET } });
  t.match(p.server.asked[0]?.headers, { 'user-agent': 'agent/1', traceparent: TRACE });
  const meta = { 'com.example/tenant': 'a', 'com.example/other': 'b', traceparent: TRACE };
  await post(p.proxy, message('tools/call', { name: 'get_ticket', _meta: meta }), { fields });
  t.same(p.server.asked.at(-1)?.body?.params?.['_meta'], {
    'com.example/tenant': 'a',
    traceparent: TRACE,
  });
  await post(p.proxy, message('ping', { _meta: meta }), { fields });
  t.equal(p.server.asked.at(-1)?.body?.params, undefined, 'a ping passes whatever was done before');
});

t.test('2026-07-28: who the client is, in _meta', async (t) => {
  await using p = await testMcpProxy(server);
  const [body, sending] = newest('tools/call', { name: 'get_ticket' });
  const said = JSON.parse(body) as { params: { _meta: Record<string, unknown> } };
  Object.assign(said.params._meta, {
    'io.modelcontextprotocol/clientInfo': { name: SECRET, version: '1' },
    'io.modelcontextprotocol/logLevel': SECRET,
  });
  t.equal((await post(p.proxy, JSON.stringify(said), sending)).status, 200);
  t.notMatch(last(p), SECRET);
  t.match(p.server.asked[0]?.body?.params?.['_meta'], {
    'io.modelcontextprotocol/clientInfo': { name: 'chaperone' },
    'io.modelcontextprotocol/protocolVersion': NEWEST,
  });
});

t.test(
  'answers to the server: errors in our words, results without what they do not have',
  async (t) => {
    const asks: Script = (asked, response) => {
      if (asked.body?.method !== 'tools/call') return server(asked, response);
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      for (const id of [1, 2, 3])
        response.write(`data: ${JSON.stringify({ jsonrpc: '2.0', id, method: 'roots/list' })}\n\n`);
      response.end(`data: ${JSON.stringify(rpc(asked.body.id, { content: [] }))}\n\n`);
    };
    await using p = await testMcpProxy(asks, {
      settings: { serverRequests: new Set(['roots/list']) },
    });
    const fields = await opened(p);
    await post(p.proxy, call('get_ticket'), { fields });
    const answer = async (said: object): Promise<unknown> => {
      t.equal(
        (await post(p.proxy, JSON.stringify({ jsonrpc: '2.0', ...said }), { fields })).status,
        202,
      );
      return p.server.asked.at(-1)?.body;
    };
    t.same(await answer({ id: 1, error: { code: -1, message: SECRET, data: SECRET } }), {
      jsonrpc: '2.0',
      id: 1,
      error: { code: -1, message: 'refused by the user' },
    });
    t.match(await answer({ id: 2, error: { code: 123456, message: SECRET } }), {
      error: { code: -32603, message: 'failed' },
    });
    t.same(await answer({ id: 3, result: { roots: [], [SECRET]: 1, _meta: { [SECRET]: 1 } } }), {
      jsonrpc: '2.0',
      id: 3,
      result: { roots: [] },
    });
  },
);
