/** What an agent is told of a server that answers with an error. */
import t from 'tap';
import { call, testMcpProxy, post, sendJson } from '../support/mcp.ts';

t.test(
  'errors of the server: those of JSON-RPC pass, of others the agent is told the words',
  async (t) => {
    const error = { jsonrpc: '2.0', id: 1, error: { code: -32602, message: 'no such ticket' } };
    await using p = await testMcpProxy((_, response) => sendJson(response, error, 400));
    const told = await post(p.proxy, call('get_ticket'));
    t.equal(told.status, 400);
    t.same(told.body, error);
    await using q = await testMcpProxy((_, response) =>
      response
        .writeHead(401, { 'content-type': 'text/html', 'www-authenticate': 'Bearer' })
        .end('<h1>Log <b>in</b></h1>\n  first'),
    );
    const page = await post(q.proxy, call('get_ticket'));
    t.equal(page.status, 401);
    t.match(page.head, /www-authenticate: Bearer/);
    t.match(page.body, {
      id: 1,
      error: { code: -32603, message: 'the server answered 401: Log in first' },
    });
    await using r = await testMcpProxy((_, response) =>
      sendJson(response, { error: 'no disk' }, 500),
    );
    t.match((await post(r.proxy, call('get_ticket'))).body, {
      error: { message: 'the server answered 500: {"error":"no disk"}' },
    });
    await using misdirected = await testMcpProxy((_, response) =>
      response
        .writeHead(421, { 'content-type': 'text/plain' })
        .end('Access is only allowed at localhost:3000'),
    );
    t.match((await post(misdirected.proxy, call('get_ticket', {}, 'abc'))).body, {
      id: 'abc',
      error: { message: 'the server answered 421: Access is only allowed at localhost:3000' },
    });
    await using nameless = await testMcpProxy((_, response) =>
      sendJson(response, { ...error, id: null }, 403),
    );
    t.match((await post(nameless.proxy, call('get_ticket', {}, 9))).body, {
      id: 9,
      error: { message: 'no such ticket' },
    });
  },
);

t.test('the words of an error are bounded, and what is no text is not told', async (t) => {
  let sent = 0;
  await using p = await testMcpProxy((_, response) => {
    response.writeHead(500, { 'content-type': 'text/plain' });
    const more = (): void => {
      while (sent < 50_000_000 && response.write('a\u2028b\u0007 '.repeat(5000))) sent += 40_000;
    };
    response.on('drain', more).on('error', () => {});
    more();
  });
  const told = await post(p.proxy, call('get_ticket'));
  const message = told.body.error?.message ?? '';
  t.match(message, /^the server answered 500: a b\? a/);
  t.equal(message.length, 'the server answered 500: '.length + 300);
  t.ok(sent < 50_000_000, 'the rest was not read');
  await using q = await testMcpProxy((_, response) =>
    response.writeHead(500, { 'content-type': 'image/png' }).end('words'),
  );
  t.equal((await post(q.proxy, call('get_ticket'))).body.error?.message, 'the server answered 500');
});
