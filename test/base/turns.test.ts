import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { turns } from '../../lib/base/turns.ts';

t.test(
  'one waiter goes on in each turn, in order, and others have theirs in between',
  async (t) => {
    const pacing = turns();
    const seen: string[] = [];
    const waiting = ['a', 'b', 'c'].map(async (name) => {
      await pacing.room();
      seen.push(name);
    });
    t.same(seen, [], 'not in this turn');
    for (let i = 0; i < 3; i += 1) {
      await turn();
      seen.push('other');
    }
    await Promise.all(waiting);
    t.same(
      seen.filter((one) => one !== 'other'),
      ['a', 'b', 'c'],
    );
    t.notMatch(seen.join(), /b,c/, 'somebody else came between');
    await pacing.room();
    t.pass('it goes on after it was empty');
  },
);

t.test(
  'a turn is full once its share is spent, and the next one is not; short work does not count',
  async (t) => {
    const pacing = turns();
    for (let i = 0; i < 1000; i += 1) pacing.count(0.1);
    t.notOk(pacing.full);
    for (let i = 0; i < 4; i += 1) pacing.count(1);
    t.notOk(pacing.full);
    pacing.count(1);
    t.ok(pacing.full);
    await turn();
    await turn();
    t.notOk(pacing.full);
  },
);
