/** Values in fields, sessions, definitions, places a user may be sent to. */
import fc from 'fast-check';
import t from 'tap';
import { definitionDigest, definitions } from '../../lib/mcp/definitions.ts';
import { elicitationProblem } from '../../lib/mcp/elicitation.ts';
import { decodeValue, encodeValue, headerPaths, paramFields, sameValue } from '../../lib/mcp/header-values.ts';
import { note, sessions } from '../../lib/mcp/sessions.ts';
import { parseHostPattern } from '../../lib/policy/host.ts';
import { isObject, type JsonObject } from '../../lib/policy/json.ts';
import { parseJson } from '../../lib/policy/json-reader.ts';
import { mcpSite, SETTINGS } from '../proxy/mcp-harness.ts';

function object(value: unknown): JsonObject {
  const read = parseJson(Buffer.from(JSON.stringify(value)));
  if (!isObject(read)) throw new TypeError('not an object');
  return read;
}

t.test('field values: plain where they can be, else in the envelope, and back (C-05)', async (t) => {
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
    fc.property(fc.string({ unit: 'binary' }), (text) => /^[\x20-\x7e\t]*$/.test(encodeValue(text)) || text === ''),
  );
});

t.test('numbers in fields compare as numbers, texts as texts (C-05)', async (t) => {
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
  const many = Array.from({ length: 40 }, (_, i) => [`p${i}`, { 'x-mcp-header': `H${i}` }] as const);
  t.equal(headerPaths(object({ inputSchema: { properties: Object.fromEntries(many) } })).size, 32);
});

t.test('definitions: first use pins, order does not matter, everything else does', async (t) => {
  const site = mcpSite({});
  const all = definitions();
  t.same(all.of(site, 'x'), { state: 'unlisted', hazardous: false });
  t.equal(all.see(site, 'x', object({ name: 'x', description: 'd' })), true);
  t.equal(all.see(site, 'x', object({ description: 'd', name: 'x' })), true, 'the order of members is no change');
  t.equal(all.of(site, 'x').state, 'pinned');
  for (const changed of [{ name: 'x', description: 'D' }, { name: 'x' }, { name: 'x', description: 'd', _meta: {} }]) {
    t.equal(all.see(site, 'x', object(changed)), false);
    t.equal(all.of(site, 'x').state, 'changed');
  }
  t.equal(all.of({ ...site, name: 'other' }, 'x').state, 'unlisted', 'a name is of one destination');
  t.equal(definitionDigest(object({ a: 1 })).length, 64);
});

t.test('a server that lists without end fills no memory', async (t) => {
  const all = definitions();
  const site = mcpSite({});
  const seen = Array.from({ length: 4100 }, (_, i) => all.see(site, `t${i}`, object({ name: `t${i}` })));
  t.equal(seen.filter(Boolean).length, 4096);
  const ids = new Map<string, string>();
  t.equal(Array.from({ length: 300 }, (_, i) => note(ids, String(i), 'm')).filter(Boolean).length, 256);
});

t.test('sessions: bound to all of their owner; the oldest makes room (M13)', async (t) => {
  const table = sessions(2);
  const owner = { destination: 'a', endpoint: '/mcp', entry: 'forward', identity: 'spiffe://x/y' };
  table.open('1', owner);
  t.equal(table.find('1', owner).id, '1');
  for (const other of [
    { ...owner, destination: 'b' },
    { ...owner, endpoint: '/other' },
    { ...owner, entry: 'listener' },
    { ...owner, identity: undefined },
  ])
    t.throws(() => table.find('1', other), { code: 'session-unknown' });
  table.open('2', owner);
  table.find('1', owner);
  table.open('3', owner);
  t.throws(() => table.find('2', owner), { code: 'session-unknown' }, 'the one that was used longest ago is gone');
  t.equal(table.find('1', owner).id, '1');
  table.forget(table.find('1', owner));
  t.throws(() => table.find('1', owner));
});

t.test('users are sent to named hosts alone (C-27)', async (t) => {
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
