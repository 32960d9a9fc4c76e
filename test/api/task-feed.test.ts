import t from 'tap';
import { taskFeed } from '../../lib/api/task-feed.ts';
import type { TaskEvent } from '../../lib/tasks/events.ts';

const event = (name: TaskEvent['event'], task: string): TaskEvent => ({
  event: name,
  task,
  detail: {},
});

t.test(
  'a watcher is told of everything from when it began, in order, until it goes away',
  async (t) => {
    const feed = taskFeed();
    const stop = new AbortController();
    feed.tell(event('opened', 'before'));
    const events = feed.all(stop.signal)[Symbol.asyncIterator]();
    const first = events.next();
    feed.tell(event('opened', 'a'));
    feed.tell(event('completed', 'a'));
    t.match((await first).value, { task: 'a', event: 'opened' });
    t.match((await events.next()).value, { event: 'completed' });
    const last = events.next();
    stop.abort();
    t.ok((await last).done);
  },
);

t.test('the feed of one task ends with its end', async (t) => {
  const feed = taskFeed();
  const seen: string[] = [];
  const done = (async () => {
    for await (const { event: name } of feed.of('a', new AbortController().signal)) seen.push(name);
  })();
  for (const [name, task] of [
    ['opened', 'b'],
    ['extended', 'a'],
    ['revoked', 'b'],
    ['expired', 'a'],
    ['opened', 'a'],
  ] as const)
    feed.tell(event(name, task));
  await done;
  t.same(seen, ['extended', 'expired']);
});

t.test(
  'a watcher that does not read is let go of, and the others are told as before',
  async (t) => {
    const feed = taskFeed();
    const slow = feed.all(new AbortController().signal)[Symbol.asyncIterator]();
    const began = slow.next();
    for (let i = 0; i < 10_001; i += 1) feed.tell(event('opened', String(i)));
    t.match((await began).value, { task: '0' });
    let read = 1;
    await t.rejects(
      (async () => {
        for (let next = await slow.next(); next.done !== true; next = await slow.next()) read += 1;
      })(),
      { code: 'too-many' },
    );
    t.ok(read <= 10_000);
  },
);
