/** What conditions may cost: in units, the same on every machine, and in CPU time of this one. */
import t from 'tap';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { ConditionContext } from '../../lib/policy/conditions/scope.ts';
import { CONDITION_LIMITS, FUNCTIONS, METHODS } from '../../lib/policy/conditions/variables.ts';
import type { Answer } from '../../lib/policy/model/condition.ts';
import type { Facts } from '../../lib/policy/model/facts.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { isObject } from '../../lib/schema/json.ts';
import { destination, request } from './destination.ts';
import { CONDITIONS, worstArguments } from './plausible.ts';

const compiler = conditions(['public', 'secret']);
const crm = destination('crm', { dataClass: 'secret' });

function call(args: object): Facts {
  const value = parseJson(Buffer.from(JSON.stringify(args)), { data: true });
  if (!isObject(value)) throw new TypeError('arguments are an object');
  const none = {
    prompt: undefined,
    resource: undefined,
    argsDigest: undefined,
    definition: undefined,
  };
  return {
    ...request({ query: `?${'a=b%41&'.repeat(250)}` }),
    mcp: {
      version: '2025-11-25',
      kind: 'request',
      method: 'tools/call',
      tool: 'pay',
      args: value,
      ...none,
    },
  };
}

interface Asked {
  readonly answer: Answer;
  /** Units that it took. */
  readonly work: number;
}

function ask(text: string, args: object): Asked {
  const context = new ConditionContext(call(args), crm, undefined);
  const answer = compiler.compile(text, 'mcp').evaluate(context);
  return { answer, work: CONDITION_LIMITS.work - context.work };
}

const problem = ({ answer }: Asked): string =>
  typeof answer === 'boolean' ? String(answer) : answer.problem;
const MUCH = 'it takes more work than one decision may';

t.test(
  'past the work of one decision there is no answer, whatever the operators make of errors',
  async (t) => {
    const much = {
      list: Array.from({ length: 1500 }, () => 'a'.repeat(100)),
      text: 'é'.repeat(6000),
      one: true,
    };
    for (const dear of [
      'args.list.exists(i, (args.text + i).lowerAscii() == "x")',
      'args.list.all(i, (args.text + i).lowerAscii() != "x")',
      'args.list.map(i, (args.text + i).lowerAscii()).size() == 0',
    ]) {
      t.equal(problem(ask(dear, much)), MUCH, dear);
      t.ok(ask(dear, much).work < 2 * CONDITION_LIMITS.work, 'nothing is done any more');
      t.equal(problem(ask(`${dear} || true`, much)), MUCH);
      t.equal(problem(ask(`true || ${dear}`, much)), 'true', 'what is not evaluated costs nothing');
      t.equal(problem(ask(`!(${dear} && false)`, much)), MUCH);
      t.equal(
        problem(ask(`args.list.exists(i, ${'args.one'}) && (${dear} || args.one)`, much)),
        MUCH,
      );
    }
    const context = new ConditionContext(call(much), crm, undefined);
    const dear = compiler.compile(
      'args.list.exists(i, (args.text + i).lowerAscii() == "x")',
      'mcp',
    );
    t.type(dear.evaluate(context), 'object');
    const next = compiler.compile('args.one == true', 'mcp').evaluate(context);
    t.match(next, { problem: MUCH }, 'the conditions of one decision share it');
  },
);

t.test('the same work is counted each time, and more of it for more to be read', async (t) => {
  const less = { sql: 'a'.repeat(4000), tags: ['a', 'b'], kind: 'a' };
  const more = { sql: 'a'.repeat(40_000), tags: ['a', 'b', 'c', 'd', 'e', 'f'], kind: 'a' };
  for (const text of [
    'args.sql.lowerAscii() == "x"',
    'args.sql.contains("x")',
    'args.sql.matches("^(a+)+$")',
    'args.sql + "x" == "x"',
    'args.sql == args.sql + ""',
    'args.sql.size() > 5',
    'args.sql.startsWith(args.sql)',
    'args.sql.endsWith(args.sql)',
    'args.sql < args.sql',
    '"x" in args.tags',
    'args.tags == args.tags.map(t, t)',
    'args.tags.all(t, t != "x")',
    'args.tags + args.tags == []',
  ]) {
    const one = ask(text, less).work;
    t.equal(ask(text, less).work, one, text);
    t.ok(ask(text, more).work > one, text);
  }
});

t.test('what does not change in a loop is evaluated once', async (t) => {
  const args = { tags: Array.from({ length: 1000 }, (_, i) => `t${i}`), kind: 'A'.repeat(10_000) };
  const { answer, work } = ask('args.tags.exists(t, t == args.kind.lowerAscii())', args);
  t.equal(answer, false);
  t.ok(work < 10_000, `${work} units`);
  t.equal(
    ask(
      'args.tags.exists(t, t == "t5" && args.tags.exists(u, u == "t6"))'.replace(/ && .*\)\)/, ')'),
      args,
    ).answer,
    true,
  );
  t.equal(ask('args.tags.all(t, args.tags[0] == "t0" && t != args.kind)', args).answer, true);
  t.match(ask('args.tags.exists(t, args.missing == t)', { tags: ['a', 'b'] }).answer, {
    problem: 'a key that it reads is not there',
  });
});

t.test('every function and method that can be called has a price', async (t) => {
  const receivers = ['args.sql', 'args.tags', 'request.time', 'request'];
  const bodies = ['', '"x"', 't, t == "x"', '"2026-01-31T00:00:00Z"', '"90s"', 'args.sql'];
  const loads = (texts: readonly string[]): boolean =>
    texts.some((text) => {
      try {
        compiler.compile(`dyn(${text}) == dyn("x")`, 'mcp');
        return true;
      } catch {
        return false;
      }
    });
  for (const name of METHODS.keys())
    t.ok(loads(receivers.flatMap((of) => bodies.map((body) => `${of}.${name}(${body})`))), name);
  for (const name of FUNCTIONS.keys()) t.ok(loads(bodies.map((body) => `${name}(${body})`)), name);
});

t.test('numbers in conditions are exact, or there is no answer', async (t) => {
  const raw = (amount: string): Facts => {
    const facts = call({});
    const args = parseJson(
      Buffer.from(`{"amount":${amount},"list":[${amount}],"map":{"x":${amount}}}`),
    );
    return { ...facts, mcp: { ...facts.mcp, args } as Facts['mcp'] } as Facts;
  };
  const answer = (text: string, amount: string): string => {
    const given = compiler
      .compile(text, 'mcp')
      .evaluate(new ConditionContext(raw(amount), crm, undefined));
    return typeof given === 'boolean' ? String(given) : given.problem;
  };
  const INEXACT = 'a number has more digits, or is larger, than is read exactly';
  for (const text of [
    'type(args.amount) == double && args.amount > 100.0',
    'args.amount > 100.0',
    'args.amount <= 100.0',
    'args.amount == 100',
    'int(args.amount) > 100',
    'string(args.amount) == "100"',
    '[100.0] == args.list',
    'args.list == [100.0]',
    '100.0 in args.list',
    'args.list.exists(n, n == 100.0)',
    'args.list.all(n, n <= 100.0)',
    'args.map == {"x": 100.0}',
    '{"x": 100.0} == args.map',
    'args["amount"] == 100.0',
    'args.list[0] == 100.0',
    'dyn(args.amount) == 100.0',
    'args.list.map(n, n) == [100.0]',
  ]) {
    t.not(answer(text, '100'), INEXACT, text);
    for (const amount of [
      '100.00000000000000000001',
      '9007199254740993',
      '99999999999999999999',
      '1e-400',
    ])
      t.equal(answer(text, amount), INEXACT, `${text} for ${amount}`);
    t.not(answer(text, '9007199254740992'), INEXACT, text);
  }
  t.equal(answer('type(args.amount) == double && args.amount > 100.0', '9007199254740992'), 'true');
  t.equal(answer('type(args.amount) == double && args.amount > 100.0', '1e20'), 'true');
  t.equal(
    answer('has(args.amount)', '9007199254740993'),
    'true',
    'that it is there is no matter of its digits',
  );
  for (const text of [
    '0x10',
    'NaN',
    'Infinity',
    '-Infinity',
    'inf',
    '1e999',
    '',
    ' 1',
    '1_0',
    '9007199254740993',
  ])
    t.equal(answer(`double("${text}") > 1.0 || true`, '1'), 'true');
  for (const text of [
    '0x10',
    'NaN',
    'Infinity',
    '-Infinity',
    'inf',
    '1e999',
    '',
    ' 1',
    '1_0',
    '9007199254740993',
  ])
    t.equal(answer(`double("${text}") > 1.0`, '1'), 'a text is no number', text);
  t.equal(answer('args.amount * 1e308 > 1.0', '1e10'), 'a number is too large');
  t.equal(answer('double(9007199254740993) > 1.0', '1'), 'a text is no number');
});

t.test('no name of an argument changes what a condition makes of the others', async (t) => {
  for (const text of [
    'args.amount > 100.0',
    'args["amount"] == 500.0',
    'has(args.amount)',
    '"amount" in args',
    'args.exists(k, k == "amount")',
    'args.list.exists(one, one.amount > 100.0)',
    '"amount" in args.opts',
    'args.opts.amount > 100.0',
    'has(args.opts.amount)',
    'type(args.opts) == map',
    'args.opts.size() == 2 && size(args) == 4',
    'args.opts == args.list[0]',
    'args.opts in args.list',
    'args.opts != {"amount": 500.0}',
  ]) {
    for (const name of [
      'constructor',
      'toString',
      'hasOwnProperty',
      'prototype',
      '__defineGetter__',
      'then',
    ])
      for (const value of ['1', '"x"', 'null', '{}', '[]', 'true']) {
        const object = `{"amount":500,"${name}":${value}}`;
        const args = parseJson(
          Buffer.from(`{"amount":500,"${name}":${value},"list":[${object}],"opts":${object}}`),
        );
        const facts = call({});
        const given = { ...facts, mcp: { ...facts.mcp, args } as Facts['mcp'] } as Facts;
        const asked = compiler
          .compile(text, 'mcp')
          .evaluate(new ConditionContext(given, crm, undefined));
        t.equal(asked, true, `${text} beside ${name}: ${value}`);
      }
  }
  t.equal(ask('args.constructor == "Ferrari"', { constructor: 'Ferrari' }).answer, true);
  t.equal(ask('has(args.constructor)', { a: 1 }).answer, false);
});

t.test('no arguments make a condition cost more than a few milliseconds of CPU', async (t) => {
  for (const [name, args] of Object.entries(worstArguments(1_000_000))) {
    const facts = call(args);
    for (const [phase, text] of CONDITIONS) {
      const condition = compiler.compile(text, phase);
      const before = process.cpuUsage();
      condition.evaluate(new ConditionContext(facts, crm, undefined));
      const { user, system } = process.cpuUsage(before);
      t.ok((user + system) / 1000 < 250, `${name}: ${text}: ${(user + system) / 1000} ms`);
    }
  }
});
