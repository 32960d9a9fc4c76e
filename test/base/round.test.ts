import { setTimeout as wait } from 'node:timers/promises';
import t from 'tap';
import { rounds } from '../../lib/base/round.ts';
import { turns } from '../../lib/base/turns.ts';
import { until } from '../support/until.ts';

t.test(
  'a round goes on in later turns, urgent ones first, and one that begins anew starves nobody',
  async (t) => {
    const pacing = turns();
    const seen: number[] = [];
    // Each takes a third of a turn.
    const round = rounds<number>(pacing, (one) => {
      seen.push(one);
      pacing.count(2);
    });
    const all = Array.from({ length: 20 }, (_, i) => i);
    round.begin([15, 16], all);
    t.ok(seen.length > 0 && seen.length < 4, 'as many as a turn has room for');
    await until('it has gone on', () => seen.length > 5);
    t.same(seen.slice(0, 4), [15, 16, 0, 1]);
    for (let i = 0; i < 10; i += 1) {
      round.begin([7], all);
      const before = seen.length;
      await until('it has gone on', () => seen.length > before);
    }
    await until('all were reached', () => all.every((one) => seen.includes(one)));
    await until('the last round is over', async () => {
      const before = seen.length;
      await wait(50);
      return seen.length === before;
    });
    t.ok(seen.length < 12 * 21, `${seen.length} visits: of what had not been reached once`);
  },
);

t.test(
  'nothing is done for a round of nothing, and a later one begins in its own turn',
  async (t) => {
    const seen: number[] = [];
    const round = rounds<number>(turns(), (one) => void seen.push(one));
    round.begin([], []);
    round.begin([], [1, 2]);
    t.same(seen, [1, 2]);
  },
);

t.test(
  'visits that are too short to count are counted together: many of them give way (BUNCH_MS)',
  async (t) => {
    const pacing = turns();
    let counted = 0;
    const seen: number[] = [];
    const round = rounds<number>(
      {
        ...pacing,
        get full() {
          return pacing.full;
        },
        counted: (work) => ((counted += 1), pacing.counted(work)),
      },
      (one) => {
        seen.push(one);
        const end = performance.now() + 0.1;
        while (performance.now() < end);
      },
    );
    round.begin(
      [],
      Array.from({ length: 600 }, (_, i) => i),
    );
    t.ok(seen.length < 200, `${seen.length} of 600 in one turn`);
    await until('all were reached', () => seen.length === 600);
    t.ok(counted < 500, `${counted} times counted`);
  },
);
