/** The body of a message: how it may arrive, how long it may take, and what of it may be held. */
import t from 'tap';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { unpaired } from '../support/audit.ts';
import { call, post, result, testMcpProxy } from '../support/mcp.ts';
import { until } from '../support/until.ts';

const ok = result({ content: [] });

t.test('a body in chunks, and one that is announced by Expect', async (t) => {
  await using p = await testMcpProxy(ok);
  const { proxy, server } = p;
  const body = call('get_ticket', { x: 'y'.repeat(100) });
  const line = await proxy.open();
  line.write(
    'POST http://tools.internal/mcp HTTP/1.1\r\nhost: tools.internal\r\nconnection: ' +
      'close\r\ncontent-type: application/json\r\nmcp-protocol-version: ' +
      '2025-11-25\r\ntransfer-encoding: chunked\r\n\r\n',
  );
  for (let at = 0; at < body.length; at += 10) {
    const piece = body.slice(at, at + 10);
    line.write(`${piece.length.toString(16)}\r\n${piece}\r\n`);
    await new Promise((next) => setImmediate(next));
  }
  line.write('0\r\n\r\n');
  t.match(await line.ended(), /^HTTP\/1\.1 200 /);
  t.same(parseJson(Buffer.from(server.asked[0]?.text ?? '')), parseJson(Buffer.from(body)));
  const expecting = await proxy.open();
  expecting.write(
    `POST http://tools.internal/mcp HTTP/1.1\r\nhost: tools.internal\r\nconnection: ` +
      `close\r\ncontent-type: application/json\r\nmcp-protocol-version: ` +
      `2025-11-25\r\nexpect: 100-continue\r\ncontent-length: ${body.length}\r\n\r\n`,
  );
  await expecting.sees('HTTP/1.1 100');
  expecting.write(body);
  const answer = await expecting.ended();
  t.equal(answer.match(/HTTP\/1\.1 100/g)?.length, 1);
  t.match(answer, /HTTP\/1\.1 200 /);
});

t.test('a message that does not arrive is given up, whatever trickles (R1)', async (t) => {
  await using p = await testMcpProxy(ok, { timeouts: { message: 300 } });
  const line = await p.proxy.open();
  line.write(
    'POST http://tools.internal/mcp HTTP/1.1\r\nhost: tools.internal\r\ncontent-type: ' +
      'application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: 1000\r\n\r\n{',
  );
  const trickle = setInterval(() => line.socket.writable && line.write(' '), 50);
  const answer = await line.ended();
  clearInterval(trickle);
  t.match(answer, /^HTTP\/1\.1 408 /);
  await p.proxy.quiet();
  t.match(p.proxy.audit.of('refused')[0], {
    code: 'request-timeout',
    reason: /the message in the body was not complete/,
  });
  t.equal(p.server.connections.length, 0);
});

t.test('an agent that goes away, and a shutdown, while a message is being received', async (t) => {
  const { Fault } = await import('../../lib/base/fault.ts');
  const half =
    'POST http://tools.internal/mcp HTTP/1.1\r\nhost: tools.internal\r\ncontent-type: ' +
    'application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: 1000\r\n\r\n{';
  for (const end of ['gone', 'shutdown'] as const) {
    await using p = await testMcpProxy(ok);
    const line = await p.proxy.open();
    line.write(half);
    await until('it is live', () => p.proxy.server.live() === 1 || undefined);
    if (end === 'gone') line.socket.destroy();
    else p.proxy.shutdown.abort(new Fault('shutting-down', 'now'));
    await p.proxy.quiet();
    t.match(p.proxy.audit.of('ended')[0], {
      outcome: end === 'gone' ? 'client-gone' : 'shutting-down',
    });
    t.same(unpaired(p.proxy.audit.records), []);
  }
});

t.test('what agents may have held before anything is decided has a bound', async (t) => {
  const most = 40_000_000;
  await using p = await testMcpProxy(ok, { settings: { message: most } });
  const lines = [await p.proxy.open(), await p.proxy.open()];
  for (const line of lines) {
    line.write(
      `POST http://tools.internal/mcp HTTP/1.1\r\nhost: tools.internal\r\ncontent-type: ` +
        `application/json\r\nmcp-protocol-version: 2025-11-25\r\ncontent-length: ` +
        `${most}\r\n\r\n`,
    );
    line.write(Buffer.alloc(36_000_000, 0x20));
  }
  const refused = await Promise.race(lines.map((line) => line.ended()));
  t.match(refused, /^HTTP\/1\.1 503 [^]*too many messages/);
  for (const line of lines) line.socket.destroy();
  await p.proxy.quiet();
  t.equal((await post(p.proxy, call('get_ticket'))).status, 200, 'there is room again');
});
