import t from 'tap';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

const HOUR = 3_600_000;

/**
 * The wall clock as an operator, or a laptop that wakes up, changes it; timers and durations know
 * nothing of it.
 */
function wallClock(): Clock & { jump(ms: number): void } {
  let ahead = 0;
  return { ...systemClock, now: () => Date.now() + ahead, jump: (ms) => void (ahead += ms) };
}

t.test(
  'refuses at once when the clock jumps past the SVID, before any timer, and serves when it jumps back (C-26)',
  async (t) => {
    const clock = wallClock();
    await using s = await testSidecar({ clock });
    const line = await s.tunnel();
    t.equal(await s.get('/v1/customers'), 200);
    const connections = s.api.connections();
    clock.jump(2 * HOUR);
    t.equal(await s.get('/v1/customers'), 503, 'a pooled connection is no way around it');
    t.equal(s.api.connections(), connections);
    t.match(s.records().at(-1), { kind: 'ended', outcome: 'identity-expired', status: 503 });
    await until('it is not ready either', () => !s.sidecar.ready());
    await until('what was open is cut', () => line.reset, 10_000);
    clock.jump(-2 * HOUR);
    t.equal(await s.get('/v1/customers'), 200, 'the SVID is valid again');
    await until('ready again', () => s.sidecar.ready(), 10_000);
    t.ok(await s.tunnel(), 'and a tunnel opens again');
  },
);

t.test(
  'serves with the next SVID after a jump: what comes then is valid by the new time (3.1)',
  async (t) => {
    const clock = wallClock();
    await using s = await testSidecar({ clock, ttl: 6000 });
    t.equal(await s.get('/v1/customers'), 200);
    const before = s.api.requests().at(-1)?.peer.serial;
    clock.jump(7000);
    const status = await s.get('/v1/customers');
    t.ok(
      status === 503 || s.api.requests().at(-1)?.peer.serial !== before,
      'never with the expired one',
    );
    await s.workload.rotate();
    await until('it serves again', async () => (await s.get('/v1/customers')) === 200, 10_000);
    t.not(s.api.requests().at(-1)?.peer.serial, before);
  },
);

t.test(
  'a clock set back does not revive what was withdrawn, and hours of it do not stop the timers',
  async (t) => {
    const clock = wallClock();
    await using s = await testSidecar({ clock });
    t.equal(await s.get('/v1/customers'), 200);
    await s.workload.setIdentities([]);
    await until(
      'the identity is withdrawn',
      async () => (await s.get('/v1/customers')) === 503,
      10_000,
    );
    clock.jump(-5 * HOUR);
    t.equal(await s.get('/v1/customers'), 503);
    clock.jump(5 * HOUR);
    await s.workload.setIdentities(['/agent', '/crm', '/db'].map((id) => ({ id })));
    await until(
      'it is asked for again on time',
      async () => (await s.get('/v1/customers')) === 200,
      30_000,
    );
  },
);
