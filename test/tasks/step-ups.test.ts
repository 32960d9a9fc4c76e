import t from 'tap';
import { judgeGrant } from '../../lib/policy/grant.ts';
import { STEP_UP_LIMITS } from '../../lib/tasks/step-ups.ts';
import type { Task } from '../../lib/tasks/task.ts';
import { desk, intent, member, policyWith, rule, STEP_UP, type Desk } from './fixture.ts';

const CLASSES = ['public', 'internal', 'confidential', 'restricted'];
const DIGEST = `sha-256:${'A'.repeat(43)}`;
const asked = { targets: ['crm', 'wiki'], actions: ['read', 'write'] };

function write(
  { tasks, policy }: Desk,
  task: Task,
  given: { name?: string; digest?: string; id?: string } = {},
): string {
  const destination = policy.get()?.byName.get(given.name ?? 'crm');
  if (destination === undefined) throw new TypeError('no such destination');
  const verdict = judgeGrant(task.facts(CLASSES), {
    destination,
    host: 'crm.internal',
    port: 80,
    action: 'write',
    digest: () => given.digest,
  });
  if (verdict.code !== 'granted') return verdict.code;
  const one = member(given.id ?? 'x');
  task.enter(one);
  tasks.claim(one, { task, destination, action: 'write', elevation: verdict.elevation });
  task.leave(one);
  return 'granted';
}

t.test('read-only until somebody approves, then for one call, then read-only again', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent(asked));
  t.equal(write(d, task), 'step-up');
  const { id, state, approvers } = d.tasks.stepUps.ask(task, { action: 'write', reason: 'the customer asked' });
  t.same([state, approvers], ['pending', ['operator']]);
  t.equal(write(d, task), 'step-up', 'asking alone changes nothing');
  t.match(d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' }), { state: 'approved', answeredBy: 'olga' });
  t.equal(write(d, task), 'granted');
  t.equal(write(d, task), 'step-up');
  t.same(
    d.events.map(({ event }) => event),
    ['opened', 'step-up-asked', 'step-up-approved'],
  );
});

t.test('an approval lapses, and what lives on it is cut', async (t) => {
  const d = desk({}, rule({ stepUp: [{ ...STEP_UP, uses: 5 }] }));
  const { task } = d.tasks.open(intent(asked));
  const { id } = d.tasks.stepUps.ask(task, { action: 'write' });
  d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' });
  const destination = d.policy.get()?.byName.get('crm');
  if (destination === undefined) return;
  const running = member('long');
  task.enter(running);
  d.tasks.claim(running, { task, destination, action: 'write', elevation: task.facts(CLASSES).elevations[0] });
  t.equal(
    judgeGrant(task.facts(CLASSES, running), {
      destination,
      host: 'crm.internal',
      port: 80,
      action: 'write',
      digest: () => undefined,
    }).code,
    'granted',
  );
  d.clock.pass(60_500);
  t.match(running.reasons, [/has lapsed/]);
  t.equal(write(d, task), 'step-up');
  t.match(d.events.at(-1), { event: 'step-up-lapsed' });
});

t.test('a call that took the last use of an approval keeps it when it is decided again', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent(asked));
  d.tasks.stepUps.approve(d.tasks.stepUps.ask(task, { action: 'write' }).id, { by: 'olga', as: 'operator' });
  const destination = d.policy.get()?.byName.get('crm');
  if (destination === undefined) return;
  const running = member('long');
  task.enter(running);
  d.tasks.claim(running, { task, destination, action: 'write', elevation: task.facts(CLASSES).elevations[0] });
  t.equal(
    judgeGrant(task.facts(CLASSES, running), {
      destination,
      host: 'crm.internal',
      port: 80,
      action: 'write',
      digest: () => undefined,
    }).code,
    'granted',
  );
  t.equal(
    judgeGrant(task.facts(CLASSES), {
      destination,
      host: 'crm.internal',
      port: 80,
      action: 'write',
      digest: () => undefined,
    }).code,
    'step-up',
  );
});

t.test('an approval is for its action, its destination and its parameters alone', async (t) => {
  const d = desk({}, rule({ stepUp: [{ ...STEP_UP, bound: true, uses: 9 }] }));
  const { task } = d.tasks.open(intent(asked));
  t.throws(() => d.tasks.stepUps.ask(task, { action: 'write' }), { code: 'malformed', at: 'digest', hint: /digest/ });
  const { id } = d.tasks.stepUps.ask(task, { action: 'write', destination: 'crm', digest: DIGEST });
  d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' });
  t.equal(write(d, task, { digest: DIGEST }), 'granted');
  t.equal(
    write(d, task, { digest: DIGEST.replace('A', 'B') }),
    'step-up',
    'parameters changed after the permit (B-56)',
  );
  t.equal(write(d, task), 'step-up', 'parameters that cannot be read');
  t.equal(write(d, task, { name: 'wiki', digest: DIGEST }), 'step-up');
});

t.test('an approval can only be narrower than the policy, and comes from who the policy says', async (t) => {
  const d = desk({}, rule({ stepUp: [{ ...STEP_UP, approvers: new Set(['webhook']), uses: 3 }] }));
  const { task } = d.tasks.open(intent(asked));
  const { id } = d.tasks.stepUps.ask(task, { action: 'write' });
  t.throws(
    () => d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' }),
    { code: 'denied', hint: /webhook/ },
    'a local approval is forbidden',
  );
  d.tasks.stepUps.approve(id, { by: 'hook', as: 'webhook', lasts: 3_600_000, uses: 1000 });
  t.match(task.elevations, [{ uses: 3, until: d.clock.monotonic() + 60_000 }]);
  t.throws(() => d.tasks.stepUps.approve(id, { by: 'hook', as: 'webhook' }), { code: 'no-such-step-up' }, 'once');
});

t.test('policy may approve by itself, which leaves its record', async (t) => {
  const d = desk({}, rule({ stepUp: [{ ...STEP_UP, approvers: new Set(['policy']) }] }));
  const { task } = d.tasks.open(intent(asked));
  t.equal(d.tasks.stepUps.ask(task, { action: 'write' }).state, 'approved');
  t.equal(write(d, task), 'granted');
  t.match(d.events.at(-1), { event: 'step-up-approved', detail: { as: 'policy' } });
});

t.test('what is not in the grant, is free anyway, or is of an ended task cannot be asked for', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent(asked));
  t.throws(() => d.tasks.stepUps.ask(task, { action: 'admin' }), { code: 'denied', hint: /intent/ });
  t.throws(() => d.tasks.stepUps.ask(task, { action: 'read' }), { message: /without a step-up/ });
  t.throws(() => d.tasks.stepUps.ask(task, { action: 'write', destination: 'vault' }), { code: 'denied' });
  const { id } = d.tasks.stepUps.ask(task, { action: 'write' });
  d.tasks.end(task, 'completed', 'done');
  t.throws(() => d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' }), { code: 'no-such-step-up' });
  t.throws(() => d.tasks.stepUps.ask(task, { action: 'write' }), { code: 'task-unknown' });
  t.throws(() => d.tasks.stepUps.approve('s-nothing', { by: 'olga', as: 'operator' }), { code: 'no-such-step-up' });
});

t.test('a question that nobody answers lapses, and one task cannot ask without end', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent({ ...asked, lifetime: '15m' }));
  const { id } = d.tasks.stepUps.ask(task, { action: 'write' });
  t.equal(d.tasks.stepUps.pending().length, 1);
  d.clock.pass(STEP_UP_LIMITS.pendingMs + 500);
  t.equal(d.tasks.stepUps.get(id)?.state, 'lapsed');
  t.throws(() => d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' }), { code: 'no-such-step-up' });
  for (let i = 0; i < STEP_UP_LIMITS.perTask; i += 1) d.tasks.stepUps.ask(task, { action: 'write' });
  t.throws(() => d.tasks.stepUps.ask(task, { action: 'write' }), { code: 'too-many' });
});

t.test('what was answered makes room, task by task, and all of it is bounded', async (t) => {
  const d = desk({}, rule({ stepUp: [{ ...STEP_UP, approvers: new Set(['policy']) }] }));
  const open = (): Task => d.tasks.open(intent(asked)).task;
  const first = open();
  for (let i = 0; i < 3 * STEP_UP_LIMITS.perTask; i += 1) d.tasks.stepUps.ask(first, { action: 'write' });
  t.equal(d.tasks.stepUps.of(first).length, STEP_UP_LIMITS.perTask);
  for (let left = STEP_UP_LIMITS.all - STEP_UP_LIMITS.perTask; left > 0; left -= STEP_UP_LIMITS.perTask) {
    const task = open();
    for (let i = 0; i < STEP_UP_LIMITS.perTask; i += 1) d.tasks.stepUps.ask(task, { action: 'write' });
  }
  t.throws(() => d.tasks.stepUps.ask(open(), { action: 'write' }), { code: 'too-many' });
  d.tasks.end(first, 'completed', 'done');
  await new Promise(setImmediate);
  t.equal(d.tasks.stepUps.ask(open(), { action: 'write' }).state, 'approved', 'what a task asked goes with it');
});

t.test(
  'what the policy no longer lets anybody approve is not approved, and what was approved so is taken back',
  async (t) => {
    const d = desk();
    const { task } = d.tasks.open(intent({ ...asked, targets: ['crm', 'wiki'] }));
    const approve = (): string => {
      const { id } = d.tasks.stepUps.ask(task, { action: 'write' });
      d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' });
      return id;
    };
    approve();
    const destination = d.policy.get()?.byName.get('crm');
    if (destination === undefined) return;
    const running = member('long');
    task.enter(running);
    d.tasks.claim(running, { task, destination, action: 'write', elevation: task.facts(CLASSES).elevations[0] });
    approve();
    const { id } = d.tasks.stepUps.ask(task, { action: 'write' });
    d.policy.set(policyWith(rule({ stepUp: [{ ...STEP_UP, approvers: new Set(['webhook']) }] })));
    t.throws(() => d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' }), { code: 'denied', hint: /webhook/ });
    t.same(task.elevations, [], 'it was approved by somebody who may not any more');
    t.match(running.reasons, [/no longer one/], 'and so was this, which is under way');
    d.tasks.stepUps.approve(id, { by: 'hook', as: 'webhook' });
    d.policy.set(policyWith(rule({ stepUp: [{ ...STEP_UP, approvers: new Set(['webhook']), bound: true }] })));
    t.same(task.elevations, [], 'it was for any parameters');
  },
);

t.test('an approval that cannot be recorded is taken back (R5)', async (t) => {
  let works = true;
  const recorded = (): Promise<void> => (works ? Promise.resolve() : Promise.reject(new Error('no space left')));
  const d = desk({ recorded });
  const { task } = d.tasks.open(intent(asked));
  const { id } = d.tasks.stepUps.ask(task, { action: 'write' });
  works = false;
  d.tasks.stepUps.approve(id, { by: 'olga', as: 'operator' });
  await new Promise(setImmediate);
  t.same(task.elevations, []);
  t.equal(write(d, task), 'step-up');
});

t.test('a refusal says who and why', async (t) => {
  const d = desk();
  const { task } = d.tasks.open(intent(asked));
  const { id } = d.tasks.stepUps.ask(task, { action: 'write' });
  t.match(d.tasks.stepUps.deny(id, 'olga', 'not today'), { state: 'denied', answeredBy: 'olga', answer: 'not today' });
  t.equal(write(d, task), 'step-up');
});
