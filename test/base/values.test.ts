import t from 'tap';
import { backoff } from '../../lib/base/backoff.ts';
import { cell } from '../../lib/base/cell.ts';
import { sleep, systemClock } from '../../lib/base/clock.ts';
import { disposer } from '../../lib/base/dispose.ts';
import { Fault } from '../../lib/base/fault.ts';

t.test('a cell hands each new value to its followers in order, until they stop', async (t) => {
  const numbers = cell<number>();
  t.equal(numbers.get(), undefined);
  const stop = new AbortController();
  const seen: number[] = [];
  numbers.follow((value) => seen.push(value), stop.signal);
  numbers.set(1);
  numbers.set(2);
  stop.abort();
  numbers.set(3);
  t.same(seen, [1, 2]);
  t.equal(numbers.get(), 3);
});

t.test('back-off grows to its cap with full jitter and starts over after a success', async (t) => {
  const most = backoff({ baseMs: 100, capMs: 1000, random: () => 0 });
  t.same(
    [most.next(), most.next(), most.next(), most.next(), most.next()],
    [100, 200, 400, 800, 1000],
  );
  most.reset();
  t.equal(most.next(), 100);
  const least = backoff({ baseMs: 100, capMs: 1000, random: () => 0.999 });
  t.ok(least.next() >= 1, 'never zero: no hot loop');
  const long = backoff({ baseMs: 100, capMs: 1000, random: () => 0 });
  for (let i = 0; i < 5000; i += 1) long.next();
  t.equal(long.next(), 1000);
});

t.test('a delay longer than the engine holds does not fire at once', async (t) => {
  let fired = false;
  const cancel = systemClock.after(2 ** 31 + 5, () => (fired = true));
  await new Promise((resolve) => setTimeout(resolve, 20));
  cancel();
  t.notOk(fired);
});

t.test('sleep ends with the reason of its signal', async (t) => {
  const stop = new AbortController();
  const waiting = sleep(systemClock, 60_000, stop.signal);
  stop.abort(new Fault('shutting-down', 'stop'));
  await t.rejects(waiting, { code: 'shutting-down' });
  await t.rejects(sleep(systemClock, 1, stop.signal), { code: 'shutting-down' });
  await sleep(systemClock, 1, new AbortController().signal);
});

t.test('a disposer closes in reverse order, all of it, once', async (t) => {
  const order: string[] = [];
  const all = disposer();
  all.defer(() => void order.push('first opened'));
  all.defer(() => {
    order.push('fails');
    throw new Error('stuck');
  });
  all.use({ [Symbol.asyncDispose]: async () => void order.push('last opened') });
  await t.rejects(async () => all[Symbol.asyncDispose](), AggregateError);
  t.same(order, ['last opened', 'fails', 'first opened']);
  await t.rejects(async () => all[Symbol.asyncDispose](), AggregateError);
  t.equal(order.length, 3);
});
