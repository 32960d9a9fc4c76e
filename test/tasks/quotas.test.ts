/** How much an agent may do for a purpose, over all its tasks. */
import t from 'tap';
import { judgeGrant } from '../../lib/policy/decision/grant.ts';
import { soleAgent } from '../../lib/policy/model/agent.ts';
import { quotas, type CountsKept } from '../../lib/tasks/quotas.ts';
import type { Task } from '../../lib/tasks/task.ts';
import { desk, intent, manualClock, member, policyWith, rule, type Desk } from './fixture.ts';

const HOUR = 3_600_000;
const per = (count: number, span = HOUR): { count: number; per: number; text: string } => ({
  count,
  per: span,
  text: `${count}/h`,
});
const WHOSE = { agent: 'agent', purpose: 'support' };

/** Judges a read of the crm as the next call of the task, and takes what it uses. */
function call({ tasks, policy }: Desk, task: Task): ReturnType<typeof judgeGrant> {
  const destination = policy.get()?.byName.get('crm');
  if (destination === undefined) throw new TypeError('there is a crm');
  const asked = {
    destination,
    host: 'crm.internal',
    port: 80,
    action: 'read',
    rule: 'read',
    digest: () => undefined,
  };
  const verdict = judgeGrant(task.facts([]), { ...asked, reading: 'whole' });
  if (verdict.code === 'granted')
    tasks.claim(member('m'), { task, destination, action: 'read', approval: verdict.approval });
  return verdict;
}

t.test(
  'an agent opens so many tasks for a purpose in any span of that length, derived ones included',
  async (t) => {
    const d = desk(
      {},
      rule({ quotas: { tasks: per(3) } }),
      rule({ name: 'other', purposes: ['other'] }),
    );
    const { task } = d.tasks.open(intent());
    d.clock.pass(1000);
    d.tasks.derive(task, intent());
    d.tasks.end(d.tasks.open(intent()).task, 'completed', 'done');
    const refused = {
      code: 'quota-spent',
      http: 429,
      retryAfter: 3599,
      message: /3\/h tasks .* for purpose support/,
    };
    t.throws(() => d.tasks.open(intent()), refused, 'a task that has ended counts');
    t.throws(() => d.tasks.derive(task, intent()), refused);
    t.throws(() => d.tasks.open(intent({ targets: ['vault'] })), { code: 'task-refused' });
    t.ok(d.tasks.open(intent({ purpose: 'other' })), 'another purpose is counted apart');
    d.clock.pass(HOUR - 1001);
    t.throws(() => d.tasks.open(intent()), { code: 'quota-spent', retryAfter: 1 });
    d.clock.pass(1);
    t.ok(d.tasks.open(intent()));
    t.throws(
      () => d.tasks.open(intent()),
      { code: 'quota-spent', retryAfter: 1 },
      'the window slides: it is not begun anew',
    );
    t.equal(
      d.events.filter(({ event }) => event === 'opened').length,
      5,
      'what was refused was not opened',
    );
  },
);

t.test(
  'an agent makes so many calls for a purpose, however many tasks it opens for that',
  async (t) => {
    const d = desk({}, rule({ quotas: { calls: per(5) } }));
    const seen: string[] = [];
    for (let i = 0; i < 8; i += 1)
      seen.push(call(d, d.tasks.open(intent({ maxCalls: 2 })).task).code);
    t.same(seen, [...Array<string>(5).fill('granted'), ...Array<string>(3).fill('quota-spent')]);
    const { task } = d.tasks.open(intent());
    t.match(call(d, task), { code: 'quota-spent', retryAfter: 3600, reason: /5\/h calls/ });
    d.policy.set(policyWith(rule({ quotas: { calls: per(6) } })));
    t.match(call(d, task).code, 'granted', 'what a new policy says holds at once');
    t.match(call(d, task).code, 'quota-spent');
    d.clock.pass(HOUR);
    t.match(call(d, d.tasks.open(intent()).task).code, 'granted');
  },
);

t.test('what is decided again was counted already', async (t) => {
  const d = desk({}, rule({ quotas: { calls: per(1) } }));
  const { task } = d.tasks.open(intent());
  const running = member('long');
  task.enter(running);
  const destination = d.policy.get()?.byName.get('crm');
  if (destination === undefined) return;
  d.tasks.claim(running, { task, destination, action: 'read', approval: undefined });
  t.same(
    [task.facts([], running).spent, task.facts([]).spent],
    [undefined, { quota: '1/h', retryAfter: 3600 }],
  );
});

t.test('the quotas of one agent are not spent by another', async (t) => {
  const agents = [soleAgent('a'), soleAgent('b')];
  const d = desk({ agents }, rule({ quotas: { tasks: per(1), calls: per(1) } }));
  const [a, b] = agents.map((agent) => d.tasks.open(intent(), agent).task);
  t.throws(() => d.tasks.open(intent(), agents[0]), { code: 'quota-spent' });
  if (a === undefined || b === undefined) return;
  t.same(
    [call(d, a).code, call(d, a).code, call(d, b).code],
    ['granted', 'quota-spent', 'granted'],
  );
});

function memory(text?: string): CountsKept & { text: string | undefined; saved: number } {
  return {
    text,
    saved: 0,
    load() {
      return this.text;
    },
    save(next) {
      this.text = next;
      this.saved += 1;
    },
  };
}

t.test('a restart does not wash a count off', async (t) => {
  const [kept, before] = [memory(), manualClock()];
  const first = quotas(before, kept);
  for (let i = 0; i < 3; i += 1) first.count('tasks', WHOSE, per(3));
  const after = manualClock();
  after.jump(60_000);
  const second = quotas(after, kept);
  t.match(second.spent('tasks', WHOSE, per(3)), { retryAfter: 3540 });
  t.equal(second.spent('tasks', WHOSE, per(4)), undefined);
  after.pass(3_540_000);
  t.equal(second.spent('tasks', WHOSE, per(3)), undefined);
  const back = manualClock();
  back.jump(-60_000);
  t.match(
    quotas(back, kept).spent('tasks', WHOSE, per(3)),
    { retryAfter: 3600 },
    'nothing grows old by setting it back',
  );
});

t.test('a large quota is written down ahead of what is counted, and seldom', async (t) => {
  const [kept, clock] = [memory(), manualClock()];
  const quota = per(50_000);
  const first = quotas(clock, kept);
  for (let i = 0; i < 250; i += 1) first.count('calls', WHOSE, quota);
  t.equal(kept.saved, 3);
  const second = quotas(manualClock(), kept);
  t.equal(second.spent('calls', WHOSE, per(301)), undefined);
  t.ok(
    second.spent('calls', WHOSE, per(300)),
    'what was written and perhaps not made counts as made',
  );
});

t.test(
  'what was written and cannot be read counts as all of it; what cannot be written is not acted upon',
  async (t) => {
    for (const text of ['', '{', '{"version":2}', '{"version":1,"windows":{"x":[["a",1]]}}']) {
      const clock = manualClock();
      const one = quotas(clock, memory(text));
      t.match(one.spent('calls', WHOSE, per(1_000_000)), { retryAfter: 3600 }, text);
      clock.pass(HOUR);
      t.equal(one.spent('calls', WHOSE, per(1_000_000)), undefined);
    }
    const full: CountsKept = {
      load: () => undefined,
      save() {
        throw new Error('no space left on device');
      },
    };
    const d = desk({ counts: full }, rule({ quotas: { tasks: per(3) } }));
    t.throws(() => d.tasks.open(intent()), { code: 'audit-unavailable', hint: /stateDir/ });
    t.equal(d.tasks.list().length, 0);
  },
);

t.test(
  'no span of an hour holds more than a large quota, and what is remembered of it is bounded',
  async (t) => {
    const clock = manualClock();
    const quota = per(100_000);
    const one = quotas(clock);
    const made: number[] = [];
    for (let i = 0; i < 60_000; i += 1) {
      clock.pass(100);
      for (let n = 0; n < 4 && one.spent('calls', WHOSE, quota) === undefined; n += 1) {
        one.count('calls', WHOSE, quota);
        made.push(clock.monotonic());
      }
    }
    for (let i = quota.count; i < made.length; i += 97)
      if ((made[i] ?? 0) - (made[i - quota.count] ?? 0) < HOUR) t.fail(`${i} came too early`);
    t.ok(made.length > 150_000, `${made.length} were made in 100 minutes`);
  },
);
