import type { ServerResponse } from 'node:http';
import { Fault } from '../../lib/base/fault.ts';
import { MAX_KEYS, type Rates, rates } from '../../lib/exchange/rate-limits.ts';
import type { Rate } from '../../lib/policy/model/rule.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { type DestinationOptions, rule, testDestination } from '../support/destination.ts';
import { call, mcpRule, post, result, testMcpProxy } from '../support/mcp.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

const rate = (count: number, per = 1000, burst = count): Rate => ({
  count,
  per,
  burst,
  text: `${count}/s`,
});

/** The Fault, or 'taken'. */
function take(table: Rates, key: string, by: Rate, now: number): Fault | 'taken' {
  try {
    table.take(key, by, now);
    return 'taken';
  } catch (failure) {
    if (failure instanceof Fault) return failure;
    throw failure;
  }
}

t.test(
  'so many at once, then as they come back; what is refused costs nothing; keys do not share',
  async (t) => {
    const table = rates();
    const ten = rate(10);
    for (let i = 0; i < 10; i += 1) t.equal(take(table, 'crm', ten, 0), 'taken');
    for (let i = 0; i < 5; i += 1)
      t.match(take(table, 'crm', ten, 50), { code: 'too-many', retryAfter: 1 });
    t.equal(take(table, 'other', ten, 50), 'taken');
    t.equal(take(table, 'crm', ten, 100), 'taken', 'one came back after a tenth of a second');
    t.match(take(table, 'crm', ten, 100), { code: 'too-many' });
    for (let i = 0; i < 10; i += 1)
      t.equal(take(table, 'crm', ten, 60_000), 'taken', 'a long rest fills it');
    t.match(take(table, 'crm', ten, 60_000), { code: 'too-many' }, 'and no further');
  },
);

t.test(
  'a slow rate says how long to wait; a burst may be less or more than the rate',
  async (t) => {
    const table = rates();
    const slow = rate(6, 60_000, 1);
    t.equal(take(table, 'a', slow, 0), 'taken');
    t.match(take(table, 'a', slow, 0), { retryAfter: 10, message: /^a is asked more often/ });
    t.match(take(table, 'a', slow, 7000), { retryAfter: 3 });
    t.equal(take(table, 'a', slow, 10_000), 'taken');
    const bursty = rate(1, 1000, 5);
    for (let i = 0; i < 5; i += 1) t.equal(take(table, 'b', bursty, 0), 'taken');
    t.match(take(table, 'b', bursty, 0), { code: 'too-many' });
  },
);

t.test('a rate that a reload changes holds at once, and what was taken still counts', async (t) => {
  const table = rates();
  for (let i = 0; i < 10; i += 1) take(table, 'crm', rate(10), 0);
  t.match(take(table, 'crm', rate(100), 0), { code: 'too-many' });
  t.equal(take(table, 'crm', rate(100), 10), 'taken');
});

t.test(
  'keys beyond number do not fill memory: those at rest are forgotten, and one more in use is refused',
  async (t) => {
    const table = rates();
    for (let i = 0; i < MAX_KEYS; i += 1)
      t.equal(take(table, `k${i}`, rate(1), 0) === 'taken', true);
    t.match(take(table, 'more', rate(1), 500), { code: 'too-many' });
    t.equal(take(table, 'more', rate(1), 1000), 'taken');
  },
);

function to(upstream: RawUpstream, more: DestinationOptions = {}): Promise<TestProxy> {
  return testProxy({
    identity: 'none',
    destinations: [
      testDestination({
        mode: 'plaintext',
        upstream: { host: '127.0.0.1', port: upstream.port },
        ...more,
      }),
    ],
  });
}

const HOUR = 3_600_000;

t.test(
  'over limits.rate: 503 with Retry-After in the time that it takes, recorded, and nothing is dialled',
  async (t) => {
    await using upstream = await rawUpstream();
    await using proxy = await to(upstream, {
      limits: { rate: { count: 120, per: HOUR, burst: 2, text: '120/h' } },
    });
    t.same(
      [await proxy.get('http://crm.internal/1'), await proxy.get('http://crm.internal/2')].map(
        statusOf,
      ),
      [200, 200],
    );
    const before = upstream.connections.length;
    const third = await proxy.get('http://crm.internal/3');
    t.equal(statusOf(third), 503);
    t.match(third, /\r\nretry-after: (29|30)\r\n/);
    t.match(refusal(third), {
      code: 'too-many',
      message: 'destination crm is asked more often than 120/h',
    });
    t.equal(upstream.connections.length, before);
    await proxy.quiet();
    t.match(proxy.audit.of('decided')[2], { effect: 'allow' });
    t.match(proxy.audit.of('ended')[2], { outcome: 'too-many', status: 503 });
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('tunnels and raw connections count too', async (t) => {
  await using upstream = await rawUpstream({ raw: (socket) => void socket.resume() });
  await using proxy = await to(upstream, {
    protocol: 'tcp',
    listen: true,
    limits: { rate: { count: 1, per: HOUR, burst: 2, text: '1/h' } },
  });
  const tunnel = await proxy.open();
  tunnel.write('CONNECT crm.internal:80 HTTP/1.1\r\nHost: crm.internal:80\r\n\r\n');
  await tunnel.sees('200');
  const raw = await proxy.open('crm');
  raw.write('x');
  await until('it is through', () => upstream.received() > 0);
  const refused = await proxy.ask(
    'CONNECT crm.internal:80 HTTP/1.1\r\nHost: crm.internal:80\r\n\r\n',
  );
  t.equal(statusOf(refused), 503);
  const cut = await proxy.open('crm');
  await until('the raw connection is cut', () => cut.reset || cut.socket.destroyed);
  t.equal(upstream.connections.length, 2);
  tunnel.socket.destroy();
  raw.socket.destroy();
});

t.test(
  'an answer over limits.response is 502 where it says its length, and reaches the agent in no part',
  async (t) => {
    await using upstream = await rawUpstream({
      http: (_, response) => void response.end('x'.repeat(101)),
    });
    await using proxy = await to(upstream, { limits: { response: 100 } });
    const answer = await proxy.get('http://crm.internal/');
    t.equal(statusOf(answer), 502);
    t.match(refusal(answer), { code: 'response-too-large', message: /limits\.response/ });
    t.equal(
      statusOf(
        await proxy.ask(
          'HEAD http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\n\r\n',
        ),
      ),
      200,
    );
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], { outcome: 'response-too-large', status: 502 });
  },
);

t.test(
  'an answer that grows over limits.response is cut, so that it looks cut, and recorded',
  async (t) => {
    await using upstream = await rawUpstream({
      http: (_, response) => {
        response.write('y'.repeat(60));
        setImmediate(() => response.end('z'.repeat(60)));
      },
    });
    await using proxy = await to(upstream, { limits: { response: 100 } });
    const line = await proxy.open();
    line.write('GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    const text = await line.ended();
    t.equal(line.reset, true);
    t.notMatch(text, /z/, 'the piece that went over is not passed on');
    t.notMatch(text, /\r\n0\r\n\r\n$/);
    await proxy.quiet();
    t.match(proxy.audit.of('ended')[0], { outcome: 'response-too-large' });
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('an answer of just limits.response passes, said beforehand or not', async (t) => {
  await using upstream = await rawUpstream({
    http: (request, response) => {
      if (request.url === '/chunks') response.write('a');
      response.end('b'.repeat(request.url === '/chunks' ? 99 : 100));
    },
  });
  await using proxy = await to(upstream, { limits: { response: 100 } });
  t.match(await proxy.get('http://crm.internal/'), /^HTTP\/1\.1 200[^]*b{100}$/);
  t.match(await proxy.get('http://crm.internal/chunks'), /^HTTP\/1\.1 200[^]*b{99}/);
});

t.test(
  'a rule has limits of its own: what it allows is counted apart, and nothing over them is dialled',
  async (t) => {
    const open: ServerResponse[] = [];
    await using upstream = await rawUpstream({
      http(request, response) {
        if (request.url !== '/slow') return void response.end('ok');
        open.push(response);
        response.write('first');
      },
    });
    const rules = [
      {
        ...rule('slow', 'allow', { paths: ['/slow'] }),
        limits: { concurrent: 1, rate: undefined },
      },
      {
        ...rule('rare', 'allow', { paths: ['/rare'] }),
        limits: { concurrent: undefined, rate: rate(1, HOUR) },
      },
      rule('rest', 'allow'),
    ];
    await using proxy = await to(upstream, { rules });
    const slow = await proxy.open();
    slow.write('GET http://crm.internal/slow HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await slow.sees('first');
    t.match(refusal(await proxy.get('http://crm.internal/slow')), {
      code: 'too-many',
      message: 'rule slow of destination crm already has 1 exchanges at one time',
    });
    t.equal(statusOf(await proxy.get('http://crm.internal/rare')), 200);
    t.match(refusal(await proxy.get('http://crm.internal/rare')), {
      code: 'too-many',
      message: /rule rare of destination crm is asked more often/,
    });
    t.equal(statusOf(await proxy.get('http://crm.internal/else')), 200, 'the others are free');
    open[0]?.end();
    await proxy.quiet();
    const again = await proxy.open();
    again.write('GET http://crm.internal/slow HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await again.sees('first');
    open[1]?.end();
    await proxy.quiet();
    slow.socket.destroy();
    again.socket.destroy();
    t.same(unpaired(proxy.audit.records), []);
  },
);

t.test('at an MCP server the limits of a rule are those of each tool', async (t) => {
  const rules = [
    {
      ...mcpRule('few', 'allow', { tools: ['pay', 'refund'] }, 'write'),
      limits: { concurrent: undefined, rate: rate(2, HOUR) },
    },
    mcpRule('read', 'allow', { tools: ['get_ticket'] }),
  ];
  await using p = await testMcpProxy(result({ content: [] }), { rules });
  const told: unknown[] = [];
  for (const tool of ['pay', 'refund', 'pay', 'pay', 'refund', 'refund', 'get_ticket']) {
    const { body } = await post(p.proxy, call(tool));
    told.push(body.error?.message.replace(/ more often.*/, '') ?? 'done');
  }
  const over = (tool: string): string => `tool ${tool} of destination tools is asked`;
  t.same(told, ['done', 'done', 'done', over('pay'), 'done', over('refund'), 'done']);
  t.equal(p.server.asked.length, 5);
});
