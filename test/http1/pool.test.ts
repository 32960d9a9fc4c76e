import net from 'node:net';
import t from 'tap';

import { Fault } from '../../lib/base/fault.ts';
import { httpLimits } from '../../lib/http/limits.ts';
import type { HttpLimits } from '../../lib/http/limits.ts';
import type { OutgoingRequest } from '../../lib/http/message.ts';
import type { Lease } from '../../lib/http/lease.ts';
import type { Dial, Pool } from '../../lib/http1/pool.ts';
import { pool } from '../../lib/http1/pool.ts';
import type { ManualClock, TestServer } from './wire.ts';
import { collect, manualClock, serve, until } from './wire.ts';

const GET: OutgoingRequest = {
  method: 'GET',
  target: '/',
  fields: ['host', 'a'],
  framing: { kind: 'none' },
};
const never = new AbortController().signal;
const NOBODY = { keys: 0, idle: 0, leased: 0, dialling: 0, waiting: 0 };

interface Fixture extends AsyncDisposable {
  readonly pool: Pool<number>;
  readonly server: TestServer;
  readonly clock: ManualClock;
  /** Dials so far; each connection's info is its number. */
  dials(): number;
  readonly dial: Dial<number>;
  acquire(key?: string, signal?: AbortSignal): Promise<Lease<number>>;
}

async function fixture(changes: Partial<HttpLimits> = {}): Promise<Fixture> {
  const clock = manualClock();
  const server = await serve(async (x) =>
    x.respond({ status: 200, fields: [], length: undefined }, Buffer.from('abc')),
  );
  const connections = pool<number>({
    limits: httpLimits({ poolAgeJitter: 0, ...changes }),
    clock,
  });
  let dials = 0;
  const dial = async (): Promise<{ socket: net.Socket; info: number }> => {
    const info = ++dials;
    const socket = net.connect({ port: server.port, host: '127.0.0.1' });
    await new Promise((resolve) => socket.once('connect', resolve));
    return { socket, info };
  };
  return {
    pool: connections,
    server,
    clock,
    dial,
    dials: () => dials,
    acquire: (key = 'k', signal = never) => connections.acquire(key, dial, signal),
    async [Symbol.asyncDispose]() {
      await connections[Symbol.asyncDispose]();
      await server.empty();
      await server[Symbol.asyncDispose]();
    },
  };
}

async function use(lease: Lease<number>): Promise<void> {
  const { body } = await lease.connection.request(GET, undefined, { signal: never, onInform() {} });
  await collect(body);
}

t.test('the connection used last is used again first; keys never share one', async (t) => {
  await using it = await fixture();
  const leases = await Promise.all([it.acquire(), it.acquire(), it.acquire()]);
  t.ok(leases.every(({ fresh }) => fresh));
  for (const lease of leases) {
    await use(lease);
    lease.release();
  }
  t.match(it.pool.counts(), { idle: 3, leased: 0 });
  const last = await it.acquire();
  t.equal(last.info, 3);
  t.equal(last.fresh, false);
  const other = await it.acquire('other');
  t.equal(other.info, 4);
  last.release();
  other.release();
  t.equal((await it.acquire()).info, 3);
});

t.test(
  'connections at rest over all keys have a most; the one that rests longest makes place',
  async (t) => {
    await using it = await fixture({ poolIdle: 2 });
    for (const key of ['a', 'b', 'c', 'd']) {
      const lease = await it.acquire(key);
      await use(lease);
      lease.release();
    }
    t.match(it.pool.counts(), { idle: 2, keys: 2 });
    const [fresh, kept] = [await it.acquire('a'), await it.acquire('d')];
    t.same([fresh.fresh, kept.fresh], [true, false]);
    for (const lease of [fresh, kept]) lease.discard(new Error('done'));
    await until(() => it.pool.counts().keys === 1, 'the others are forgotten');
    for (const key of ['e', 'f']) {
      const lease = await it.acquire(key);
      await use(lease);
      lease.release();
    }
    t.match(it.pool.counts(), { idle: 2 }, 'what was lent, ended or was retired is not counted');
  },
);

t.test('a lease released twice is a TypeError', async (t) => {
  await using it = await fixture();
  const lease = await it.acquire();
  lease.release();
  t.throws(() => lease.release(), TypeError);
  t.throws(() => lease.discard(new Error('again')), TypeError);
  const again = await it.acquire();
  t.equal(again.info, lease.info);
  again.discard(new Error('enough'));
  t.throws(() => again.release(), TypeError);
  await until(() => it.pool.counts().keys === 0, 'nothing to be left');
});

t.test('a connection whose exchange is not complete is not kept', async (t) => {
  await using it = await fixture();
  const lease = await it.acquire();
  const asking = lease.connection.request(GET, undefined, { signal: never, onInform() {} });
  lease.release();
  await t.rejects(asking, { code: 'aborted' });
  t.equal((await it.acquire()).info, 2);
});

t.test('no more connections than the cap; who waits is served in order (R3)', async (t) => {
  await using it = await fixture({ poolConnections: 2 });
  const [first, second] = await Promise.all([it.acquire(), it.acquire()]);
  const order: number[] = [];
  const waiting = [0, 1, 2].map(async (i) => {
    const lease = await it.acquire();
    order.push(i);
    return lease;
  });
  await new Promise((resolve) => setImmediate(resolve));
  t.match(it.pool.counts(), { leased: 2, waiting: 3 });
  first.release();
  t.equal((await waiting[0])?.info, first.info, 'a free connection goes to the first who waits');
  second.discard(new Error('broken'));
  t.equal((await waiting[1])?.info, 3, 'a free place lets the next one dial');
  t.strictSame(order, [0, 1]);
  (await waiting[1])?.release();
  await waiting[2];
  t.strictSame(order, [0, 1, 2]);
  t.equal(it.dials(), 3);
});

t.test('who waits too long, or after too many, is refused as too many (R3)', async (t) => {
  await using it = await fixture({ poolConnections: 1, poolQueue: 2, poolQueueMs: 1000 });
  const lease = await it.acquire();
  const early = it.acquire();
  it.clock.advance(500);
  const late = it.acquire();
  await t.rejects(it.acquire(), { code: 'too-many' });
  const refused = t.rejects(early, { code: 'too-many' });
  it.clock.advance(501);
  await refused;
  lease.release();
  t.equal((await late).info, 1);
  it.clock.advance(10_000);
  t.equal(it.clock.timers, 0, 'no timer is left');
});

t.test('an abort leaves the queue or the dial, and leaks nothing (R3)', async (t) => {
  await using it = await fixture({ poolConnections: 1 });
  const reason = new Fault('no-longer-allowed', 'revoked');
  const lease = await it.acquire();
  const controller = new AbortController();
  const queued = it.acquire('k', controller.signal);
  const next = it.acquire();
  controller.abort(reason);
  await t.rejects(queued, reason);
  await t.rejects(it.acquire('k', controller.signal), reason);
  lease.release();
  (await next).release();
  const slow = Promise.withResolvers<void>();
  const dialling = new AbortController();
  let socket: net.Socket | undefined;
  const asking = it.pool.acquire(
    'slow',
    async (signal) => {
      await slow.promise;
      const dialled = await it.dial(signal);
      socket = dialled.socket as net.Socket;
      return dialled;
    },
    dialling.signal,
  );
  await new Promise((resolve) => setImmediate(resolve));
  t.match(it.pool.counts(), { dialling: 1 });
  dialling.abort(reason);
  await t.rejects(asking, reason);
  t.match(it.pool.counts(), { dialling: 0, keys: 1 });
  slow.resolve();
  await until(() => socket?.destroyed === true, 'the late connection to be destroyed');
});

t.test('a dial that fails is told to its asker alone, and the next one dials', async (t) => {
  await using it = await fixture({ poolConnections: 1 });
  const refused = new Fault('upstream-refused', 'test');
  for (const dial of [
    () => Promise.reject(refused),
    () => {
      throw refused;
    },
  ]) {
    const failing = it.pool.acquire('k', dial, never);
    const next = it.acquire();
    await t.rejects(failing, refused);
    (await next).discard(new Error('done'));
  }
  await until(() => it.pool.counts().keys === 0, 'nothing to be left');
});

t.test(
  'an idle connection that says something, or ends, is destroyed and not used again (F9)',
  async (t) => {
    await using it = await fixture();
    for (const act of [
      (s: net.Socket) => void s.write('x'),
      (s: net.Socket) => void s.end(),
      (s: net.Socket) => void s.resetAndDestroy(),
    ]) {
      const lease = await it.acquire();
      t.ok(lease.fresh);
      lease.release();
      t.match(it.pool.counts(), { idle: 1 });
      for (const socket of it.server.connections) act(socket);
      await until(() => it.pool.counts().keys === 0, 'the connection to go');
    }
    t.strictSame(it.pool.counts(), NOBODY);
  },
);

t.test('an idle connection ends after the idle time, any after the maximum age (R3)', async (t) => {
  await using it = await fixture({ poolIdleMs: 1000, poolMaxAgeMs: 5000 });
  (await it.acquire()).release();
  it.clock.advance(999);
  t.match(it.pool.counts(), { idle: 1 });
  it.clock.advance(601);
  await until(() => it.pool.counts().keys === 0, 'the idle one to go');
  const lease = await it.acquire();
  it.clock.advance(5000);
  lease.release();
  await until(() => it.pool.counts().keys === 0, 'the old one to go when released');
  for (let i = 0; i < 12; i++) {
    const kept = await it.acquire();
    t.equal(kept.info, i < 11 ? 3 : 4, 'used until its age');
    await use(kept);
    kept.release();
    it.clock.advance(460);
  }
});

t.test(
  'ages have jitter, so that connections of one moment do not end in one moment (R3)',
  async (t) => {
    const clock = manualClock();
    const shares = [0, 0.5];
    await using it = await fixture();
    await using connections = pool<number>({
      limits: httpLimits({ poolMaxAgeMs: 1000, poolAgeJitter: 0.2, poolIdleMs: 1e6 }),
      clock,
      random: () => shares.shift() ?? 0,
    });
    const [full, less] = await Promise.all([
      connections.acquire('k', it.dial, never),
      connections.acquire('k', it.dial, never),
    ]);
    clock.advance(901);
    full.release();
    less.release();
    t.match(connections.counts(), { idle: 1 }, 'the one with half of the jitter is too old');
  },
);

t.test(
  'retiring ends idle connections now and leased ones when released; other keys stay',
  async (t) => {
    await using it = await fixture({ poolConnections: 1 });
    const [idle, leased, kept] = await Promise.all([
      it.acquire('idle'),
      it.acquire('leased'),
      it.acquire('kept'),
    ]);
    idle.release();
    kept.release();
    const waits = it.acquire('leased');
    it.pool.retire((key) => key === 'kept');
    await until(() => it.server.connections.size === 2, 'the idle one to go');
    await use(leased);
    const fresh = await it.acquire('leased');
    t.equal(
      fresh.info,
      4,
      'a new request gets a new connection, though the old one is still leased',
    );
    leased.release();
    t.equal((await waits).fresh, true, 'who waited before gets a connection too');
    (await waits).release();
    fresh.release();
    await until(
      () => it.pool.counts().leased === 0 && it.server.connections.size === 2,
      'the retired ones to go',
    );
    t.equal((await it.acquire('leased')).info, fresh.info);
    t.equal((await it.acquire('kept')).info, kept.info);
  },
);

t.test('a disposed pool has nothing open, and nobody waits', async (t) => {
  const it = await fixture({ poolConnections: 1 });
  const lease = await it.acquire();
  const waits = it.acquire();
  const refused = t.rejects(waits, { code: 'shutting-down' });
  const slow = it.acquire('slow');
  await it[Symbol.asyncDispose]();
  await refused;
  lease.release();
  const late = await slow;
  await t.rejects(late.connection.request(GET, undefined, { signal: never, onInform() {} }), Fault);
  late.release();
  await t.rejects(it.acquire(), { code: 'shutting-down' });
  t.strictSame(it.pool.counts(), NOBODY);
});

t.test('a thousand requests through four connections leave nothing behind (R3)', async (t) => {
  await using it = await fixture({ poolConnections: 4 });
  await Promise.all(
    Array.from({ length: 1000 }, async () => {
      const lease = await it.acquire();
      await use(lease);
      lease.release();
    }),
  );
  t.ok(it.dials() <= 4);
  t.match(it.pool.counts(), { idle: it.dials(), leased: 0, waiting: 0, dialling: 0 });
});
