/**
 * What bounds a task holds at its opening, its extension, its derivation and at every reload alike.
 */
import t from 'tap';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import type { TaskPolicy } from '../../lib/policy/model/grant.ts';
import type { Task } from '../../lib/tasks/task.ts';
import { type Desk, STEP_UP, asks, desk, intent, member, policyWith, rule } from './fixture.ts';

const CLASSES = ['public', 'internal', 'confidential', 'restricted'];
const when = (text: string): Partial<TaskPolicy> => ({
  when: conditions(CLASSES).compile(text, 'intent'),
});
const lifetimes = { lifetime: 3_600_000, ...when('intent.lifetime <= 60') };

function names({ events }: Desk): readonly string[] {
  return events.map(({ event }) => event);
}

/** A call that the task is allowed, under way. */
function under(d: Desk, task: Task, action = 'read'): ReturnType<typeof member> {
  const destination = d.policy.get()?.byName.get('crm');
  if (destination === undefined) throw new TypeError('there is a crm');
  const running = member(`m${task.uses}`);
  task.enter(running);
  const approval = task.facts(CLASSES).approvals.find((one) => one.action === action);
  d.tasks.claim(running, { task, destination, action, approval });
  return running;
}

t.test(
  'what must hold for a task to be opened holds for its whole time when it is extended',
  async (t) => {
    const d = desk({}, rule(lifetimes));
    t.throws(() => d.tasks.open(intent({ lifetime: '30m' })), { code: 'task-refused' });
    const { task } = d.tasks.open(intent({ lifetime: '40s' }));
    d.clock.pass(20_000);
    t.throws(() => d.tasks.extend(task, 3_540_000), {
      code: 'task-refused',
      message: /condition of task policy support/,
    });
    t.throws(
      () => d.tasks.extend(task, 40_001),
      { code: 'task-refused' },
      'a part of a second counts',
    );
    t.equal(task.lifetime, 40_000);
    t.equal(d.tasks.extend(task, 40_000), 60_000);
  },
);

t.test(
  'a new policy revokes what its condition would not open, over what is left of the grant',
  async (t) => {
    const d = desk({}, rule({ lifetime: 3_600_000 }));
    const [short, long] = [
      d.tasks.open(intent({ lifetime: '30s' })).task,
      d.tasks.open(intent({ lifetime: '30m' })).task,
    ];
    const child = d.tasks.derive(long, intent({ lifetime: '10s' })).task;
    const running = under(d, long);
    d.policy.set(policyWith(rule(lifetimes)));
    t.same([short.open, long.open, child.open], [true, false, false]);
    t.match(running.reasons, [/condition of task policy support does not hold/]);
    d.policy.set(policyWith(rule({ lifetime: 20_000, ...when('intent.lifetime <= 20') })));
    t.ok(short.open, 'it was cut to what holds');
    d.policy.set(policyWith(rule({ ...when('intent.maxCalls > 100') })));
    t.notOk(short.open);
  },
);

t.test(
  'a new policy that lets fewer tasks be open under one ends those that were derived last',
  async (t) => {
    const d = desk();
    const root = d.tasks.open(intent()).task;
    const other = d.tasks.open(intent()).task;
    const children = [1, 2, 3].map(() => d.tasks.derive(root, intent()).task);
    d.policy.set(policyWith(rule({ maxOpenTasks: 2 })));
    t.same(
      [root, other, ...children].map(({ open }) => open),
      [true, true, true, false, false],
    );
    t.match(d.events.at(-1), { event: 'revoked', detail: { why: /2 tasks may still be open/ } });
  },
);

t.test('a new policy narrows the approvals that stand, in time and in number', async (t) => {
  const d = desk({}, rule({ stepUp: [{ ...STEP_UP, ttl: 600_000, maxCalls: 3 }] }));
  const { task } = d.tasks.open(intent({ actions: ['read', 'write'] }));
  const approve = async (): Promise<void> => {
    const { id } = await asks(d, task);
    await d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' });
  };
  await approve();
  d.policy.set(policyWith(rule({ stepUp: [{ ...STEP_UP, ttl: 60_000, maxCalls: 2 }] })));
  t.match(task.approvals, [{ callsLeft: 2, until: d.clock.monotonic() + 60_000 }]);
  const running = under(d, task, 'write');
  d.policy.set(policyWith(rule({ stepUp: [{ ...STEP_UP, ttl: 60_000, maxCalls: 1 }] })));
  t.same(
    [task.approvals, running.reasons],
    [[], []],
    'the one call that it still has is under way',
  );
  d.clock.pass(3000);
  d.policy.set(policyWith(rule({ stepUp: [{ ...STEP_UP, ttl: 1000, maxCalls: 1 }] })));
  t.match(running.reasons, [/has lapsed/]);
  await approve();
  d.clock.pass(2000);
  d.policy.set(policyWith(rule({ stepUp: [{ ...STEP_UP, ttl: 999, maxCalls: 1 }] })));
  t.same(task.approvals, []);
  t.ok(names(d).includes('step-up-lapsed'));
});

t.test(
  'a call that is decided again counts the calls before it, as it did when it was decided first',
  async (t) => {
    const d = desk();
    const { task } = d.tasks.open(intent());
    t.equal(task.facts(CLASSES).uses, 0);
    const first = under(d, task);
    const second = under(d, task);
    t.same(
      [task.facts(CLASSES, first).uses, task.facts(CLASSES, second).uses, task.facts(CLASSES).uses],
      [0, 1, 2],
    );
    const child = d.tasks.derive(task, intent({ maxCalls: 9 })).task;
    under(d, child);
    t.same(
      [task.facts(CLASSES, first).uses, task.facts(CLASSES, second).uses],
      [0, 1],
      'whatever was made since',
    );
  },
);

t.test(
  'a history of its own begins with what the session has done, and does not flow back',
  async (t) => {
    const d = desk({}, rule({ isolated: true, destinations: new Set(['crm', 'wiki']) }));
    under(d, d.tasks.open(intent()).task);
    const apart = d.tasks.open(intent({ isolated: true, targets: ['wiki', 'crm'] })).task;
    t.same(apart.facts(CLASSES).read, 'confidential', 'what was read before is not washed off');
    t.same(apart.facts(CLASSES).destinations, ['crm']);
    const destination = d.policy.get()?.byName.get('wiki');
    if (destination === undefined) return;
    d.tasks.claim(member('w'), { task: apart, destination, action: 'write', approval: undefined });
    t.same(
      [apart.facts(CLASSES).wrote, d.tasks.open(intent()).task.facts(CLASSES).wrote],
      ['internal', 'none'],
    );
    const later = d.tasks.derive(apart, intent({ targets: ['crm'] })).task;
    t.same(
      [later.facts(CLASSES).wrote, later.isolated],
      ['internal', true],
      "a sub-agent's is its parent's",
    );
    const forgetful = desk({ unknownPast: true }, rule({ isolated: true }));
    t.equal(
      forgetful.tasks.open(intent({ isolated: true })).task.facts(CLASSES).read,
      'restricted',
      'nor is the unknown',
    );
  },
);
