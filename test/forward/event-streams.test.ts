/** Streams of events and slow answers: which time-outs end them, how, and what keeps them open. */
import type { Socket } from 'node:net';
import { Fault } from '../../lib/base/fault.ts';
import type { Timeouts } from '../../lib/policy/model/destination.ts';
import { policyOf, rule, testDestination } from '../support/destination.ts';
import { http2Client } from '../support/http2-client.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type RawUpstream, rawUpstream } from '../support/upstream.ts';
import t from 'tap';

t.setTimeout(240_000);

const HEAD = 'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n';
const ASK = 'GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n\r\n';

/** Says these chunks at once and then nothing, or what `more` says. */
function streaming(
  chunks: readonly string[],
  more: (socket: Socket) => void = () => {},
  fields = '',
) {
  return rawUpstream({
    raw(socket) {
      socket.once('data', () => {
        const body = chunks.map((text) => `${text.length.toString(16)}\r\n${text}\r\n`).join('');
        socket.write(`${HEAD}${fields}Transfer-Encoding: chunked\r\n\r\n${body}`);
        more(socket as Socket);
      });
    },
  });
}

function over(upstream: RawUpstream, timeouts: Partial<Timeouts>): Promise<TestProxy> {
  const to = { host: '127.0.0.1', port: upstream.port };
  return testProxy({
    destinations: [testDestination({ mode: 'plaintext', listen: true, upstream: to, timeouts })],
  });
}

const EVENT = 'data: one\n\n';

t.test(
  'idle, total and the end of the sidecar end a stream of events in order, and it is recorded so',
  async (t) => {
    const ends: Readonly<
      Record<
        string,
        { timeouts: Partial<Timeouts>; end?: (proxy: TestProxy) => void; outcome: string }
      >
    > = {
      idle: { timeouts: { idle: 300 }, outcome: 'timeout' },
      total: { timeouts: { total: 400 }, outcome: 'timeout' },
      drain: {
        timeouts: {},
        end: (proxy) =>
          void proxy.server.drain(AbortSignal.abort(new Fault('shutting-down', 'over'))),
        outcome: 'shutting-down',
      },
    };
    for (const [name, { timeouts, end, outcome }] of Object.entries(ends)) {
      await using upstream = await streaming([EVENT]);
      await using proxy = await over(upstream, timeouts);
      const line = await proxy.open();
      line.write(ASK);
      await using client = http2Client(proxy.port('crm'));
      const stream = client.open({ ':path': '/' });
      await Promise.all([line.sees('data: one'), stream.sees('data: one')]);
      end?.(proxy);
      await line.sees('\r\n0\r\n\r\n');
      t.notOk(line.reset, name);
      t.match(await stream.answer(), { body: EVENT, code: 0 }, name);
      await proxy.quiet();
      t.match(proxy.audit.of('ended'), [
        { outcome, reason: /ended in order$/ },
        { outcome, reason: /ended in order$/ },
      ]);
      await upstream.quiet();
      line.socket.destroy();
    }
  },
);

t.test('the connection of a stream that was ended in order serves on', async (t) => {
  await using upstream = await streaming([EVENT]);
  await using proxy = await over(upstream, { idle: 300 });
  const line = await proxy.open();
  line.write(ASK);
  await line.sees('\r\n0\r\n\r\n');
  line.write(ASK);
  await until('the second stream', () => line.text.split('data: one').length === 3);
  t.notOk(line.reset);
  line.socket.destroy();
});

t.test(
  'everything else cuts: half an event, another reason, another type, a coding, a length',
  async (t) => {
    const cases: Readonly<Record<string, () => Promise<RawUpstream>>> = {
      'half an event': () => streaming([EVENT, 'data: tw']),
      'half a line end': () => streaming(['data: one\r\n']),
      'a coding': () => streaming([EVENT], () => {}, 'Content-Encoding: gzip\r\n'),
      'another type': () =>
        rawUpstream({
          raw: (socket) =>
            void socket.once('data', () =>
              socket.write(
                `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: ` +
                  `chunked\r\n\r\n1\r\na\r\n`,
              ),
            ),
        }),
      'a length': () =>
        rawUpstream({
          raw: (socket) =>
            void socket.once('data', () =>
              socket.write(`${HEAD}Content-Length: 99\r\n\r\n${EVENT}`),
            ),
        }),
    };
    for (const [name, make] of Object.entries(cases)) {
      await using upstream = await make();
      await using proxy = await over(upstream, { idle: 300 });
      const line = await proxy.open();
      line.write(ASK);
      await line.ended();
      t.ok(line.reset, name);
      t.notMatch(line.text, /\r\n0\r\n\r\n/, name);
      await proxy.quiet();
      t.match(proxy.audit.of('ended'), [{ outcome: 'timeout', reason: /^(?!.*in order)/ }], name);
    }
    await using upstream = await streaming([EVENT]);
    await using proxy = await over(upstream, {});
    const line = await proxy.open();
    line.write(ASK);
    await line.sees('data: one');
    const to = { host: '127.0.0.1', port: upstream.port };
    proxy.policy.set(
      policyOf(testDestination({ mode: 'plaintext', upstream: to, rules: [rule('none', 'deny')] })),
    );
    await line.ended();
    t.ok(line.reset, 'a policy that allows it no longer');
    t.notMatch(line.text, /\r\n0\r\n\r\n/);
  },
);

t.test(
  'comments keep a stream open where the key asks for them, between two events, and count for nothing',
  async (t) => {
    await using upstream = await streaming([EVENT]);
    await using proxy = await over(upstream, { keepAlive: 50, idle: 600 });
    const line = await proxy.open();
    line.write(ASK);
    await line.sees('\r\n0\r\n\r\n');
    const body = line.text.slice(line.text.indexOf('\r\n\r\n') + 4);
    t.match(body, /^b\r\ndata: one\n\n\r\n(3\r\n:\n\n\r\n){2,}0\r\n\r\n$/);
    await proxy.quiet();
    t.match(
      proxy.audit.of('ended'),
      [{ outcome: 'timeout', received: EVENT.length }],
      'idle comes in its time',
    );
    line.socket.destroy();

    await using half = await streaming(['data: tw']);
    await using c = await over(half, { keepAlive: 50, idle: 600 });
    const cut = await c.open();
    cut.write(ASK);
    await cut.ended();
    t.notMatch(cut.text, /:\n\n/, 'none within an event');

    await using none = await streaming([EVENT]);
    await using d = await over(none, { idle: 600 });
    const silent = await d.open();
    silent.write(ASK);
    await silent.sees('\r\n0\r\n\r\n');
    t.notMatch(silent.text, /:\n\n/, 'none without the key');
    silent.socket.destroy();
  },
);

t.test(
  'events and comments reach the agent whole and in turn, a byte order mark at the begin alone',
  async (t) => {
    const later = (socket: Socket): void => {
      const say = (text: string): void =>
        void socket.write(
          `${Buffer.byteLength(text, 'latin1').toString(16)}\r\n${text}\r\n`,
          'latin1',
        );
      setTimeout(say, 300, '\xef\xbb\xbfdata: on');
      setTimeout(say, 600, 'e\n\n');
      setTimeout(() => (say('data: two\n\n'), socket.write('0\r\n\r\n')), 900);
    };
    await using upstream = await streaming([], later);
    await using proxy = await over(upstream, { keepAlive: 60 });
    await using client = http2Client(proxy.port('crm'));
    const { body, code } = await client.ask('/');
    t.equal(code, 0);
    t.match(body, /^(:\n\n)+data: one\n\n(:\n\n)+data: two\n\n$/);
    await proxy.quiet();
    t.match(proxy.audit.of('ended'), [{ outcome: 'completed' }]);
  },
);

t.test(
  'a request body may pause as long as idle says, and the head is awaited from its end on',
  async (t) => {
    await using upstream = await rawUpstream();
    const to = { host: '127.0.0.1', port: upstream.port };
    const rules = [rule('all', 'allow', { methods: ['POST'] })];
    const timeouts = { headers: 300, idle: 1500 };
    await using proxy = await testProxy({
      destinations: [
        testDestination({ mode: 'plaintext', listen: true, upstream: to, rules, timeouts }),
      ],
    });
    const line = await proxy.open();
    line.write(
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: 4\r\n\r\nab',
    );
    await new Promise((resolve) => setTimeout(resolve, 700));
    line.write('cd');
    await line.sees('HTTP/1.1 200');
    await using client = http2Client(proxy.port('crm'));
    const slow = client.open({ ':method': 'POST', ':path': '/' }, false);
    slow.stream.write('ab');
    await new Promise((resolve) => setTimeout(resolve, 700));
    slow.stream.end('cd');
    t.equal((await slow.answer()).status, 200);
    const stuck = await proxy.open();
    stuck.write(
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: 4\r\n\r\nab',
    );
    t.match(await stuck.ended(), /^HTTP\/1\.1 408 [^]*timeouts\.idle/);
    t.match(proxy.audit.of('ended').at(-1), { outcome: 'request-timeout' });
    line.socket.destroy();
  },
);
