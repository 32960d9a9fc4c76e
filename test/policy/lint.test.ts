import fc from 'fast-check';
import t from 'tap';
import { conditions, type Condition } from '../../lib/policy/conditions.ts';
import { decide } from '../../lib/policy/decide.ts';
import { lintPolicy } from '../../lib/policy/lint.ts';
import type { Destination, Rule } from '../../lib/policy/model.ts';
import { destination, policy, request, rule } from './destination.ts';

const setting = { identity: 'x', forward: true };
const compiler = conditions(['public', 'internal']);
const when = (text: string): Condition => compiler.compile(text, 'request');

function lint(...destinations: readonly Destination[]): readonly string[] {
  return lintPolicy(policy(...destinations), setting).map(({ code, about, message }) => `${code} ${about}: ${message}`);
}
const rules = (...all: readonly Rule[]): readonly string[] => lint(destination('crm', { rules: all }));

t.test('a rule that can never decide is named, with what takes it away', async (t) => {
  const read = rule('read', 'allow', { methods: ['GET'], paths: ['/a/b'] });
  const all = rule('all', 'allow', { paths: ['/a/**'] });
  const deny = rule('none', 'deny', { paths: ['/a/**'] });
  const about = (name: string): string => `rule ${name} of destination crm`;
  t.same(rules(read), []);
  t.same(rules(read, all), [], 'the narrow one first');
  t.same(rules(all, read), [
    `shadowed-rule ${about('read')}: allow rule all before it allows all that it is about: it never decides`,
  ]);
  t.same(rules(read, deny), [`dead-rule ${about('read')}: deny rule none takes away all that it allows`]);
  t.same(rules(deny, rule('again', 'deny', { paths: ['/a/b/**'] }), rule('x', 'allow', { paths: ['/c'] })), [
    `shadowed-rule ${about('again')}: deny rule none before it denies all that it is about: it never decides`,
  ]);
  const never = rule('never', 'allow', { when: when('request.port == 80 && 1 == 2') });
  t.same(rules(never), [`dead-rule ${about('never')}: its condition is always false: it never matches`]);
  t.same(rules(rule('always', 'deny', { when: when('true || request.port == 80') })), [
    `constant-condition ${about('always')}: its condition is always true`,
  ]);
  const db = destination('db', { protocol: 'tcp', when: compiler.compile('1 == 2', 'connect') });
  t.match(lint(db), [/^constant-condition destination db: .*always false/]);
  const sometimes = rule('sometimes', 'deny', { paths: ['/a/**'], when: when('request.port == 81') });
  t.same(rules(sometimes, read), [], 'a condition may not hold');
});

t.test(
  'a destination that nothing reaches, and one of a name that anybody points anywhere (S8), are named',
  async (t) => {
    const read = rule('read', 'allow');
    t.match(lintPolicy(policy(destination('crm', { rules: [read] })), { ...setting, forward: false }), [
      { code: 'dead-destination', message: /nothing leads to it/ },
    ]);
    t.match(lint(destination('crm', { rules: [read], task: 'required' })), [/^dead-destination .*for tasks alone/]);
    t.match(lint(destination('crm', { rules: [read], hosts: ['10.0.0.1.nip.io', 'a.internal'] })), [
      /^rebinding-name .*nip\.io/,
    ]);
  },
);

t.test('a rule that is called dead or shadowed never decides (property)', async (t) => {
  const path = fc.constantFrom('/a', '/a/b', '/a/**', '/**', '/*', '/a/*');
  const one = fc.record({
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    paths: fc.uniqueArray(path, { minLength: 1, maxLength: 2 }),
    methods: fc.option(fc.uniqueArray(fc.constantFrom('GET', 'POST'), { minLength: 1 }), { nil: undefined }),
  });
  let named = 0;
  fc.assert(
    fc.property(fc.array(one, { maxLength: 5 }), fc.constantFrom('/', '/a', '/a/b', '/a/b/c', '/c'), (all, asked) => {
      const of = policy(
        destination('crm', {
          rules: all.map(({ effect, paths, methods }, i) =>
            rule(`r${i}`, effect, { paths, ...(methods && { methods }) }),
          ),
        }),
      );
      const never = lintPolicy(of, setting).map(({ about }) => /^rule (\S+)/.exec(about)?.[1]);
      named += never.length;
      return ['GET', 'POST', 'TRACE'].every((method) => {
        const { rule: decided } = decide(of, request({ method, path: asked }));
        return decided === undefined || !never.includes(decided);
      });
    }),
    { numRuns: 1000 },
  );
  t.ok(named > 100, `${named} were named`);
});
