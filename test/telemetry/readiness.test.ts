/** Readiness by name: what is awaited, and for how long. */
import t from 'tap';
import { systemClock, type Clock } from '../../lib/base/clock.ts';
import { readiness } from '../../lib/telemetry/readiness.ts';

function handClock(): Clock & { advance(ms: number): void } {
  let at = 1000;
  return { ...systemClock, monotonic: () => at, advance: (ms) => void (at += ms) };
}

t.test(
  'each thing that is awaited is named with its seconds; ready when none is left',
  async (t) => {
    const clock = handClock();
    const ready = readiness(clock);
    t.same(ready.report(), { ready: true, waiting: [] });
    const identity = ready.pending('identity', 'waiting for the first SVID');
    clock.advance(12_400);
    const listeners = ready.pending('listeners', 'binding');
    t.same(ready.report(), {
      ready: false,
      waiting: [
        { name: 'identity', detail: 'waiting for the first SVID', seconds: 12 },
        { name: 'listeners', detail: 'binding', seconds: 0 },
      ],
    });
    listeners.done();
    identity.undone('waiting for the first SVID (PermissionDenied: no identity issued)');
    clock.advance(1000);
    t.match(
      ready.report().waiting,
      [{ detail: /no identity issued/, seconds: 13 }],
      'new words do not restart the count',
    );
    identity.done();
    t.ok(ready.report().ready);
    clock.advance(60_000);
    identity.undone('the SVID expired');
    t.match(
      ready.report(),
      { ready: false, waiting: [{ name: 'identity', seconds: 0 }] },
      'a new wait counts from its own start',
    );
  },
);
