import t from 'tap';
import type { Reading } from '../../lib/policy/decision/call-digest.ts';
import { judgeGrant } from '../../lib/policy/decision/grant.ts';
import { soleAgent } from '../../lib/policy/model/agent.ts';
import type { StepUpPolicy } from '../../lib/policy/model/grant.ts';
import { MAX_DENIALS } from '../../lib/tasks/denials.ts';
import { REFUSED_LIMITS } from '../../lib/tasks/refused-calls.ts';
import { STEP_UP_LIMITS } from '../../lib/tasks/step-up.ts';
import type { Task } from '../../lib/tasks/task.ts';
import {
  type Desk,
  STEP_UP,
  VIEW,
  asks,
  desk,
  intent,
  member,
  policyWith,
  refusedCall,
  rule,
} from './fixture.ts';

const CLASSES = ['public', 'internal', 'confidential', 'restricted'];
const DIGEST = `sha-256:${'A'.repeat(43)}`;
const asked = { targets: ['crm', 'wiki'], actions: ['read', 'write'] };
const OLGA = { by: 'olga', as: 'operator' } as const;
const stepUp = (given: Partial<StepUpPolicy>): ReturnType<typeof rule> =>
  rule({ stepUp: [{ ...STEP_UP, ...given }] });

interface Write {
  readonly name?: string;
  readonly by?: string | undefined;
  readonly digest?: string;
  readonly reading?: Reading;
}

function judged(
  { policy }: Desk,
  task: Task,
  given: Write,
  one?: ReturnType<typeof member>,
): ReturnType<typeof judgeGrant> {
  const { name = 'crm', by = 'write', digest, reading = 'whole' } = given;
  const destination = policy.get()?.byName.get(name);
  if (destination === undefined) throw new TypeError('no such destination');
  const call = {
    destination,
    host: `${name}.internal`,
    port: 80,
    action: 'write',
    rule: by,
    reading,
  };
  return judgeGrant(task.facts(CLASSES, one), { ...call, digest: () => digest });
}

/**
 * The code of the verdict; a call that is granted takes what it uses, and goes on where `one` is
 * given.
 */
function write(d: Desk, task: Task, given: Write = {}, one = member('x')): string {
  const verdict = judged(d, task, given);
  const destination = d.policy.get()?.byName.get(given.name ?? 'crm');
  if (verdict.code !== 'granted' || destination === undefined) return verdict.code;
  task.enter(one);
  d.tasks.claim(one, { task, destination, action: 'write', approval: verdict.approval });
  if (one.id === 'x') task.exit(one);
  return 'granted';
}

t.test('read-only until somebody approves, then for one call, then read-only again', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent(asked));
  t.equal(write(d, task), 'step-up');
  const { id, state, approvers } = await asks(d, task, {}, 'the customer asked');
  t.same([state, approvers], ['pending', ['operator']]);
  t.equal(write(d, task), 'step-up', 'asking alone changes nothing');
  t.match(await d.tasks.stepUps.approve(id, OLGA), { state: 'approved', answeredBy: 'olga' });
  t.equal(write(d, task), 'granted');
  t.equal(write(d, task), 'step-up');
  t.same(
    d.events.map(({ event }) => event),
    ['opened', 'step-up-asked', 'step-up-approved'],
  );
});

t.test(
  'who asks again for a refusal that was approved meanwhile is given the answer, and no second question',
  async (t) => {
    const d = desk();
    const { task } = d.tasks.open(intent(asked));
    const decision = refusedCall(d, task);
    const { id } = await d.tasks.stepUps.ask(task, { decision });
    await d.tasks.stepUps.approve(id, OLGA);
    t.match(await d.tasks.stepUps.ask(task, { decision }), {
      id,
      state: 'approved',
      answeredBy: 'olga',
    });
    t.same(d.tasks.stepUps.pending(), []);
    t.equal(write(d, task), 'granted');
    t.equal(write(d, task), 'step-up', 'it approves no more than it did');
    const next = await asks(d, task);
    t.match(next, { state: 'pending' }, 'the next refusal is a question of its own');
    t.not(next.id, id);
  },
);

t.test(
  'a question names a call that was refused, and shows it; what the agent says stands apart',
  async (t) => {
    const d = desk();
    const { task } = d.tasks.open(intent(asked));
    const other = d.tasks.open(intent(asked)).task;
    const decision = refusedCall(d, task, {
      rule: 'add-note',
      view: { ...VIEW, path: '/admin/all' },
    });
    const ask = (of: Task, id: string): Promise<unknown> =>
      d.tasks.stepUps.ask(of, { decision: id });
    await t.rejects(
      ask(task, 'x'.repeat(36)),
      { code: 'no-such-call', at: 'decision' },
      'of a call that was never made',
    );
    await t.rejects(ask(other, decision), { code: 'no-such-call' }, 'of another task');
    t.match(await d.tasks.stepUps.ask(task, { decision, reason: 'read the opening hours' }), {
      decision,
      call: { method: 'POST', path: '/admin/all' },
      action: 'write',
      destination: 'crm',
      rule: 'add-note',
      reason: 'read the opening hours',
    });
    for (let i = 0; i < REFUSED_LIMITS.perTask; i += 1) refusedCall(d, task);
    await t.rejects(ask(task, decision), { code: 'no-such-call' }, 'the oldest is forgotten');
    const first = refusedCall(d, other);
    for (let i = 0; i < REFUSED_LIMITS.perAgent; i += 1)
      refusedCall(d, d.tasks.open(intent(asked)).task);
    await t.rejects(ask(other, first), { code: 'no-such-call' }, 'and so it is for an agent');
  },
);

t.test('an approval lapses, and what lives on it is cut', async (t) => {
  const d = desk({}, stepUp({ maxCalls: 5 }));
  const { task } = d.tasks.open(intent(asked));
  await d.tasks.stepUps.approve((await asks(d, task)).id, OLGA);
  const running = member('long');
  t.equal(write(d, task, {}, running), 'granted');
  t.equal(judged(d, task, {}, running).code, 'granted');
  d.clock.pass(60_500);
  t.match(running.reasons, [/has lapsed/]);
  t.equal(write(d, task), 'step-up');
  t.match(d.events.at(-1), { event: 'step-up-lapsed' });
});

t.test(
  'a call that took the last use of an approval keeps it when it is decided again',
  async (t) => {
    const d = desk();
    const { task } = d.tasks.open(intent(asked));
    await d.tasks.stepUps.approve((await asks(d, task)).id, OLGA);
    const running = member('long');
    t.equal(write(d, task, {}, running), 'granted');
    t.equal(judged(d, task, {}, running).code, 'granted');
    t.equal(judged(d, task, {}).code, 'step-up');
  },
);

t.test(
  'an approval is for its action, its destination, its rule and its parameters alone',
  async (t) => {
    const d = desk({}, stepUp({ bound: true, maxCalls: 9 }));
    const { task } = d.tasks.open(intent(asked));
    await d.tasks.stepUps.approve((await asks(d, task, { digest: DIGEST })).id, OLGA);
    t.equal(write(d, task, { digest: DIGEST }), 'granted');
    t.equal(
      write(d, task, { digest: DIGEST.replace('A', 'B') }),
      'step-up',
      'parameters changed after the permit',
    );
    t.equal(write(d, task, { digest: DIGEST, by: 'delete' }), 'step-up');
    t.equal(write(d, task, { name: 'wiki', digest: DIGEST }), 'step-up');
    const loose = desk({}, stepUp({ maxCalls: 9 }));
    const free = loose.tasks.open(intent(asked)).task;
    await loose.tasks.stepUps.approve((await asks(loose, free)).id, OLGA);
    t.equal(write(loose, free, { digest: DIGEST }), 'granted', 'whatever its parameters');
    t.equal(write(loose, free, { by: 'delete' }), 'step-up', 'but of its rule');
    t.equal(write(loose, free, { name: 'wiki' }), 'step-up', 'and its destination');
  },
);

t.test('what is not read whole is not approved, and counts as no call', async (t) => {
  for (const given of [
    { bound: true },
    { bound: false, maxCalls: 3 },
    { bound: true, maxCalls: Infinity },
  ]) {
    const d = desk({}, stepUp(given));
    const { task } = d.tasks.open(intent(asked));
    t.match(
      judged(d, task, { reading: 'unread' }),
      { code: 'step-up', unread: 65_536 },
      'content is read first',
    );
    t.match(judged(d, task, { reading: 'long' }), {
      code: 'not-approvable',
      reason: /longer than the 65536 bytes/,
    });
    t.match(judged(d, task, { reading: 'never' }), {
      code: 'not-approvable',
      hint: /bound: false and uncounted/,
    });
    const digest = given.bound ? DIGEST : undefined;
    await d.tasks.stepUps.approve((await asks(d, task, { digest })).id, OLGA);
    for (const reading of ['unread', 'long', 'never'] as const)
      t.not(write(d, task, { reading }), 'granted', reading);
  }
  const d = desk({}, stepUp({ maxCalls: Infinity }));
  const { task } = d.tasks.open(intent(asked));
  t.match(judged(d, task, { reading: 'never', by: undefined }), {
    code: 'step-up',
    unread: undefined,
  });
  t.match(await d.tasks.stepUps.approve((await asks(d, task)).id, OLGA), { maxCalls: Infinity });
  for (const reading of ['never', 'whole', 'unread'] as const)
    t.equal(write(d, task, { reading }), 'granted');
  t.match(d.events.at(-1), { event: 'step-up-approved', detail: { maxCalls: 'unlimited' } });
});

t.test(
  'an approval can only be narrower than the policy, and comes from who the policy says',
  async (t) => {
    const d = desk({}, stepUp({ approvers: new Set(['webhook']), maxCalls: 3 }));
    const { task } = d.tasks.open(intent(asked));
    const { id } = await asks(d, task);
    await t.rejects(
      d.tasks.stepUps.approve(id, OLGA),
      { code: 'denied', hint: /webhook/ },
      'a local one is forbidden',
    );
    await d.tasks.stepUps.approve(id, {
      by: 'hook',
      as: 'webhook',
      ttl: 3_600_000,
      maxCalls: 1000,
    });
    t.match(task.approvals, [{ callsLeft: 3, until: d.clock.monotonic() + 60_000 }]);
    await t.rejects(
      d.tasks.stepUps.approve(id, { by: 'hook', as: 'webhook' }),
      { code: 'no-such-step-up' },
      'once',
    );
  },
);

t.test('policy may approve by itself, which leaves its record', async (t) => {
  const d = desk({}, stepUp({ approvers: new Set(['policy']) }));
  const { task } = d.tasks.open(intent(asked));
  t.equal((await asks(d, task)).state, 'approved');
  t.equal(write(d, task), 'granted');
  t.match(d.events.at(-1), { event: 'step-up-approved', detail: { as: 'policy' } });
});

t.test(
  'what is not in the grant, is free anyway, or is of an ended task cannot be asked for',
  async (t) => {
    const d = desk();
    const { task } = d.tasks.open(intent(asked));
    await t.rejects(asks(d, task, { action: 'admin' }), { code: 'denied', hint: /intent/ });
    await t.rejects(asks(d, task, { action: 'read' }), { message: /without a step-up/ });
    await t.rejects(asks(d, task, { destination: 'vault' }), { code: 'denied' });
    await t.rejects(asks(d, task, { digest: DIGEST }), {
      code: 'denied',
      message: /policy has changed/,
    });
    const { id } = await asks(d, task);
    const decision = refusedCall(d, task);
    d.tasks.end(task, 'completed', 'done');
    await t.rejects(d.tasks.stepUps.approve(id, OLGA), { code: 'no-such-step-up' });
    await t.rejects(d.tasks.stepUps.ask(task, { decision }), { code: /no-such-call|task-unknown/ });
    await t.rejects(d.tasks.stepUps.approve('s-nothing', OLGA), { code: 'no-such-step-up' });
  },
);

t.test('a question that nobody answers lapses', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent({ ...asked, lifetime: '15m' }));
  const { id } = await asks(d, task);
  t.equal(d.tasks.stepUps.pending().length, 1);
  d.clock.pass(STEP_UP_LIMITS.pendingMs + 500);
  t.equal(d.tasks.stepUps.get(id)?.state, 'lapsed');
  await t.rejects(d.tasks.stepUps.approve(id, OLGA), { code: 'no-such-step-up' });
});

t.test(
  'few questions wait at one time, for a task and for an agent; the same one waits once',
  async (t) => {
    const agents = [soleAgent('a'), soleAgent('b')];
    const d = desk({ agents }, stepUp({ bound: true }));
    const { waitingPerTask, waitingPerAgent } = STEP_UP_LIMITS;
    t.same([waitingPerTask, waitingPerAgent], [3, 10]);
    const open = (i = 0): Task => d.tasks.open(intent(asked), agents[i]).task;
    const fresh = (task: Task, n: number): Promise<unknown> =>
      asks(d, task, { digest: `sha-256:${n}` });
    const first = open();
    const one = await asks(d, first, { digest: DIGEST });
    t.equal((await asks(d, first, { digest: DIGEST })).id, one.id, 'asked again while it waits');
    for (let n = 1; n < waitingPerTask; n += 1) await fresh(first, n);
    await t.rejects(fresh(first, 9), { code: 'too-many', message: /3 questions of task/ });
    for (let n = waitingPerTask; n < waitingPerAgent; n += 1) await fresh(open(), n);
    await t.rejects(fresh(open(), 99), { code: 'too-many', message: /10 questions of agent a/ });
    await fresh(open(1), 1);
    d.tasks.stepUps.deny(one.id, { by: 'olga', why: 'no' });
    await fresh(first, 9);
  },
);

t.test('what was answered makes room, and all of it is bounded', async (t) => {
  const d = desk({}, stepUp({ approvers: new Set(['policy']) }));
  const open = (): Task => d.tasks.open(intent(asked)).task;
  const first = open();
  for (let i = 0; i < 3 * STEP_UP_LIMITS.perTask; i += 1) await asks(d, first);
  t.equal(d.tasks.stepUps.of(first).length, STEP_UP_LIMITS.perTask);
  for (
    let left = STEP_UP_LIMITS.all - STEP_UP_LIMITS.perTask;
    left > 0;
    left -= STEP_UP_LIMITS.perTask
  ) {
    const task = open();
    for (let i = 0; i < STEP_UP_LIMITS.perTask; i += 1) await asks(d, task);
  }
  await t.rejects(asks(d, open()), { code: 'too-many' });
  d.tasks.end(first, 'completed', 'done');
  await new Promise(setImmediate);
  t.equal((await asks(d, open())).state, 'approved', 'what a task asked goes with it');
});

t.test(
  'a refusal says who and why, and holds for the agent in every task until it lapses',
  async (t) => {
    const agents = [soleAgent('a'), soleAgent('b')];
    const d = desk({ agents }, stepUp({ bound: true }));
    const { task } = d.tasks.open(intent(asked), agents[0]);
    const { id } = await asks(d, task, { digest: DIGEST });
    const denied = d.tasks.stepUps.deny(id, { by: 'olga', why: 'not today' });
    t.match(denied, { state: 'denied', answeredBy: 'olga', answer: 'not today' });
    t.equal(write(d, task, { digest: DIGEST }), 'step-up');
    const again = d.tasks.open(intent(asked), agents[0]).task;
    for (const one of [task, again])
      await t.rejects(asks(d, one, { digest: DIGEST }), {
        code: 'denied',
        message: /olga has refused this: not today/,
        hint: /holds for 900 s, in every task/,
      });
    await asks(d, again, { digest: DIGEST.replace('A', 'B') });
    await asks(d, again, { digest: DIGEST, rule: 'other' });
    await asks(d, again, { digest: DIGEST, destination: 'wiki' });
    await asks(d, d.tasks.open(intent(asked), agents[1]).task, { digest: DIGEST });
    d.clock.pass(900_000);
    const later = d.tasks.open(intent(asked), agents[0]).task;
    const { id: next } = await asks(d, later, { digest: DIGEST });
    d.tasks.stepUps.deny(next, { by: 'olga', why: 'no', ttl: 5000 });
    await t.rejects(asks(d, later, { digest: DIGEST }), { code: 'denied', hint: /holds for 5 s/ });
    d.clock.pass(5000);
    t.equal((await asks(d, later, { digest: DIGEST })).state, 'pending');
  },
);

t.test(
  'an agent that was refused so often that a refusal could be forgotten asks no more',
  async (t) => {
    const d = desk({}, stepUp({ bound: true }));
    const { task } = d.tasks.open(intent(asked));
    for (let i = 0; i < MAX_DENIALS; i += 1)
      d.tasks.stepUps.deny((await asks(d, task, { digest: `sha-256:${i}` })).id, {
        by: 'olga',
        why: 'no',
      });
    await t.rejects(asks(d, task, { digest: DIGEST }), { code: 'too-many' });
  },
);

t.test(
  'what the policy no longer lets anybody approve is not approved, and what was approved so is taken back',
  async (t) => {
    const d = desk();
    const { task } = d.tasks.open(intent({ ...asked, targets: ['crm', 'wiki'] }));
    const approve = async (): Promise<string> => {
      const { id } = await asks(d, task);
      await d.tasks.stepUps.approve(id, OLGA);
      return id;
    };
    await approve();
    const running = member('long');
    t.equal(write(d, task, {}, running), 'granted');
    await approve();
    const { id } = await asks(d, task);
    d.policy.set(policyWith(stepUp({ approvers: new Set(['webhook']) })));
    await t.rejects(d.tasks.stepUps.approve(id, OLGA), { code: 'denied', hint: /webhook/ });
    t.same(task.approvals, [], 'it was approved by somebody who may not any more');
    t.match(running.reasons, [/no longer one/], 'and so was this, which is under way');
    await d.tasks.stepUps.approve(id, { by: 'hook', as: 'webhook' });
    const waits = await asks(d, task);
    d.policy.set(policyWith(stepUp({ approvers: new Set(['webhook']), bound: true })));
    t.same(task.approvals, [], 'it was for any parameters');
    await t.rejects(d.tasks.stepUps.approve(waits.id, { by: 'hook', as: 'webhook' }), {
      message: /has changed/,
    });
  },
);

t.test('what cannot be recorded is neither asked nor approved, and says so (R5)', async (t) => {
  let works = true;
  const recorded = (): Promise<void> =>
    works ? Promise.resolve() : Promise.reject(new Error('no space left'));
  const d = desk({ recorded });
  const { task } = d.tasks.open(intent(asked));
  const { id } = await asks(d, task);
  works = false;
  await t.rejects(d.tasks.stepUps.approve(id, OLGA), {
    code: 'audit-unavailable',
    message: /the approval could not be recorded, .*no space left/,
  });
  t.same(
    [task.approvals, write(d, task), d.tasks.stepUps.get(id)?.state],
    [[], 'step-up', 'pending'],
  );
  t.match(d.events.at(-1), {
    event: 'step-up-unanswered',
    detail: { stepUp: id, why: /no space left/ },
  });
  await t.rejects(asks(d, task, { destination: 'wiki' }), {
    code: 'audit-unavailable',
    message: /the question/,
  });
  t.equal(d.tasks.stepUps.of(task).length, 1, 'nor is it asked');
  works = true;
  t.equal((await d.tasks.stepUps.approve(id, OLGA)).state, 'approved');
  t.equal(write(d, task), 'granted');
});

t.test(
  'while an approval is being recorded nobody else answers, and a task that ends is not elevated',
  async (t) => {
    let settle = (): void => {};
    let slow = false;
    const recorded = (): Promise<void> =>
      slow ? new Promise((resolve) => (settle = resolve)) : Promise.resolve();
    const d = desk({ recorded });
    const { task } = d.tasks.open(intent(asked));
    const { id } = await asks(d, task);
    slow = true;
    const first = d.tasks.stepUps.approve(id, OLGA);
    t.equal(write(d, task), 'step-up', 'not before it stands in the evidence');
    await t.rejects(d.tasks.stepUps.approve(id, OLGA), { message: /is being answered/ });
    t.throws(() => d.tasks.stepUps.deny(id, { by: 'paul', why: 'no' }), {
      code: 'no-such-step-up',
    });
    d.tasks.end(task, 'revoked', 'by hand');
    settle();
    await t.rejects(first, { code: 'no-such-step-up' });
    t.same(task.approvals, []);
  },
);

t.test(
  'the words by which an approval was had, and those of the answer, stand in the records',
  async (t) => {
    const d = desk({}, stepUp({ bound: true }));
    const { task } = d.tasks.open(intent(asked));
    const { id } = await asks(d, task, { digest: DIGEST }, 'the customer asked');
    d.tasks.stepUps.deny(id, { by: 'olga', why: 'not today' });
    const about = {
      stepUp: id,
      action: 'write',
      destination: 'crm',
      rule: 'write',
      digest: DIGEST,
    };
    t.match(d.events.slice(1), [
      {
        event: 'step-up-asked',
        detail: { ...about, reason: 'the customer asked', call: 'POST crm.internal:80/v1/notes' },
      },
      { event: 'step-up-denied', detail: { ...about, by: 'olga', answer: 'not today' } },
    ]);
  },
);
