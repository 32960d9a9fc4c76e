import t from 'tap';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

t.setTimeout(240_000);

/** A wall clock that is set at will; timers and durations know nothing of it. */
function wallClock(): Clock & { set(ms: number): void } {
  let ahead = 0;
  return { ...systemClock, now: () => Date.now() + ahead, set: (ms) => void (ahead = ms) };
}

const BACKDATED = 10_000;

t.test(
  'an authority whose clock is ahead: rotations lose no request, on either side of a connection',
  async (t) => {
    const issuing = wallClock();
    await using s = await testSidecar({ issuing });
    t.equal(await s.get('/v1/customers'), 200);
    const tunnel = await s.tunnel();
    const serial = (): string | undefined => s.api.requests().at(-1)?.peer.serial;
    const first = serial();
    issuing.set(BACKDATED + 6000);
    await s.workload.rotate();
    const began = Date.now();
    await until(
      'the new SVID is in use',
      async () => {
        t.equal(await s.get('/v1/customers'), 200);
        return serial() !== first;
      },
      60_000,
    );
    t.ok(Date.now() - began > 4000, 'once it is valid');
    for (let n = 0; n < 20; n += 1) t.equal(await s.get('/v1/customers'), 200);
    tunnel.write('pong');
    await tunnel.sees('pong');
    t.ok(s.log.some((line) => /warn identity .*not valid before .*compare the clocks/.test(line)));
  },
);

t.test(
  'a sidecar whose clock is behind comes up, and serves once its clock is set right',
  async (t) => {
    const clock = wallClock();
    await using s = await testSidecar({ clock, issuing: systemClock });
    clock.set(-20 * 60_000);
    await s.workload.rotate();
    await until('it is told', () => s.log.some((line) => /not valid before/.test(line)), 20_000);
    t.equal(await s.get('/v1/customers'), 502, 'peers are not believed either: compare the clocks');
    clock.set(0);
    await until('it serves', async () => (await s.get('/v1/customers')) === 200, 20_000);
  },
);

t.test(
  'a clock that was ahead for a while: what came meanwhile is used once it is set right',
  async (t) => {
    const clock = wallClock();
    await using s = await testSidecar({ clock, issuing: systemClock });
    t.equal(await s.get('/v1/customers'), 200);
    const before = s.api.requests().at(-1)?.peer.serial;
    clock.set(2 * 3_600_000);
    await until('it refuses', async () => (await s.get('/v1/customers')) === 503, 20_000);
    await s.workload.rotate();
    clock.set(0);
    await until(
      'the SVID that came is in use',
      async () => {
        await s.get('/v1/customers');
        return s.api.requests().at(-1)?.peer.serial !== before;
      },
      20_000,
    );
    t.equal(await s.get('/v1/customers'), 200);
  },
);
