/** How a server closes its connections, as it is seen, and what follows from it. */
import t from 'tap';
import type { Clock } from '../../lib/base/clock.ts';
import { announced, Reuse, SOON_MS } from '../../lib/http1/reuse.ts';

function clockAt(): Clock & { time: number } {
  const clock = {
    time: 0,
    now: () => clock.time,
    monotonic: () => clock.time,
    after: () => () => {},
  };
  return clock;
}

t.test(
  'nothing is known of a key until a connection has stayed open a while after an answer',
  async (t) => {
    const reuse = new Reuse(clockAt());
    const known = reuse.of('a');
    t.equal(known.state, 'unknown');
    reuse.open(known, SOON_MS - 1);
    t.equal(known.state, 'unknown');
    reuse.open(known, SOON_MS);
    t.equal(known.state, 'stays');
    t.equal(reuse.of('a'), known);
    t.equal(reuse.of('b').state, 'unknown');
  },
);

t.test(
  'a key that closed is trusted again when its time is over and one stayed open for far longer',
  async (t) => {
    const clock = clockAt();
    const reuse = new Reuse(clock);
    const known = reuse.of('a');
    reuse.open(known, SOON_MS);
    reuse.closed(known, 5000);
    t.equal(known.state, 'closes');
    reuse.open(known, 20_000);
    t.equal(known.state, 'closes', 'not within a minute');
    clock.time = 60_000;
    reuse.open(known, 9999);
    t.equal(known.state, 'closes', 'not as long as twice the time in which it closed');
    reuse.open(known, 10_000);
    t.equal(known.state, 'stays');
    reuse.closed(known, 1);
    clock.time += 119_999;
    reuse.open(known, 10_000);
    t.equal(known.state, 'closes', 'twice as long the second time');
    clock.time += 1;
    reuse.open(known, 999);
    t.equal(known.state, 'closes', 'a second is the least');
    reuse.open(known, 1000);
    t.equal(known.state, 'stays');
  },
);

t.test(
  'the longest time in which it closed counts, and a close during its time begins it anew',
  async (t) => {
    const clock = clockAt();
    const reuse = new Reuse(clock);
    const known = reuse.of('a');
    reuse.closed(known, 8000);
    clock.time = 59_000;
    reuse.closed(known, 10);
    clock.time = 118_000;
    reuse.open(known, 16_000);
    t.equal(known.state, 'closes');
    clock.time = 179_000;
    reuse.open(known, 15_999);
    t.equal(known.state, 'closes');
    reuse.open(known, 16_000);
    t.equal(known.state, 'stays');
  },
);

t.test('so many keys are remembered; the one learned first proves itself anew', async (t) => {
  const reuse = new Reuse(clockAt());
  reuse.open(reuse.of('first'), SOON_MS);
  for (let i = 0; i < 4095; i += 1) reuse.of(`k${i}`);
  t.equal(reuse.of('first').state, 'stays');
  reuse.of('one more');
  t.equal(reuse.of('first').state, 'unknown');
});

t.test('what a server announces with Keep-Alive', async (t) => {
  const said = (value: string): unknown => announced(['date', 'x', 'keep-alive', value]);
  t.equal(announced(['date', 'x']), undefined);
  t.same(said('timeout=5'), { ms: 4000, more: Infinity }, 'a second before the server');
  t.same(said('timeout=1'), { ms: 500, more: Infinity }, 'half the time where that is less');
  t.same(said('timeout=0'), { ms: 0, more: Infinity });
  t.same(said('timeout=5, max=100'), { ms: 4000, more: 100 });
  t.same(said('Max = "0"; Timeout = "60"'), { ms: 59_000, more: 0 });
  t.same(said('maxtimeout=1'), { ms: Infinity, more: Infinity });
  t.same(said('something'), { ms: Infinity, more: Infinity });
});
