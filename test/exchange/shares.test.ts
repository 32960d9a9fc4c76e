/** Shares: a flood of one agent, or of nobody in particular, refuses no other. */
import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { Exchange } from '../../lib/exchange/exchange.ts';
import { refusals } from '../../lib/exchange/refusals.ts';
import { SHARE, Shares } from '../../lib/exchange/shares.ts';
import { soleAgent } from '../../lib/policy/model/agent.ts';
import { type TestConnection, statusOf, testConnectionOver } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { rule, testDestination } from '../support/destination.ts';
import { shortFolder } from '../support/folder.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { rawUpstream } from '../support/upstream.ts';
import { manualClock } from '../tasks/fixture.ts';
import t from 'tap';

const [A, B] = [soleAgent('a'), soleAgent('b')];
const REQUEST = 'GET http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\n\r\n';

interface Room extends AsyncDisposable {
  readonly proxy: TestProxy;
  /** A connection at the forward socket of an agent. */
  at(agent: typeof A): Promise<TestConnection>;
  readonly dropped: string[];
}

async function room(
  t: Parameters<typeof shortFolder>[0],
  shares: Partial<typeof SHARE>,
  destination: Parameters<typeof testDestination>[0] = {},
): Promise<Room> {
  const upstream = await rawUpstream();
  const dropped: string[] = [];
  const at = { host: '127.0.0.1', port: upstream.port };
  const proxy = await testProxy({
    identity: 'none',
    destinations: [testDestination({ mode: 'plaintext', upstream: at, ...destination })],
    options: { shares, onDropped: (agent) => dropped.push(agent) },
  });
  const folder = shortFolder(t);
  for (const agent of [A, B])
    await proxy.server.openForward(agent, { path: join(folder, agent.name), mode: 0o600 });
  return {
    proxy,
    dropped,
    async at({ name }) {
      const socket = connect(join(folder, name));
      await once(socket, 'connect');
      return testConnectionOver(socket);
    },
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

async function statusOn(line: TestConnection): Promise<number> {
  line.write(REQUEST);
  return statusOf(await line.sees(/^HTTP\/1\.1 \d{3}[^]*\r\n\r\n/));
}

t.test(
  'connections of one agent beyond its share are cut and told, and another has all of its own',
  async (t) => {
    await using r = await room(t, { connections: 3 });
    const own = await Promise.all([r.at(A), r.at(A), r.at(A)]);
    const late = await r.at(A);
    await until('it is cut', () => late.socket.destroyed || late.reset);
    t.same(r.dropped, ['a']);
    t.equal(await statusOn(await r.at(B)), 200);
    for (const line of own) t.equal(await statusOn(line), 200, 'those that had a place keep it');
    t.match(
      r.proxy.server.shares().filter(({ agent }) => agent !== 'unknown'),
      [
        { agent: 'a', connections: 3 },
        { agent: 'b', connections: 1 },
      ],
    );
  },
);

t.test(
  'of connections of nobody the oldest idle one makes room for one that may show its task',
  async (t) => {
    await using r = await room(t, { connections: 8 });
    const lines: TestConnection[] = [];
    for (let i = 0; i < 8; i += 1) lines.push(await r.proxy.open());
    t.equal(await statusOn(await r.proxy.open()), 200);
    await until(
      'the oldest is cut',
      () => lines[0]?.socket.destroyed === true || lines[0]?.reset === true,
    );
    t.same(r.dropped, ['unknown']);
    t.equal(await statusOn(lines[1] as TestConnection), 200);
  },
);

t.test(
  'exchanges of one agent beyond its share are 503, and another has all of its own',
  async (t) => {
    await using r = await room(
      t,
      { connections: 8, exchanges: 1 },
      { rules: [rule('all', 'allow')] },
    );
    const silent = await r.at(A);
    silent.write(
      'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: 5\r\n\r\n',
    );
    await until('it is under way', () => r.proxy.server.live() === 1);
    t.equal(await statusOn(await r.at(A)), 503);
    t.match(r.proxy.audit.of('refused'), [{ code: 'too-many', agent: 'a' }]);
    t.equal(await statusOn(await r.at(B)), 200);
    silent.socket.destroy();
    await r.proxy.quiet();
    t.same(unpaired(r.proxy.audit.records), []);
  },
);

t.test('places and rates at a destination are those of each agent', async (t) => {
  const rate = { count: 1, per: 3_600_000, burst: 1, text: '1/h' };
  await using r = await room(t, {}, { limits: { rate } });
  t.same([await statusOn(await r.at(A)), await statusOn(await r.at(A))], [200, 503]);
  t.equal(await statusOn(await r.at(B)), 200);
  await using places = await room(t, {}, { limits: { concurrent: 1 } });
  const silent = await places.at(A);
  silent.write(
    'POST http://crm.internal/ HTTP/1.1\r\nHost: crm.internal\r\nContent-Length: 5\r\n\r\n',
  );
  await until('it is under way', () => places.proxy.audit.of('decided').length === 1);
  t.equal(await statusOn(await places.at(A)), 503);
  t.equal(await statusOn(await places.at(B)), 200);
  silent.socket.destroy();
});

t.test(
  'a connection counts for the agent that it has proved last, and its exchanges where they began',
  async (t) => {
    const shares = new Shares({ limits: { ...SHARE, connections: 1 }, onDropped: () => {} });
    const socket = (await import('node:net')).Socket;
    const [one, two] = [new socket(), new socket()];
    const caller = shares.admit(undefined, one);
    if (caller === undefined) return;
    const exchange = new Exchange('forward', { bytesRead: 0, bytesWritten: 0 }, 0);
    exchange.agent = A;
    caller.enter(exchange);
    const now = (): Record<string, readonly number[]> =>
      Object.fromEntries(
        shares.counts().map((one) => [one.agent, [one.connections, one.exchanges]]),
      );
    t.match(now(), { a: [1, 1], unknown: [0, 0] });
    const other = shares.admit(undefined, two);
    const second = new Exchange('forward', { bytesRead: 0, bytesWritten: 0 }, 0);
    second.agent = A;
    t.throws(() => other?.enter(second), {
      code: 'too-many',
      message: /agent a already has 1 connections/,
    });
    caller.leave(exchange);
    shares.leave(caller);
    t.match(now(), { a: [0, 0], unknown: [1, 0] });
  },
);

t.test(
  'refusals over the rate of an agent are counted into one record; those of another are not',
  async (t) => {
    const clock = manualClock();
    const written: unknown[] = [];
    const rate = { count: 1, per: 1000, burst: 2, text: '1/s' };
    const counted = refusals({ clock, rate, write: (record) => written.push(record) });
    const shares = new Shares({ limits: SHARE, onDropped: () => {} });
    const [a, proxy] = [shares.of(A), shares.of(B)];
    const take = (share: typeof a, code: string): boolean => counted.recorded(share, code);
    t.same(
      [take(a, 'x'), take(a, 'x'), take(a, 'x'), take(a, 'y'), take(a, 'y')],
      [true, true, false, false, false],
    );
    t.ok(take(proxy, 'x'));
    t.same(written, []);
    clock.pass(10_000);
    t.match(written, [{ kind: 'refusals', agent: 'a', count: 3, codes: { x: 1, y: 2 } }]);
    t.ok(take(a, 'x'), 'and there is room again');
    clock.pass(20_000);
    t.equal(written.length, 1, 'what was not counted is not written');
  },
);

t.test(
  'a refusal that was counted has no records of its own, and is answered all the same',
  async (t) => {
    const rate = { count: 1, per: 3_600_000, burst: 1, text: '1/h' };
    await using proxy = await testProxy({
      identity: 'none',
      destinations: [testDestination({ rules: [rule('none', 'deny')] })],
      options: {
        sidecar: {
          forward: { host: '127.0.0.1', port: 0 },
          audit: { onFailure: 'deny', refusals: rate },
        },
      },
    });
    for (let i = 0; i < 5; i += 1) t.equal(statusOf(await proxy.get('http://crm.internal/')), 403);
    t.equal(statusOf(await proxy.ask('GET / HTTP/1.1\r\n\r\n')), 400);
    await proxy.quiet();
    t.equal(
      proxy.audit.of('decided').length +
        proxy.audit.of('refused').length +
        proxy.audit.of('ended').length,
      2,
    );
    await proxy.server.drain(AbortSignal.abort(new Fault('aborted', 'now')));
    t.match(proxy.audit.of('refusals'), [
      { count: 5, codes: { 'denied-by-rule': 4, malformed: 1 } },
    ]);
    t.same(unpaired(proxy.audit.records), []);
    t.ok(systemClock.monotonic() > 0);
  },
);
