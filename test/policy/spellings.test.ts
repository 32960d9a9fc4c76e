import fc from 'fast-check';
import t from 'tap';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { spellingsOf } from '../../lib/policy/conditions/spellings.ts';
import type { Phase, Spellings } from '../../lib/policy/model/condition.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { type JsonObject, isObject } from '../../lib/schema/json.ts';

const CONDITIONS = conditions(['public']);

function of(text: string, phase: Phase = 'request'): Spellings | undefined {
  const when = CONDITIONS.compile(text, phase);
  return spellingsOf('crm', [when]);
}

function argsOf(text: string): JsonObject {
  const value = parseJson(Buffer.from(text));
  if (!isObject(value)) throw new TypeError('no object');
  return value;
}

const AMBIGUOUS = { code: 'ambiguous' };

t.test('conditions that read no names leave every name alone', async (t) => {
  t.equal(of('request.path == "/a" && request.method == "GET"'), undefined);
  t.equal(of('destination.name == "limit" || request.query.size() < 5'), undefined);
  t.equal(of('mcp.tool == "pay"', 'mcp'), undefined);
});

t.test(
  'a header field that some server takes for one that is read is refused, with the name to send',
  async (t) => {
    const spellings = of('request.header("X-Forbid").size() > 0');
    for (const name of [
      'x_forbid',
      'x.forbid',
      'x!forbid',
      'x-forbid_'.slice(0, -1).replace('-', '_'),
    ])
      t.throws(() => spellings?.fields(['accept', '*/*', name, '1']), {
        ...AMBIGUOUS,
        message:
          'a header field may be read as "x-forbid", which a condition of destination crm reads',
        hint: /^send it as "x-forbid"/,
      });
    spellings?.fields([
      'x-forbid',
      '1',
      'x-forbidden',
      '1',
      'forbid',
      '1',
      'xforbid',
      '1',
      'x_other',
      '1',
    ]);
    const under = of('request.header("x_forbid") == []');
    under?.fields(['x_forbid', '1']);
    t.throws(
      () => under?.fields(['x-forbid', '1']),
      AMBIGUOUS,
      'whichever of them the condition reads',
    );
  },
);

const LIMITS = [
  'limit[]',
  'limit%5B%5D',
  'limit[0]',
  'limit[a][b]',
  '+limit',
  '%20limit',
  'limit+',
  'limit%09',
  'limit.',
  '.limit',
  'Limit',
  'LIMIT',
  'l%69mi%54',
  'limit_',
  '-limit',
  '[limit]',
  '%5Blimit',
  'limit]',
  'limit[',
  'limit%2500',
  'limit%255B%255D',
  '%EF%BD%8Climit'.replace('limit', 'imit'),
  'lim%E2%80%8Bit',
  'limit%C2%A0',
  'lim%C4%B1t',
  'lim%C4%B0t',
  'L%C4%B0M%C4%B1T',
  'limit%EF%B8%8F',
  'li%CD%8Fmit',
  '%E3%85%A4limit',
  '?limit',
  '%3Flimit',
  '$limit',
  '%24Limit',
];

t.test('a parameter that some server takes for one that is read is refused', async (t) => {
  const spellings = of('request.param("limit").exists(n, int(n) > 100)');
  for (const name of LIMITS) t.throws(() => spellings?.params(`?a=b&${name}=101`), AMBIGUOUS, name);
  t.throws(() => spellings?.params('?a=b;Limit=101'), AMBIGUOUS, 'behind a semicolon too');
  for (const query of [
    '',
    '?',
    '?limit=5',
    '?l%69mit=5',
    '?ids[]=1&filter[limit]=2',
    '?limits=1',
    '?a=limit[]',
    '?x%zz',
    '?limit',
  ])
    t.doesNotThrow(() => spellings?.params(query), query);
  const two = of('request.param("page_size") == [] && request.param("ids[]") == []');
  for (const name of [
    'page-size',
    'page.size',
    'page+size',
    'Page_Size',
    'page%5Bsize',
    'ids',
    'ids[1]',
  ])
    t.throws(() => two?.params(`?${name}=1`), AMBIGUOUS, name);
  two?.params('?page_size=1&ids[]=1&pagesize=1');
  const odata = of('request.param("$top").exists(n, int(n) > 100)');
  for (const name of ['top', 'Top', '$Top', '%24TOP', '?$top'])
    t.throws(() => odata?.params(`?${name}=1`), AMBIGUOUS, name);
  odata?.params('?$top=1&%24top=2&topic=3&x=$top');
});

t.test(
  'an argument is held to the names that are read at its place, and to no others',
  async (t) => {
    const spellings = of(
      'args.amount <= 100.0 && args.payee["Name"] == "x" && args.items.all(i, i.price < 5.0)',
      'mcp',
    );
    const held = (text: string): void => spellings?.args(argsOf(text));
    for (const key of [
      ' amount',
      'amount ',
      '\uff41mount',
      'amount[]',
      'a\\u200bmount',
      '_amount',
      'amount\\t',
    ])
      t.throws(() => held(`{"amount": 1, "${key}": 2}`), AMBIGUOUS, key);
    for (const key of ['amount\\ufe0f', '\\u3164amount', 'am\\u034fount', 'am\\u180bount'])
      t.throws(() => held(`{"amount": 1, "${key}": 2}`), AMBIGUOUS, key);
    t.throws(
      () => held('{"items": [{"pr\\u0131ce": 9}]}'),
      AMBIGUOUS,
      'one letter where it is a capital',
    );
    held('{"amount": 1, "$amount": 2, "?amount": 3}');
    t.throws(() => held('{"Amount": 1}'), AMBIGUOUS);
    t.throws(() => held('{"payee": {"name": "x"}}'), AMBIGUOUS);
    t.throws(() => held('{"items": [{"price": 1}, {"Price": 9}]}'), AMBIGUOUS);
    t.throws(() => held(`{"${'a'.repeat(300)}": 1}`), AMBIGUOUS, 'a name that nobody reads');
    held(
      '{"amount": 1, "payee": {"Name": "x", "Amount": 2}, "items": [{"price": 1, "Name": ' +
        '2}], "note": {"Amount": 3}}',
    );
    held(`{"amount": 1, ${Array.from({ length: 5000 }, (_, i) => `"k${i}": 1`).join(', ')}}`);
  },
);

t.test(
  'a condition that reads names by a loop is held to what it compares them with',
  async (t) => {
    const fields = of('request.headers.exists(h, h.name == "x-forbid")');
    t.throws(() => fields?.fields(['x_forbid', '1']), AMBIGUOUS);
    t.throws(() => fields?.fields(['x_other', '1']), AMBIGUOUS, 'and to one spelling of all');
    fields?.fields(['x-forbid', '1', 'x-other', '1']);
    for (const text of [
      'request.query.exists(q, q.name == "limit" && int(q.value) > 100)',
      'request.query.exists(q, q.name in ["limit", "max"])',
      'request.query.exists(q, "limit" == q.name)',
      'request.query.exists(q, q.name.lowerAscii() == "limit")',
      'request.query.map(q, q.name).exists(n, n == "limit")',
      'request.query.filter(q, q.name == "limit").size() > 0',
      'request.query[0].name == "limit"',
      'request.query.exists(q, q.name.startsWith("limit"))',
      'request.query.exists(q, q.name.matches("^(limit|max)$"))',
      '["limit", "max"].exists(n, request.param(n).size() > 0)',
      'request.param(request.websocket ? "limit" : "max") == []',
    ]) {
      const spellings = of(text);
      for (const name of text.includes('startsWith')
        ? ['+limit', 'Limit']
        : ['limit[]', '+limit', 'Limit'])
        t.throws(() => spellings?.params(`?${name}=101`), AMBIGUOUS, text);
      t.doesNotThrow(() => spellings?.params('?limit=1&filter[x]=2&other=3'), text);
    }
    const joined = of('request.header("x-" + "forbid").size() > 0');
    t.throws(() => joined?.fields(['x_forbid', '1']), AMBIGUOUS, 'a name that is put together');
    const values = of('request.query.exists(q, q.value == "limit")');
    t.doesNotThrow(() => values?.params('?Limit=1'), 'a value is no name');
  },
);

t.test(
  'keys of arguments that are looped over or computed are held to what they are compared with',
  async (t) => {
    for (const text of [
      'args.exists(k, k == "force")',
      '"force" in args',
      'args[identity.spiffeId == "x" ? "force" : "other"] == true',
      'args.all(k, k in ["force", "id"])',
    ]) {
      const spellings = of(text, 'mcp');
      t.throws(() => spellings?.args(argsOf('{"Force": true}')), AMBIGUOUS, text);
      t.doesNotThrow(
        () => spellings?.args(argsOf('{"force": true, "id": 1, "x": {"y": 2}}')),
        text,
      );
    }
  },
);

t.test('no fold takes a name for itself, and refusals quote nothing that was sent', async () => {
  const spellings = of('request.param("canary").size() > 0');
  fc.assert(
    fc.property(fc.stringMatching(/^[a-z]{1,8}$/), (name) => {
      spellings?.params(`?${name}=1`);
      try {
        spellings?.params(`?canary[${name}zzz]=1`);
      } catch (failure) {
        return failure instanceof Error && !failure.message.includes(`${name}zzz`);
      }
      return false;
    }),
  );
});
