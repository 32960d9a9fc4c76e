import fc from 'fast-check';
import t from 'tap';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { ConditionContext } from '../../lib/policy/conditions/scope.ts';
import { constantOf, trace } from '../../lib/policy/conditions/trace.ts';
import { decide } from '../../lib/policy/decision/decide.ts';
import type { Condition } from '../../lib/policy/model/condition.ts';
import { explain } from '../../lib/policy/review/explain.ts';
import { connection, destination, policy, request, rule } from './destination.ts';

const compiler = conditions(['public', 'internal']);
const when = (text: string): Condition => compiler.compile(text, 'request');
const crm = destination('crm');
const context =
  (query = ''): (() => ConditionContext) =>
  () =>
    new ConditionContext(request({ query }), crm, undefined);

t.test('each rule is told in the order in which it is read, with what became of it', async (t) => {
  const of = policy(
    destination('crm', {
      rules: [
        rule('late', 'allow'),
        rule('early', 'allow', { when: when('task.uses < 3') }),
        rule('exports', 'deny', { paths: ['/export/**'] }),
        rule('forced', 'deny', { when: when('request.param("force").size() > 0') }),
        rule('posts', 'allow', { methods: ['POST'] }),
      ].toReversed(),
    }),
  );
  const { decision, steps, row } = explain(of, request());
  t.match(decision, { effect: 'allow', rule: 'late' });
  t.equal(row?.outcome, 'request');
  t.same(
    steps.map((one) => [one.rule, one.outcome, one.why]),
    [
      ['forced', 'holds not', undefined],
      ['exports', 'matches not', 'it is about other paths'],
      ['posts', 'matches not', 'it is about other methods'],
      ['early', 'no answer', 'something that it reads is not known here'],
      ['late', 'decides', undefined],
    ],
  );
  const denied = explain(of, request({ query: '?force' }));
  t.same(
    denied.steps.map(({ outcome }) => outcome),
    ['decides', 'not read', 'not read', 'not read', 'not read'],
  );
  t.same(explain(of, request({ host: 'other.internal' })).steps, []);
  const timed = destination('db', {
    protocol: 'tcp',
    when: compiler.compile('request.port == 80 && request.host == "x"', 'connect'),
  });
  t.match(explain(policy(timed), connection({ host: 'db.internal' })), {
    decision: { effect: 'deny', code: 'no-rule-matched' },
    condition: { answer: 'false', parts: [{ answer: 'true' }, { answer: 'false' }] },
    steps: [],
  });
  t.same(
    explain(policy(destination('tcp', { protocol: 'tcp' })), connection({ host: 'tcp.internal' }))
      .steps,
    [],
  );
});

t.test('a condition is told part by part; what reads nothing is constant', async (t) => {
  const told = trace(
    when('request.port == 80 && (request.port == 81 || !has(request.path)) && task.uses == 1'),
    context(),
  );
  t.match(told, {
    answer: 'false',
    parts: [
      { text: 'request.port == 80', answer: 'true', parts: [] },
      {
        answer: 'false',
        parts: [{ text: 'request.port == 81', answer: 'false' }, { parts: [{ answer: 'true' }] }],
      },
      { text: 'task.uses == 1', answer: /not known here/ },
    ],
  });
  const cases: readonly (readonly [string, boolean | undefined])[] = [
    ['true', true],
    ['1 > 2', false],
    ['request.port == 80', undefined],
    ['request.port == 80 || 1 == 1', true],
    ['request.port == 80 && 1 == 2', false],
    ['!(request.port == 80 && false)', true],
    ['request.port == 80 ? true : 1 == 1', true],
    ['true ? request.port == 80 : false', undefined],
    ['request.port == 80 && true', undefined],
  ];
  for (const [text, wanted] of cases) t.equal(constantOf(when(text), context()()), wanted, text);
});

t.test(
  'an explanation is the decision: the step that decides is the rule of the decision (property)',
  async (t) => {
    const texts = [
      undefined,
      'request.port == 80',
      'request.port == 81',
      'task.uses == 1',
      'request.path == "/a" || task.uses == 1',
    ];
    const one = fc.record({
      effect: fc.constantFrom('allow' as const, 'deny' as const),
      path: fc.constantFrom('/a', '/b', '/**'),
      text: fc.constantFrom(...texts),
    });
    let decided = 0;
    fc.assert(
      fc.property(
        fc.array(one, { maxLength: 6 }),
        fc.constantFrom('/a', '/b', '/c'),
        (rules, path) => {
          const all = rules.map(({ effect, path: pattern, text }, i) =>
            rule(`r${i}`, effect, {
              paths: [pattern],
              ...(text === undefined ? undefined : { when: when(text) }),
            }),
          );
          const of = policy(destination('crm', { rules: all }));
          const { decision, steps } = explain(of, request({ path }));
          const direct = decide(of, request({ path }));
          const deciding = steps.filter(({ outcome }) => outcome === 'decides');
          if (deciding.length > 0) decided += 1;
          return (
            decision.reason === direct.reason &&
            steps.length === all.length &&
            deciding.length === (direct.rule === undefined ? 0 : 1) &&
            deciding[0]?.rule === direct.rule
          );
        },
      ),
    );
    t.ok(decided > 20, `${decided} were decided by a rule`);
  },
);
