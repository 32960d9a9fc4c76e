import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { ConditionContext } from '../../lib/policy/conditions/scope.ts';
import type { Answer, Phase } from '../../lib/policy/model/condition.ts';
import type { Facts } from '../../lib/policy/model/facts.ts';
import type { TaskFacts } from '../../lib/policy/model/grant.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { isObject } from '../../lib/schema/json.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { connection, destination, request } from './destination.ts';

const CLASSES = ['public', 'internal', 'confidential', 'restricted'];
const compiler = conditions(CLASSES);
const crm = destination('crm', { dataClass: 'confidential' });
const US = parseSpiffeId('spiffe://example.org/agent');

function ask(text: string, facts: Facts = request(), phase: Phase = 'request'): Answer {
  return compiler.compile(text, phase).evaluate(new ConditionContext(facts, crm, US));
}

function refused(text: string, phase: Phase = 'request'): string {
  try {
    compiler.compile(text, phase);
    return 'it compiled';
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return `${error.message}; ${error.hint}`;
  }
}

/** A call of tool pay, its arguments through the parser of messages. */
function tool(args: unknown): Facts {
  const value = parseJson(Buffer.from(JSON.stringify(args)));
  if (!isObject(value)) throw new TypeError('arguments are an object');
  const none = {
    prompt: undefined,
    resource: undefined,
    argsDigest: undefined,
    definition: undefined,
  };
  return {
    ...request(),
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

const problem = (answer: Answer): string =>
  typeof answer === 'boolean' ? String(answer) : answer.problem;

t.test('every fact can be asked for', async (t) => {
  const task: TaskFacts = {
    id: 't1',
    purpose: 'triage',
    read: 'confidential',
    wrote: 'none',
    actions: ['read'],
    destinations: ['crm'],
    uses: 3,
    owner: 'alice',
    onBehalfOf: undefined,
    depth: 0,
    approvals: [],
    grant: {
      purpose: 'triage',
      destinations: new Set(),
      actions: new Set(),
      stepUp: new Map(),
      dataClasses: new Set(),
      maxCalls: 9,
    },
  };
  const facts: Facts = {
    ...request({
      method: 'POST',
      path: '/v1/notes',
      query: '?id=7&id=8&q=a+b%2Fc&flag',
      websocket: false,
      fields: ['content-type', 'text/plain', 'x-env', 'test', 'accept', '*/*', 'x-env', 'prod'],
    }),
    time: Date.UTC(2026, 0, 31, 13, 30),
    task,
    peer: parseSpiffeId('spiffe://other.org/caller'),
  };
  const holds: readonly string[] = [
    'request.method == "POST"',
    'request.path.startsWith("/v1/")',
    'request.host == "crm.internal" && request.port == 80',
    'request.time.getHours() == 13 && request.time < timestamp("2026-02-01T00:00:00Z")',
    'request.time - timestamp("2026-01-31T13:00:00Z") == duration("30m")',
    'request.query.size() == 4 && request.query[0].name == "id" && ' +
      'request.query[2].value == "a b/c"',
    'request.param("id") == ["7", "8"] && request.param("flag") == [""] && ' +
      'request.param("none").size() == 0',
    'request.headers.exists(h, h.name == "x-env" && "prod" in ["prod"] && h.values == ' +
      '["test", "prod"])',
    '"prod" in request.header("x-env") && request.header("X-Env").size() == 2',
    '!request.websocket',
    'destination.name == "crm" && destination.protocol == "http"',
    'rank(destination.dataClass) == 2 && rank(destination.dataClass) < rank("restricted") ' +
      '&& rank("none") == -1',
    'identity.spiffeId == "spiffe://example.org/agent" && identity.trustDomain == "example.org"',
    'peer.trustDomain == "other.org"',
    'task.purpose in ["triage", "report"] && rank(task.read) >= rank("confidential") && ' +
      'rank(task.wrote) < 0',
    'task.uses < 5 && "read" in task.actions && task.destinations.all(d, d == "crm") && ' +
      'task.id == "t1"',
    'task.owner != "" && task.depth == 0 && !has(task.onBehalfOf)',
    'request.path.matches("^/v[0-9]+/notes$") && request.path.lowerAscii().contains("notes")',
  ];
  for (const text of holds) t.equal(ask(text, facts), true, text);
});

t.test('arguments of a tool are a map of anything; numbers compare with whole ones', async (t) => {
  const facts = tool({
    amount: 100,
    to: 'a@example.org',
    tags: ['x', 'y'],
    deep: { on: true, none: null },
  });
  const holds: readonly string[] = [
    'args.amount <= 100 && args.amount == 100 && args.amount in [1, 100]',
    'args.to.endsWith("@example.org") && args.to.matches("^[a-z]@")',
    'args.tags.exists(tag, tag == "x") && args.tags.all(tag, tag in ["x", "y"]) && "y" ' +
      'in args.tags',
    'has(args.deep.on) && args.deep.on == true && !has(args.deep.off) && args.deep.none == null',
    'type(args.amount) == double && size(args) == 4 && int(args.amount) % 2 == 0',
    'mcp.method == "tools/call" && mcp.tool == "pay" && !has(mcp.resource)',
  ];
  for (const text of holds) t.equal(ask(text, facts, 'mcp'), true, text);
  t.equal(ask('args.amount <= 99', facts, 'mcp'), false);
  t.equal(ask('args["__proto__"] == 1', facts, 'mcp') === true, false);
  t.match(
    problem(ask('has(args.constructor)', facts, 'mcp')),
    'false',
    'nothing of the prototype is reached',
  );
});

t.test(
  'what cannot be evaluated has no answer, in words without a value of the request (C5)',
  async (t) => {
    const facts = tool({ amount: 'hunter2', list: [] });
    const cases: readonly (readonly [string, RegExp])[] = [
      ['args.missing == 1', /a key that it reads is not there/],
      ['args.amount <= 100', /not of the type/],
      ['int(args.amount) > 1', /a text is no number/],
      ['bool(args.amount)', /no truth value/],
      ['args.list[0] == 1', /fewer members/],
      ['1 / int(request.port - 80) == 1', /divides by zero/],
      ['args.amount.all(a, a == 1)', /loops over is no list/],
      ['has(args.amount.deeper)', /not of the type/],
      ['rank(args.amount) == 1', /no data class/],
      ['task.uses < 3', /not known here/],
      ['peer.spiffeId == "x"', /not known here/],
      ['{"a": 1}[args.amount] == 1', /a key that it reads is not there/],
    ];
    for (const [text, words] of cases) {
      const answer = problem(ask(text, facts, 'mcp'));
      t.match(answer, words, text);
      t.notMatch(answer, /hunter2/, text);
    }
    t.equal(
      ask('args.missing == 1 || request.port == 80', facts, 'mcp'),
      true,
      'what decides absorbs an error',
    );
    t.equal(ask('request.port == 81 && args.missing == 1', facts, 'mcp'), false);
  },
);

t.test(
  'secrets are not seen: not listed, not found, not even named in a condition (C5)',
  async (t) => {
    const secret = 'Bearer canary-4711';
    const fields = [
      'authorization',
      secret,
      'cookie',
      secret,
      'proxy-authorization',
      secret,
      'x-api-key',
      secret,
      'a',
      'b',
    ];
    const facts = request({ fields });
    t.equal(ask('request.headers.size() == 1 && request.headers[0].name == "a"', facts), true);
    t.equal(
      ask('request.headers.exists(h, h.values.size() > 1 || h.name.startsWith("author"))', facts),
      false,
    );
    t.equal(ask('request.header(request.headers[0].name) == ["b"]', facts), true);
    t.equal(
      ask('request.header(["Authorization"][0]).size() == 0', facts),
      true,
      'however the name is made',
    );
    t.match(
      refused('request.header("Authorization") == ["x"]'),
      /column 16: authorization carries a secret/,
    );
  },
);

t.test('an ambiguous query has no answer (P6)', async (t) => {
  t.match(
    problem(ask('request.param("a") == ["1"]', request({ query: '?a=1;admin=1' }))),
    /more than one way/,
  );
  t.match(
    problem(ask('request.query.size() > 0', request({ query: '?a=%ff' }))),
    /more than one way/,
  );
  const many = `?${'a&'.repeat(257)}`;
  t.match(
    problem(ask('request.query.size() > 0', request({ query: many }))),
    /more than 256 parameters/,
  );
  t.equal(
    ask('request.param("a").size() == 2', request({ query: '?a=1&a=2' })),
    true,
    'the second is seen',
  );
});

t.test('a condition is a bool of its phase or it is refused, with place and fix', async (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['request.method = "GET"', /^column \d+: /],
    ['request.method', /^column 1: the condition is a string, not a bool; compare it/],
    [
      'requst.method == "GET"',
      /^column 1: unknown variable: requst; did you mean request\? known are request, destination/,
    ],
    ['request.verb == "GET"', /^column 9: no such key: verb; see docs\/reference\/conditions.md/],
    ['request.method == 1', /^column 1: no such overload: string == int/],
    ['true &&\n  request.port == "80"', /^line 2, column 3: no such overload/],
    ['args.amount < 1', /^column 1: args is not known for a request rule; known are/],
    ['request.path.split("/").size() == 2', /"split" cannot be called here/],
    ['bytes("a") == b"a"', /"bytes" cannot be called here/],
    ['cel.bind(x, 1, x == 1)', /"bind" cannot be called here/],
    ['request.path.matches(request.host)', /pattern of matches is no literal/],
    ['request.path.matches("(")', /pattern is not RE2/],
    ['request.path.matches("(?=a)")', /pattern is not RE2/],
    ['rank("secret") > 1', /"secret" is no data class; they are public, internal/],
    ['request.time > timestamp("yesterday")', /timestamp wants a literal/],
    ['request.time > timestamp("2026-13-01T00:00:00Z")', /timestamp wants a literal/],
    ['request.time > timestamp(request.path)', /timestamp wants a literal/],
    ['request.time.getHours("Europe/Berlin") > 8', /times are in UTC/],
    ['has(request.verb)', /no such key: verb/],
    [
      'request.query.exists(q, request.query.exists(r, r.name == q.name))',
      /a loop is inside of another/,
    ],
    ['request.query.exists(q, q.name in request.header("x"))', /in over a list, inside of a loop/],
    ['(request.query + request.query).exists(q, q.name == "a")', /lists that are joined/],
    ['request.query.exists(request, true)', /request is a variable already/],
    [`request.path == "${'a'.repeat(5000)}"`, /longer than 4096 characters/],
    [`${'('.repeat(100)}true${')'.repeat(100)}`, /column \d+/],
    [Array.from({ length: 200 }, () => 'true').join(' && '), /column \d+/],
  ];
  for (const [text, words] of cases) t.match(refused(text), words, text.slice(0, 80));
  t.match(
    refused('args.force', 'mcp'),
    /no known type, not a bool; compare it: args.force == true/,
  );
  t.match(refused('request.method == "GET"', 'connect'), /no such key: method/);
  t.equal(ask('request.host == "crm.internal"', connection(), 'connect'), true);
});

t.test('nothing an agent sends makes a condition slow (R4)', async (t) => {
  const evil = `${'a'.repeat(5000)}!`;
  const began = performance.now();
  t.equal(ask('request.path.matches("^(a+)+$")', request({ path: evil })), false);
  const list = Array.from({ length: 1500 }, () => 'x'.repeat(30));
  const text = 'x'.repeat(60_000);
  const facts = tool({ list, text });
  t.equal(
    ask('args.list.exists(i, args.text.contains("y"))', facts, 'mcp'),
    false,
    'once, not in each turn',
  );
  const MUCH = /more work than one decision may/;
  t.match(
    problem(ask('args.list.exists(i, (i + args.text).matches("(x+x+)+y"))', facts, 'mcp')),
    MUCH,
  );
  t.match(problem(ask('args.list.exists(i, args.text.contains(i + "y"))', facts, 'mcp')), MUCH);
  t.match(problem(ask('args.list.all(i, size(args.text + i) > 1)', facts, 'mcp')), MUCH);
  t.match(
    problem(ask('args.list.size() > 0', tool({ list: [...list, ...list] }), 'mcp')),
    /more than 2048 values/,
  );
  t.match(problem(ask('args.text.contains(args.text)', facts, 'mcp')), /too long/);
  t.ok(performance.now() - began < 2000, 'all of it within two seconds on a busy machine');
});

t.test('equal texts are compiled once; a decision shares what was made for it', async (t) => {
  t.equal(
    compiler.compile('request.port == 80', 'request'),
    compiler.compile('request.port == 80', 'request'),
  );
  const context = new ConditionContext(request({ query: '?a=1' }), crm, US);
  t.equal(context.request, context.request);
  t.same(
    [
      ...compiler.compile('request.query.exists(q, q.name == destination.name)', 'request')
        .variables,
    ].sort(),
    ['destination', 'request'],
  );
});

t.test(
  'whatever is written, it compiles or is refused with a place, and never anything else',
  async (t) => {
    const words =
      'request . method path ( ) [ ] { } == != && || ! ? : , in has args size matches 1 ' +
      '1.5 0x1 1u null true -1 % * + exists q name';
    const token = fc.constantFrom(
      ...words.split(' '),
      '"',
      "'",
      '"""',
      'b"a"',
      'r"\\"',
      '"x"',
      '\\',
      '\n',
      '// a',
      '\0',
    );
    const text = fc.oneof(
      fc.array(token, { maxLength: 24 }).map((all) => all.join(' ')),
      fc.string({ maxLength: 40 }),
      fc.constantFrom('true', 'has(args.q)', 'args.q == "x"'),
    );
    let compiled = 0;
    fc.assert(
      fc.property(text, (one) => {
        const said = refused(one, 'mcp');
        if (said === 'it compiled') compiled += 1;
        return said === 'it compiled' || /^(line \d+, )?column \d+: /.test(said);
      }),
      { numRuns: 3000 },
    );
    t.ok(compiled > 100, `${compiled} compiled`);
  },
);

t.test('an answer never throws, whatever the arguments hold', async () => {
  const texts = [
    'args.a.b == 1 || has(args.c)',
    'args.a in [1, 2] && args.b.exists(x, x > 1)',
    'args.a < args.b',
    'size(args.a) > 0 && string(args.b) == "1"',
    'args.a.startsWith("x") ? args.b == args.c : args == {}',
  ];
  const all = texts.map((text) => compiler.compile(text, 'mcp'));
  const leaf = fc.oneof(
    fc.string(),
    fc.double({ noNaN: true }),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
  );
  const value = fc.oneof(leaf, fc.array(leaf), fc.dictionary(fc.constantFrom('b', 'x'), leaf));
  fc.assert(
    fc.property(
      fc.dictionary(fc.constantFrom('a', 'b', 'c', '__proto__', 'constructor'), value),
      (args) => {
        const context = new ConditionContext(tool(args), crm, undefined);
        return all.every((one) => ['boolean', 'object'].includes(typeof one.evaluate(context)));
      },
    ),
    { numRuns: 500 },
  );
});
