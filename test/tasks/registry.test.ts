import t from 'tap';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { judgeGrant } from '../../lib/policy/decision/grant.ts';
import { soleAgent } from '../../lib/policy/model/agent.ts';
import type { TaskPolicy } from '../../lib/policy/model/grant.ts';
import { MAX_TASKS } from '../../lib/tasks/agents.ts';
import { within } from '../../lib/tasks/attenuate.ts';
import type { Task } from '../../lib/tasks/task.ts';
import { type Desk, desk, intent, manualClock, member, policyWith, rule } from './fixture.ts';

const header = ({ task, secret }: { readonly task: Task; readonly secret: string }): string =>
  `Basic ${Buffer.from(`${task.id}:${secret}`).toString('base64')}`;

function names({ events }: Desk): readonly string[] {
  return events.map(({ event }) => event);
}

/** Judges a read of the crm as the next call of the task, and takes what it uses. */
function call({ tasks, policy }: Desk, task: Task, id: string, action = 'read'): string {
  const destination = policy.get()?.byName.get('crm');
  if (destination === undefined) throw new TypeError('there is a crm');
  const verdict = judgeGrant(task.facts(['public', 'internal', 'confidential', 'restricted']), {
    destination,
    host: 'crm.internal',
    port: 80,
    action,
    rule: 'read',
    reading: 'whole',
    digest: () => undefined,
  });
  if (verdict.code !== 'granted') return verdict.code;
  const one = member(id);
  task.enter(one);
  tasks.claim(one, { task, destination, action, approval: verdict.approval });
  task.exit(one);
  return 'granted';
}

t.test('a task is proved by its secret alone, while it is open', async (t) => {
  const d = desk();
  const [one, other] = [d.tasks.open(intent()), d.tasks.open(intent())];
  t.equal(d.tasks.authenticate(header(one), 'x'), one.task);
  t.throws(() => d.tasks.authenticate(header({ task: one.task, secret: other.secret }), 'x'), {
    code: 'task-unknown',
  });
  d.tasks.end(one.task, 'completed', 'done');
  t.throws(() => d.tasks.authenticate(header(one), 'x'), {
    code: 'task-unknown',
    message: /no live task/,
  });
  t.equal(d.tasks.authenticate(header(other), 'x'), other.task, 'the other one lives on');
});

t.test('what a restart has forgotten is unknown, not no task', async (t) => {
  const opened = desk().tasks.open(intent());
  t.throws(() => desk().tasks.authenticate(header(opened), 'x'), {
    code: 'task-unknown',
    hint: /started anew/,
  });
});

t.test(
  'an intent of which nothing is left, of no purpose, or of the wrong owner is refused',
  async (t) => {
    const { tasks } = desk({}, rule({ owners: new Set(['alice']) }));
    t.throws(() => tasks.open(intent({ purpose: 'other' })), {
      code: 'task-refused',
      hint: /ask the operator/,
    });
    t.throws(() => tasks.open(intent({ targets: ['vault'] })), {
      code: 'task-refused',
      message: /vault: task policy support/,
    });
    t.throws(() => tasks.open(intent({ actions: ['admin'] })), { code: 'task-refused' });
    t.throws(() => tasks.open(intent({ owner: 'mallory' })), {
      code: 'task-refused',
      message: /mallory/,
    });
    t.throws(() => tasks.open(intent({ onBehalfOf: 'mallory' })), { code: 'task-refused' });
    t.equal(tasks.list().length, 0);
  },
);

t.test(
  'a task ends when its time is over by either clock, and what is under way is cut',
  async (t) => {
    const d = desk();
    const [one, other] = [
      d.tasks.open(intent({ lifetime: '60s' })).task,
      d.tasks.open(intent({ lifetime: '10m' })).task,
    ];
    const running = member('a');
    one.enter(running);
    d.clock.pass(59_000);
    t.same(running.reasons, []);
    d.clock.pass(1200);
    t.match(running.reasons, [/has expired/]);
    t.equal(one.state.kind, 'ending', 'until nothing of it is left');
    one.exit(running);
    await one.whenIdle();
    d.clock.jump(3_600_000);
    d.clock.pass(300);
    t.notOk(other.open, 'a machine that slept past the end wakes up to an ended task');
    d.clock.jump(-7_200_000);
    t.same(names(d), ['opened', 'opened', 'expired', 'expired']);
  },
);

t.test(
  'what was proved on a connection is proved there again, for as long as the task is open',
  async (t) => {
    const d = desk();
    const [one, other] = [d.tasks.open(intent({ lifetime: '60s' })), d.tasks.open(intent())];
    const proof = { credentials: undefined, task: undefined };
    for (const opened of [one, one, other, one])
      t.equal(d.tasks.authenticate(header(opened), 'x', proof), opened.task);
    t.throws(
      () => d.tasks.authenticate(header({ task: one.task, secret: other.secret }), 'x', proof),
      {
        code: 'task-unknown',
      },
    );
    t.equal(d.tasks.authenticate(header(one), 'x', proof), one.task);
    d.clock.jump(3_600_000);
    t.throws(
      () => d.tasks.authenticate(header(one), 'x', proof),
      { code: 'task-unknown' },
      'its time is over',
    );
    d.clock.jump(-3_600_000);
    t.equal(d.tasks.authenticate(header(other), 'x', proof), other.task);
    d.tasks.end(other.task, 'completed', 'done');
    t.throws(() => d.tasks.authenticate(header(other), 'x', proof), { code: 'task-unknown' });
  },
);

t.test('setting the wall clock back does not make a task last longer', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent({ lifetime: '60s' }));
  d.clock.jump(-3_600_000);
  d.clock.pass(60_500);
  t.notOk(task.open);
});

t.test('100 calls at one time share no use', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent({ maxCalls: 30 }));
  const results = await Promise.all(
    Array.from({ length: 100 }, async (_, i) => call(d, task, `e${i}`)),
  );
  t.equal(results.filter((one) => one === 'granted').length, 30);
  t.equal(results.filter((one) => one === 'uses-spent').length, 70);
});

t.test('a derived task is narrower, spends the uses of its parent and ends with it', async (t) => {
  const d = desk();
  const parent = d.tasks.open(intent({ targets: ['crm', 'wiki'], maxCalls: 5 })).task;
  const opened = d.tasks.derive(parent, intent({ maxCalls: 50, lifetime: '168h' }));
  const child = opened.task;
  t.same([...child.grant.destinations], ['crm']);
  t.equal(child.grant.maxCalls, 5);
  t.ok(child.lifetime <= parent.lifetime);
  t.match(opened.refused.map(({ part }) => part).sort(), ['lifetime', 'maxCalls']);
  for (let i = 0; i < 3; i += 1) t.equal(call(d, child, `c${i}`), 'granted');
  for (let i = 0; i < 2; i += 1) t.equal(call(d, parent, `p${i}`), 'granted');
  t.equal(call(d, child, 'c9'), 'uses-spent');
  t.equal(call(d, parent, 'p9'), 'uses-spent');
  const running = member('r');
  child.enter(running);
  d.tasks.end(parent, 'revoked', 'by hand');
  t.match(running.reasons, [/its parent .* ended/]);
});

t.test(
  'what is derived has the purpose and the owner of its parent, and no more depth or number than the policy has',
  async (t) => {
    const d = desk({}, rule({ depth: 2, maxOpenTasks: 3 }));
    const root = d.tasks.open(intent()).task;
    t.throws(() => d.tasks.derive(root, intent({ owner: 'bob' })), {
      code: 'task-refused',
      message: /owner/,
    });
    const child = d.tasks.derive(root, intent()).task;
    const grandchild = d.tasks.derive(child, intent()).task;
    t.throws(() => d.tasks.derive(grandchild, intent()), {
      code: 'task-refused',
      message: /2 deep/,
    });
    t.throws(() => d.tasks.derive(root, intent()), {
      code: 'task-refused',
      message: /3 tasks are open/,
    });
    d.tasks.end(child, 'completed', 'done');
    await new Promise(setImmediate);
    t.notOk(grandchild.open);
    t.ok(d.tasks.derive(root, intent()).task.open);
  },
);

t.test('extending stays within the ceiling, counted from the opening', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent({ lifetime: '60s' }));
  d.clock.pass(30_000);
  t.equal(d.tasks.extend(task, 300_000), 330_000);
  t.equal(d.tasks.extend(task, 3_600_000), 900_000);
  t.throws(() => d.tasks.extend(task, 3_600_000), { code: 'task-refused', hint: /900000 ms/ });
  const child = d.tasks.derive(task, intent({ lifetime: '10s' })).task;
  d.tasks.extend(child, 604_800_000);
  t.ok(child.opened.monotonic + child.lifetime <= task.opened.monotonic + task.lifetime);
});

t.test('a new policy narrows what is open, and revokes what has no purpose any more', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent({ targets: ['crm', 'wiki'], actions: ['read', 'write'] }));
  d.policy.set(
    policyWith(
      rule({
        destinations: new Set(['wiki', 'vault']),
        actions: new Set(['read', 'write']),
        stepUp: [],
      }),
    ),
  );
  t.same([...task.grant.destinations], ['wiki'], 'and never widens');
  t.same([...task.grant.actions], ['read'], 'what needed an approval is not free by a reload');
  await new Promise(setImmediate);
  t.equal(d.changes.count, 1, 'what is live is decided again');
  d.policy.set(policyWith(rule({ actions: new Set(['write']), stepUp: [] })));
  t.same([...task.grant.actions], []);
  d.policy.set(policyWith(rule({ purposes: ['other'] })));
  t.notOk(task.open);
  t.same(names(d), ['opened', 'narrowed', 'narrowed', 'revoked']);
});

t.test(
  'a new policy revokes what it would not open: another owner, a history of its own, a depth',
  async (t) => {
    const whole = rule({ owners: new Set(['alice', 'bob']), isolated: true, depth: 2 });
    for (const [left, open] of [
      [{ owners: new Set(['alice']) }, ['alice', 'apart', 'child']],
      [{ isolated: false }, ['alice', 'bob', 'child']],
      [{ depth: 0 }, ['alice', 'bob', 'apart']],
    ] as const) {
      const d = desk({}, whole);
      const alice = d.tasks.open(intent()).task;
      const tasks = {
        alice,
        bob: d.tasks.open(intent({ owner: 'bob' })).task,
        apart: d.tasks.open(intent({ isolated: true })).task,
        child: d.tasks.derive(alice, intent()).task,
      };
      d.policy.set(policyWith({ ...whole, ...left }));
      const still = Object.entries(tasks).filter(([, task]) => task.open);
      t.same(
        still.map(([name]) => name),
        open,
      );
    }
  },
);

t.test(
  'a parent that a new policy narrows or shortens bounds what was derived from it',
  async (t) => {
    const d = desk();
    const parent = d.tasks.open(intent({ targets: ['crm', 'wiki'], lifetime: '10m' })).task;
    d.clock.pass(10_000);
    const child = d.tasks.derive(parent, intent({ targets: ['crm', 'wiki'], lifetime: '9m' })).task;
    d.policy.set(
      policyWith(rule({ destinations: new Set(['wiki']), lifetime: 60_000, maxCalls: 7 })),
    );
    t.ok(within(child.grant, parent.grant));
    t.same([[...child.grant.destinations], child.grant.maxCalls], [['wiki'], 7]);
    t.equal(child.expiresAt, parent.expiresAt);
    t.throws(() => d.tasks.extend(child, 300_000), { code: 'task-refused' });
    d.clock.pass(50_500);
    t.notOk(child.open);
  },
);

t.test('one timer looks at all tasks, however many come and go', async (t) => {
  const clock = manualClock();
  let timers = 0;
  const d = desk({
    clock: { ...clock, after: (ms, act) => ((timers += 1), clock.after(ms, act)) },
  });
  for (let i = 0; i < 50; i += 1) {
    d.tasks.end(d.tasks.open(intent()).task, 'completed', 'done');
    await new Promise(setImmediate);
  }
  d.tasks.open(intent());
  const before = timers;
  clock.pass(1000);
  t.equal(timers - before, 5);
});

t.test('nothing is done to a task that is ending', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent({ lifetime: '60s' }));
  task.enter(member('a'));
  d.tasks.end(task, 'completed', 'done');
  t.throws(() => d.tasks.extend(task, 300_000), { code: 'task-unknown' });
  t.throws(() => d.tasks.derive(task, intent()), { code: 'task-unknown' });
  t.same(names(d), ['opened', 'completed']);
});

t.test(
  'history belongs to the session: a second task inherits it, calls without a task count',
  async (t) => {
    const d = desk({}, rule({ isolated: true }));
    const classes = ['public', 'internal', 'confidential', 'restricted'];
    const destination = d.policy.get()?.byName.get('crm');
    if (destination === undefined) return;
    d.tasks.claim(member('none'), {
      task: undefined,
      destination,
      action: 'read',
      approval: undefined,
    });
    const shared = d.tasks.open(intent()).task;
    t.equal(shared.facts(classes).read, 'confidential');
    call(d, shared, 'a');
    t.equal(
      d.tasks.derive(shared, intent()).task.facts(classes).read,
      'confidential',
      "a sub-agent's is its parent's",
    );
    t.same(d.tasks.open(intent()).task.facts(classes).actions, ['read']);
  },
);

t.test('after a restart the past is unknown and counts as the highest class', async (t) => {
  const d = desk({ unknownPast: true });
  t.equal(
    d.tasks.open(intent()).task.facts(['public', 'internal', 'confidential', 'restricted']).read,
    'restricted',
  );
});

t.test('revoking everything ends everything, and no secret is in any event (C5)', async (t) => {
  const d = desk();
  const all = Array.from({ length: 20 }, () => d.tasks.open(intent()));
  t.equal(d.tasks.endAll('revoked', 'kill switch'), 20);
  await new Promise(setImmediate);
  t.equal(d.tasks.list().length, 0);
  const told = JSON.stringify(d.events);
  for (const { secret } of all) t.notOk(told.includes(secret));
});

t.test('more tasks than the sidecar keeps are refused', async (t) => {
  const d = desk();
  const one = intent();
  for (let i = 0; i < MAX_TASKS; i += 1) d.tasks.open(one);
  t.throws(() => d.tasks.open(one), { code: 'too-many' });
  d.tasks.endAll('revoked', 'enough');
  await new Promise(setImmediate);
  t.ok(d.tasks.open(one).task.open, 'and there is room again');
});

t.test('what could not be given back is told', async (t) => {
  const d = desk({ release: () => Promise.resolve(['an AWS session until 12:00']) });
  const { task } = d.tasks.open(intent());
  d.tasks.end(task, 'completed', 'done');
  await d.tasks[Symbol.asyncDispose]();
  t.match(d.events.at(-1), {
    event: 'credential-left',
    detail: { what: 'an AWS session until 12:00' },
  });
});

t.test(
  'the condition of a task policy judges what would be granted; one that cannot be evaluated opens nothing',
  async (t) => {
    const when = (text: string): Partial<TaskPolicy> => ({
      depth: 2,
      when: conditions(['public', 'internal', 'confidential', 'restricted']).compile(
        text,
        'intent',
      ),
    });
    const calm = desk(
      {},
      rule(
        when(
          'intent.owner == "alice" && !("vault" in intent.destinations) && intent.lifetime <= 600',
        ),
      ),
    );
    t.ok(
      calm.tasks.open(intent({ targets: ['crm', 'vault'] })).task.open,
      'the ceiling has cut the vault off already',
    );
    t.throws(() => calm.tasks.open(intent({ owner: 'bob' })), {
      code: 'task-refused',
      message: /support does not hold/,
    });
    t.throws(() => calm.tasks.open(intent({ lifetime: '11m' })), { code: 'task-refused' });
    const root = desk({}, rule(when('intent.depth == 0 || intent.actions == ["read"]')));
    const parent = root.tasks.open(intent({ actions: ['read', 'write'] })).task;
    t.throws(() => root.tasks.derive(parent, intent({ actions: ['read', 'write'] })), {
      code: 'task-refused',
    });
    t.ok(root.tasks.derive(parent, intent()).task.open);
    const broken = desk({}, rule(when('intent.destinations[7] == "crm"')));
    t.throws(() => broken.tasks.open(intent()), {
      code: 'task-refused',
      message: /could not be evaluated/,
    });
    t.equal(broken.tasks.list().length, 0);
    t.same(names(broken), []);
  },
);

t.test(
  'an agent opens tasks of its own purposes where the policy lets it, and a reload takes them back',
  async (t) => {
    const [a, b] = [soleAgent('a'), { ...soleAgent('b'), purposes: new Set(['other']) }];
    const d = desk({ agents: [a, b] }, rule({ agents: new Set(['a', 'b']) }));
    const { task } = d.tasks.open(intent(), a);
    t.equal(d.tasks.derive(task, intent()).task.agent, a, 'what is derived is of the same agent');
    t.throws(() => d.tasks.open(intent(), b), {
      code: 'task-refused',
      message: /agent b may not open tasks/,
    });
    t.throws(() => d.tasks.open(intent()), { code: 'task-refused', message: /several agents/ });
    d.policy.set(policyWith(rule({ agents: new Set(['b']) })));
    t.notOk(task.open);
    t.throws(() => d.tasks.open(intent(), a), { code: 'task-refused' });
  },
);

t.test(
  'what one agent has done is not in the history of another, and what nobody proved is in all of them',
  async (t) => {
    const [a, b] = [soleAgent('a'), soleAgent('b')];
    const d = desk({ agents: [a, b] });
    const classes = ['public', 'internal', 'confidential', 'restricted'];
    const [crm, wiki] = ['crm', 'wiki'].map((name) => d.policy.get()?.byName.get(name));
    if (crm === undefined || wiki === undefined) return;
    const read = { task: undefined, action: 'read', approval: undefined };
    d.tasks.claim(member('1'), { ...read, agent: a, destination: crm });
    const seen = (agent: typeof a): string =>
      d.tasks.open(intent(), agent).task.facts(classes).read;
    t.same([seen(a), seen(b)], ['confidential', 'none']);
    d.tasks.claim(member('2'), { ...read, agent: undefined, destination: wiki });
    t.same([seen(a), seen(b)], ['confidential', 'internal']);
  },
);
