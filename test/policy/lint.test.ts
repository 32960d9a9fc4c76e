import type { Protocol } from '../../lib/policy/protocols/index.ts';
import type { McpRule } from '../../lib/policy/protocols/mcp-service.ts';
import fc from 'fast-check';
import t from 'tap';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { decide } from '../../lib/policy/decision/decide.ts';
import type { Condition } from '../../lib/policy/model/condition.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import type { Rule } from '../support/service.ts';
import { lintPolicy, notesOn } from '../../lib/policy/review/lint.ts';
import { destination, policy, request, rule } from './destination.ts';

const setting = { identity: 'x', forward: true };
const compiler = conditions(['public', 'internal']);
const when = (text: string): Condition => compiler.compile(text, 'request');

function lint(...destinations: readonly Destination[]): readonly string[] {
  return lintPolicy(policy(...destinations), setting).map(
    ({ code, about, message }) => `${code} ${about}: ${message}`,
  );
}
const rules = (...all: readonly Rule[]): readonly string[] =>
  lint(destination('crm', { rules: all }));

t.test('a rule that can never decide is named, with what takes it away', async (t) => {
  const read = rule('read', 'allow', { methods: ['GET'], paths: ['/a/b'] });
  const all = rule('all', 'allow', { paths: ['/a/**'] });
  const deny = rule('none', 'deny', { paths: ['/a/**'] });
  const about = (name: string): string => `rule ${name} of destination crm`;
  t.same(rules(read), []);
  t.same(rules(read, all), [], 'the narrow one first');
  t.same(rules(all, read), [
    `shadowed-rule ${about('read')}: allow rule all before it allows all that it is about: ` +
      'it never decides',
  ]);
  t.same(rules(read, deny), [
    `dead-rule ${about('read')}: deny rule none takes away all that it allows`,
  ]);
  t.same(
    rules(
      deny,
      rule('again', 'deny', { paths: ['/a/b/**'] }),
      rule('x', 'allow', { paths: ['/c'] }),
    ),
    [
      `shadowed-rule ${about('again')}: deny rule none before it denies all that it is ` +
        'about: it never decides',
    ],
  );
  const never = rule('never', 'allow', { when: when('request.port == 80 && 1 == 2') });
  t.same(rules(never), [
    `dead-rule ${about('never')}: its condition is always false: it never matches`,
  ]);
  t.same(rules(rule('always', 'deny', { when: when('true || request.port == 80') })), [
    `constant-condition ${about('always')}: its condition is always true`,
  ]);
  const db = destination('db', { protocol: 'tcp', when: compiler.compile('1 == 2', 'connect') });
  t.match(lint(db), [/^constant-condition destination db: .*always false/]);
  const sometimes = rule('sometimes', 'deny', {
    paths: ['/a/**'],
    when: when('request.port == 81'),
  });
  t.same(rules(sometimes, read), [], 'a condition may not hold');
});

t.test(
  'a destination that nothing reaches, and one of a name that anybody points anywhere (S8), are named',
  async (t) => {
    const read = rule('read', 'allow');
    t.match(
      lintPolicy(policy(destination('crm', { rules: [read] })), { ...setting, forward: false }),
      [{ code: 'dead-destination', message: /nothing leads to it/ }],
    );
    t.match(lint(destination('crm', { rules: [read], task: 'required' })), [
      /^dead-destination .*for tasks alone/,
    ]);
    t.match(lint(destination('crm', { rules: [read], hosts: ['10.0.0.1.nip.io', 'a.internal'] })), [
      /^rebinding-name .*nip\.io/,
    ]);
  },
);

t.test('a rule over what was read that lets GET, or other messages, pass is named', async (t) => {
  const history = when('rank(task.read) > rank(destination.dataClass)');
  const secret = destination('crm', { dataClass: 'internal', rules: [rule('read', 'allow')] });
  const under = (protocol: Protocol, ...rules: readonly Rule[]): readonly string[] =>
    lint(secret, destination('forum', { dataClass: 'public', protocol, rules })).filter((one) =>
      one.startsWith('flow-leak'),
    );
  const at = (...all: readonly Rule[]): readonly string[] => under('http', ...all);
  const read = rule('read', 'allow', { methods: ['GET'] });
  const post = rule('post', 'allow', { methods: ['POST'] });
  const stops = (match: Parameters<typeof rule>[2] = {}, text = history): Rule => ({
    ...rule('no-leak', 'deny', match),
    when: text,
  });
  const leak =
    /^flow-leak rule no-leak of destination forum: .* rule read still allows GET or HEAD/;
  t.same(at(read, post), [], 'no flow is meant');
  t.same(at(stops(), read, post), []);
  t.match(at(stops({ methods: ['POST', 'PUT'] }), read, post), [leak]);
  t.match(at(stops({}, when('request.method != "GET" && rank(task.read) > 0')), read, post), [
    leak,
  ]);
  t.match(at(stops({ paths: ['/upload/**'] }), read), [leak]);
  t.match(at({ ...post, when: history }, read), [
    /^flow-leak rule post .* rule read still allows GET/,
  ]);
  t.same(at(stops({ methods: ['POST'] }), post), [], 'nothing but what is stopped is allowed');
  t.same(at(stops({ methods: ['POST'] }), { ...read, when: history }, post), []);
  const says = (tools: readonly string[], more: Partial<McpRule> = {}): McpRule => ({
    name: 'no-leak',
    effect: 'deny',
    action: undefined,
    when: history,
    mcp: { tools: new Set(tools), prompts: new Set(), resources: [], methods: new Set() },
    ...more,
  });
  const use: McpRule = {
    ...says(['*']),
    name: 'use',
    effect: 'allow',
    action: 'write',
    when: undefined,
  };
  t.match(under('mcp', says(['post']), use), [
    /^flow-leak .* rule use still allows messages that carry data out/,
  ]);
  t.same(under('mcp', says(['*']), use), []);
  t.same(
    lint(destination('crm', { dataClass: 'public', rules: [stops({ methods: ['POST'] }), read] })),
    [],
    'there is nothing of a higher class',
  );
});

t.test('a rule that is called dead or shadowed never decides (property)', async (t) => {
  const path = fc.constantFrom('/a', '/a/b', '/a/**', '/**', '/*', '/a/*');
  const one = fc.record({
    effect: fc.constantFrom('allow' as const, 'deny' as const),
    paths: fc.uniqueArray(path, { minLength: 1, maxLength: 2 }),
    methods: fc.option(fc.uniqueArray(fc.constantFrom('GET', 'POST'), { minLength: 1 }), {
      nil: undefined,
    }),
  });
  let named = 0;
  fc.assert(
    fc.property(
      fc.array(one, { maxLength: 5 }),
      fc.constantFrom('/', '/a', '/a/b', '/a/b/c', '/c'),
      (all, asked) => {
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
      },
    ),
    { numRuns: 1000 },
  );
  t.ok(named > 100, `${named} were named`);
});

t.test(
  'a deny rule over the path as text is named: an escape gets past it; a pattern with a parameter does not',
  async (t) => {
    const text = rule('no-purge', 'deny', { when: when('request.path.endsWith(":purge")') });
    t.match(rules(text), [
      /^path-as-text rule no-purge of destination crm: its condition compares request\.path as text/,
    ]);
    const pattern = rule('no-purge', 'deny', { paths: ['/v1/{name}:purge'] });
    t.same(rules(pattern, rule('rest', 'allow')), []);
    const site = policy(destination('crm', { rules: [pattern, rule('rest', 'allow')] }));
    for (const path of ['/v1/x:purge', '/v1/x%3Apurge'])
      t.equal(decide(site, request({ path })).effect, 'deny', path);
  },
);

t.test('patterns with parameters include, and meet, what they match', async (t) => {
  const all = rule('all', 'allow', { paths: ['/v1/{name}:publish', '/v1/*/x', '/v1/{a}.{b}'] });
  const shadowed = (path: string): number =>
    rules(all, rule('one', 'allow', { paths: [path] })).length;
  for (const path of [
    '/v1/a:publish',
    '/v1/{topic}:publish',
    '/v1/a.json/x',
    '/v1/{sid}.json/x',
    '/v1/{x}.{y}',
  ])
    t.equal(shadowed(path), 1, path);
  for (const path of ['/v1/a', '/v1/{topic}:purge', '/v1/a.', '/v1/{a}'])
    t.equal(shadowed(path), 0, path);
  const dead = rules(
    rule('read', 'allow', { paths: ['/v1/{sid}.json'] }),
    rule('none', 'deny', { paths: ['/v1/*'] }),
  );
  t.match(dead, [/^dead-rule rule read/]);
});

t.test(
  'a destination of a kind whose names have slashes is told of the key that keeps them',
  async (t) => {
    const notes = (host: string, paths?: Destination['paths']): readonly string[] =>
      notesOn(policy(destination('x', { hosts: [host], paths }))).map(
        ({ message, fix }) => `${message}; ${fix}`,
      );
    for (const host of [
      'registry.npmjs.org',
      'npm.corp.example',
      'gitlab.com',
      'gitlab.corp.example',
    ])
      t.match(
        notes(host),
        [/%2F.*, which is refused; if it is to pass, write paths: \{ encodedSlash: keep \}/],
        host,
      );
    t.same(notes('gitlab.com', { encodedSlash: true, emptySegments: false }), []);
    t.same(notes('api.example.com'), []);
  },
);
