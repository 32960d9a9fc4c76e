/** Values in fields, sessions, definitions, places a user may be sent to. */
import fc from 'fast-check';
import t from 'tap';
import { definitionDigest, definitions } from '../../lib/mcp/definitions.ts';
import { elicitationProblem } from '../../lib/mcp/elicitation.ts';
import { given } from '../../lib/mcp/given.ts';
import {
  decodeValue,
  encodeValue,
  headerPaths,
  paramFields,
  sameValue,
} from '../../lib/mcp/header-values.ts';
import { keep, note, sessions } from '../../lib/mcp/sessions.ts';
import { parseHostPattern } from '../../lib/net/host.ts';
import { isObject, type JsonObject } from '../../lib/schema/json.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { mcpDestination } from '../support/mcp.ts';
import { SETTINGS } from '../support/service.ts';

function object(value: unknown): JsonObject {
  const read = parseJson(Buffer.from(JSON.stringify(value)));
  if (!isObject(read)) throw new TypeError('not an object');
  return read;
}

t.test('field values: plain where they can be, else in the envelope, and back', async (t) => {
  t.equal(encodeValue('us-west1'), 'us-west1');
  t.equal(encodeValue('Hello, 世界'), '=?base64?SGVsbG8sIOS4lueVjA==?=');
  t.equal(encodeValue(' padded '), '=?base64?IHBhZGRlZCA=?=');
  t.equal(encodeValue('=?base64?literal?='), '=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=');
  for (const bad of [
    '=?base64?SGVsbG8?=',
    '=?base64?!!!!?=',
    '=?base64?/w==?=',
    '=?base64?SGVsbG8=',
    '=?base64?SGVsbG9=?=',
  ])
    t.equal(decodeValue(bad), undefined, bad);
  t.equal(decodeValue('=?BASE64?SGVsbG8=?='), '=?BASE64?SGVsbG8=?=', 'markers are lower-case');
  fc.assert(
    fc.property(
      fc.string({ unit: 'grapheme', minLength: 1 }),
      (text) => !text.isWellFormed() || decodeValue(encodeValue(text)) === text,
    ),
  );
  fc.assert(
    fc.property(
      fc.string({ unit: 'binary' }),
      (text) => /^[\x20-\x7e\t]*$/.test(encodeValue(text)) || text === '',
    ),
  );
});

t.test('numbers in fields compare as numbers, texts as texts', async (t) => {
  t.ok(sameValue('42.0', '42'));
  t.notOk(sameValue('42.5', '42'));
  t.notOk(sameValue('0x2a', '42'));
  t.notOk(sameValue('A', 'a'));
  t.notOk(sameValue('=?base64?!?=', '=?base64?!?='), 'a broken envelope says nothing');
});

t.test('x-mcp-header is found along properties alone', async (t) => {
  const schema = {
    type: 'object',
    properties: {
      region: { 'x-mcp-header': 'Region' },
      deep: { properties: { n: { 'x-mcp-header': 'N' } } },
      list: { items: { properties: { no: { 'x-mcp-header': 'No' } } } },
      bad: { 'x-mcp-header': 'a b' },
    },
    anyOf: [{ properties: { no: { 'x-mcp-header': 'Neither' } } }],
  };
  const paths = headerPaths(object({ inputSchema: schema }));
  t.same(
    [...paths],
    [
      ['mcp-param-region', ['region']],
      ['mcp-param-n', ['deep', 'n']],
    ],
  );
  t.same(
    [...paramFields(paths, object({ region: 'x', deep: { n: -7 } }))],
    [
      ['mcp-param-region', 'x'],
      ['mcp-param-n', '-7'],
    ],
  );
  t.same([...paramFields(paths, object({ region: null, deep: true }))], []);
  const many = Array.from(
    { length: 40 },
    (_, i) => [`p${i}`, { 'x-mcp-header': `H${i}` }] as const,
  );
  t.equal(headerPaths(object({ inputSchema: { properties: Object.fromEntries(many) } })).size, 32);
});

t.test('definitions: first use pins, order does not matter, everything else does', async (t) => {
  const destination = mcpDestination({});
  const all = definitions(() => 0);
  const tools = all.of(destination, '/mcp');
  t.same(
    tools.of('x'),
    { state: 'unlisted', hazardous: true },
    'what nothing is known of counts as one that writes',
  );
  t.equal(tools.see('x', object({ name: 'x', description: 'd' })), true);
  t.equal(
    tools.see('x', object({ description: 'd', name: 'x' })),
    true,
    'the order of members is no change',
  );
  t.same(all.of(destination, '/mcp').of('x'), { state: 'pinned', hazardous: false });
  for (const changed of [
    { name: 'x', description: 'D' },
    { name: 'x' },
    { name: 'x', description: 'd', _meta: {} },
  ]) {
    t.equal(tools.see('x', object(changed)), false);
    t.equal(tools.of('x').state, 'changed');
  }
  t.equal(
    all.of({ ...destination, name: 'other' }, '/mcp').of('x').state,
    'unlisted',
    'a name is of one destination',
  );
  const elsewhere = all.of(destination, '/v2/mcp');
  t.equal(elsewhere.of('x').state, 'unlisted', 'and of whom it was shown to');
  elsewhere.see('x', object({ name: 'x' }));
  t.equal(all.pins().length, 2);
  t.throws(() => all.approve('other', 'x', 'digest'), { code: 'usage' });
  t.equal(definitionDigest(object({ a: 1 })).length, 64);
});

t.test(
  'a tool is asked for when it is not known, when it is old, and when the server says so',
  async (t) => {
    let now = 1_000_000;
    const tools = definitions(() => now).of(mcpDestination({}), '/mcp');
    t.equal(tools.wanted('x'), true);
    tools.asking();
    t.equal(tools.wanted('x'), false, 'not at once again where it is not listed');
    now += 10_000;
    t.equal(tools.wanted('x'), true);
    tools.see('x', object({ name: 'x' }));
    t.equal(tools.wanted('x'), false);
    now += 1;
    tools.outdated();
    t.equal(tools.wanted('x'), true);
    tools.asking();
    now += 1;
    tools.see('x', object({ name: 'x' }));
    now += 599_999;
    t.equal(tools.wanted('x'), false);
    now += 1;
    t.equal(tools.wanted('x'), true);
  },
);

t.test('what servers gave is remembered, so much and no more', async (t) => {
  const memory = given(3);
  for (const text of ['a', 'b', 'c', 'a', 'd']) memory.note('list', text);
  t.same(
    ['a', 'b', 'c', 'd'].map((text) => memory.has('list', text)),
    [true, false, true, true],
  );
  t.equal(memory.has('other', 'a'), false);
  const held = new Map<string, number>();
  for (let i = 0; i < 300; i += 1) keep(held, String(i), i);
  t.equal(held.size, 256);
  t.equal(held.has('299'), true);
});

t.test('a server that lists without end fills no memory', async (t) => {
  const tools = definitions(() => 0).of(mcpDestination({}), '/mcp');
  const seen = Array.from({ length: 4100 }, (_, i) =>
    tools.see(`t${i}`, object({ name: `t${i}` })),
  );
  t.equal(seen.filter(Boolean).length, 4096);
  const ids = new Map<string, string>();
  t.equal(
    Array.from({ length: 300 }, (_, i) => note(ids, String(i), 'm')).filter(Boolean).length,
    256,
  );
});

t.test('sessions: bound to all of their owner; the oldest makes room (M13)', async (t) => {
  const table = sessions(2);
  const owner = { destination: 'a', endpoint: '/mcp', entry: 'forward', identity: 'spiffe://x/y' };
  table.open('1', owner);
  t.equal(table.find('1', owner).id, '1');
  for (const other of [
    { ...owner, destination: 'b' },
    { ...owner, endpoint: '/other' },
    { ...owner, agent: 'another' },
    { ...owner, entry: 'listener' },
    { ...owner, identity: undefined },
  ])
    t.throws(() => table.find('1', other), { code: 'session-unknown' });
  table.open('2', owner);
  table.find('1', owner);
  table.open('3', owner);
  t.throws(
    () => table.find('2', owner),
    { code: 'session-unknown' },
    'the one that was used longest ago is gone',
  );
  t.equal(table.find('1', owner).id, '1');
  table.forget(table.find('1', owner));
  t.throws(() => table.find('1', owner));
});

t.test('users are sent to named hosts alone', async (t) => {
  const policy = { ...SETTINGS, elicitationHosts: [parseHostPattern('login.example.com')] };
  const of = (params: unknown): string | undefined => elicitationProblem(object(params), policy);
  t.equal(of({ message: 'm' }), undefined);
  t.equal(of({ mode: 'form', message: 'm' }), undefined);
  t.equal(of({ mode: 'url', url: 'https://LOGIN.example.com/a' }), undefined);
  for (const bad of [
    { mode: 'url' },
    { url: 'https://login.example.com' },
    { mode: 'form', url: 'https://evil.example' },
    { mode: 'URL', url: 'https://login.example.com' },
    { mode: 'url', url: 'https://login.example.com\t.evil.example' },
  ])
    t.ok(of(bad), JSON.stringify(bad));
});
