/** Streams of events from an MCP server: any pieces, bounds, back-pressure. */
import { hash } from 'node:crypto';
import t from 'tap';
import { until } from '../support/until.ts';
import {
  call,
  dataOf,
  event,
  events,
  mcpRule,
  message,
  testMcpProxy,
  post,
  rpc,
  type Script,
  TOOLS,
} from '../support/mcp.ts';

t.test('a stream is read in any pieces, with any line ends (M12)', async (t) => {
  // One message over many data lines, as it may be written where a line may end.
  const data = JSON.stringify(rpc(1, { tools: TOOLS }), undefined, 1).split('\n');
  const lines = [
    '\ufeff: hello',
    'event: message',
    'id: 7',
    ...data.map((line) => `data:${line}`),
    '',
    '',
  ];
  for (const end of ['\n', '\r\n', '\r']) {
    await using p = await testMcpProxy((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
      const bytes = Buffer.from(lines.join(end));
      let at = 0;
      const next = (): void => {
        if (at >= bytes.length) response.end();
        else response.write(bytes.subarray(at, (at += 7)), () => setImmediate(next));
      };
      next();
    });
    const told = await post(p.proxy, message('tools/list'));
    t.same(dataOf(told.text), [rpc(1, { tools: [TOOLS[0]] })], JSON.stringify(end));
    t.match(told.text, /event: message\nid: 7\ndata: \{"jsonrpc":"2\.0"/);
    t.match(told.head, /content-type: text\/event-stream/);
  }
});

t.test(
  'an event reaches the agent when it ends, and an endless one ends the stream (M12)',
  async (t) => {
    let say: (text: string) => void = () => {};
    await using p = await testMcpProxy((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.flushHeaders();
      say = (text) => void response.write(text);
    });
    const { proxy } = p;
    const line = await proxy.open();
    const body = call('get_ticket');
    line.write(
      `POST http://tools.internal/mcp HTTP/1.1\r\nhost: tools.internal\r\ncontent-type: ` +
        `application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: ` +
        `${body.length}\r\n\r\n${body}`,
    );
    await line.sees('HTTP/1.1 200');
    say('data: {"jsonrpc":"2.0","method":"notifications/message",');
    say('"params":{"level":"info","data":"1"}}\n');
    say('\n');
    await line.sees('"data":"1"');
    say(': alive\n\n');
    await line.sees(/:\n\n/);
    say(`data: ${'x'.repeat(70_000)}`);
    await line.ended();
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], {
      outcome: 'upstream-malformed',
      reason: /more than 65536 bytes/,
    });
    t.equal(line.reset || !line.text.endsWith('0\r\n\r\n'), true, 'a cut looks cut');
  },
);

t.test('bad events end the stream: not JSON, not UTF-8, another type', async (t) => {
  for (const [what, bytes] of [
    ['not JSON', Buffer.from('data: {"a"\n\n')],
    ['not UTF-8', Buffer.from([0x64, 0x61, 0x74, 0x61, 0x3a, 0xff, 0x0a, 0x0a])],
    ['a batch', Buffer.from('data: []\n\n')],
  ] as const) {
    await using p = await testMcpProxy((_, response) => events(response, bytes));
    await post(p.proxy, call('get_ticket'));
    await p.proxy.quiet();
    t.match(p.proxy.audit.of('ended')[0], { outcome: 'upstream-malformed' }, what);
  }
  await using p = await testMcpProxy(({ body }, response) =>
    events(response, 'event: endpoint\ndata: /messages\n\n', event(rpc(body?.id, { content: [] }))),
  );
  const told = await post(p.proxy, call('get_ticket'));
  t.notMatch(told.text, /endpoint|messages/);
  t.equal(dataOf(told.text).length, 1);
});

t.test('an agent that does not read keeps the server from sending', async (t) => {
  let written = 0;
  await using p = await testMcpProxy((_, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    const one = event({
      jsonrpc: '2.0',
      method: 'notifications/message',
      params: { data: 'x'.repeat(30_000) },
    });
    const more = (): void => {
      if (written > 200_000_000 || response.destroyed) return;
      written += one.length;
      response.write(one, () => setImmediate(more));
    };
    more();
  });
  const line = await p.proxy.open();
  line.socket.pause();
  const body = call('get_ticket');
  line.write(
    `POST http://tools.internal/mcp HTTP/1.1\r\nhost: tools.internal\r\ncontent-type: ` +
      `application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: ` +
      `${body.length}\r\n\r\n${body}`,
  );
  let before = -1;
  await until('the server stopped', async () => {
    const same = written === before && written > 0;
    before = written;
    await new Promise((later) => setTimeout(later, 250));
    return same || undefined;
  });
  t.ok(written < 50_000_000, `${written} bytes`);
  line.socket.destroy();
  await p.proxy.quiet();
});

t.test(
  'an agent that goes away cancels what it asked for, though the stream is silent',
  async (t) => {
    for (const answers of [true, false]) {
      let gone = false;
      await using p = await testMcpProxy((_, response) => {
        if (answers)
          response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
        response.on('close', () => (gone = true));
      });
      const line = await p.proxy.open();
      const body = call('get_ticket');
      const head =
        `POST http://tools.internal/mcp HTTP/1.1\r\nhost: tools.internal\r\ncontent-type: ` +
        `application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: ` +
        `${body.length}\r\n\r\n`;
      line.write(head);
      line.write(body);
      if (answers) await line.sees('HTTP/1.1 200');
      else await until('the server was asked', () => p.server.asked.length > 0 || undefined);
      line.socket.end();
      await until('the server sees that it was cancelled', () => gone || undefined);
      await p.proxy.quiet();
      t.match(
        p.proxy.audit.of('ended')[0],
        { outcome: 'client-gone' },
        answers ? 'in a stream' : 'before the answer',
      );
    }
  },
);

t.test(
  'a server without sessions may have a stream: what it says is filtered, and what it asks is withheld',
  async (t) => {
    await using p = await testMcpProxy(
      (_, response) =>
        events(
          response,
          event({ jsonrpc: '2.0', id: 1, method: 'ping' }),
          event({ jsonrpc: '2.0', method: 'notifications/tools/list_changed' }),
          event(rpc(7, { tools: TOOLS })),
        ),
      { settings: { serverRequests: new Set(['roots/list']) } },
    );
    const told = await post(p.proxy, '', { method: 'GET', fields: { 'content-type': '' } });
    t.equal(told.status, 200);
    t.same(
      dataOf(told.text).map((one) => one['method']),
      ['notifications/tools/list_changed'],
    );
  },
);

t.test('a long message passes whole, and a long event between short ones, in order', async (t) => {
  const long = 'é\n'.repeat(100_000);
  const LOG = {
    jsonrpc: '2.0',
    method: 'notifications/message',
    params: { level: 'info', data: 'short' },
  };
  const script: Script = ({ body }, response) => {
    const say = (value: unknown): string => event(rpc(body?.id, { content: [], value }));
    const log = event({
      jsonrpc: '2.0',
      method: 'notifications/message',
      params: { level: 'info', data: long },
    });
    events(response, event(LOG), log, event(LOG), say(body?.params?.['arguments']));
  };
  const rules = [mcpRule('all', 'allow', { tools: ['get_ticket'] })];
  await using p = await testMcpProxy(script, { rules, settings: { message: 4_194_304 } });
  const args = { text: long, list: Array.from({ length: 30_000 }, (_, i) => [i, { z: 1, a: 2 }]) };
  const told = await post(p.proxy, call('get_ticket', args));
  const data = dataOf(told.text);
  t.equal(data.length, 4);
  t.same(data[0], LOG);
  t.match(data[1], { params: { data: long } });
  t.same(data[2], LOG);
  t.same(data[3], rpc(1, { content: [], value: args }));
  const canonical = JSON.stringify({
    list: args.list.map(([i]) => [i, { a: 2, z: 1 }]),
    text: long,
  });
  t.match(p.proxy.audit.of('decided')[0], { argsDigest: hash('sha256', canonical) });
  await using q = await testMcpProxy(
    ({ body }, response) =>
      events(response, `data: {"x":"${long.replaceAll('\n', ' ')}"}\n\n`, event(rpc(body?.id, {}))),
    {
      rules,
      settings: { message: 4_194_304 },
    },
  );
  t.same(
    dataOf((await post(q.proxy, call('get_ticket', {}))).text),
    [],
    'what is no message cuts the stream',
  );
  await q.proxy.quiet();
  t.match(q.proxy.audit.of('ended'), [{ outcome: 'upstream-malformed' }]);
});
