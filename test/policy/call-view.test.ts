/**
 * A call as the person sees it who approves it: the call itself, bounded, redacted, and nothing
 * that steers the eye.
 */
import t from 'tap';
import { type CallView, callView } from '../../lib/policy/review/call-view.ts';
import { VIEW_LIMITS } from '../../lib/policy/review/redacted-text.ts';
import { contentDigest } from '../../lib/policy/decision/call-digest.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { readPost } from '../../lib/mcp/request.ts';
import { SETTINGS } from '../support/service.ts';
import { request } from './destination.ts';

function view(
  content: string | Buffer | undefined,
  type = 'application/json',
  more: object = {},
): CallView {
  const facts = request({
    method: 'POST',
    path: '/v1/pay',
    query: '',
    fields: ['content-type', type],
    ...more,
  });
  if (content === undefined) return callView(facts);
  const bytes = Buffer.from(content);
  return callView({
    ...facts,
    http: { ...facts.http, content: { bytes, digest: contentDigest(bytes) } },
  });
}

function message(params: object): CallView {
  const fields = ['content-type', 'application/json', 'mcp-protocol-version', '2025-11-25'];
  const text = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
  const mcp = readPost(fields, parseJson(Buffer.from(text)), {
    policy: { ...SETTINGS, meta: new Set(['com.bank/override']) },
    session: undefined,
    wasGiven: () => true,
  }).facts;
  return callView({ ...request({ method: 'POST', path: '/mcp' }), mcp });
}

t.test('a tool call is its tool, its arguments and what of _meta goes on', async (t) => {
  const shown = message({
    name: 'pay',
    arguments: { to: 'alice', amount: 7 },
    _meta: { 'com.bank/override': 'mallory', 'com.bank/unlisted': 'eve' },
  });
  t.match(shown, { method: 'tools/call', tool: 'pay', arguments: '{"to": "alice", "amount": 7}' });
  t.match([shown.meta, shown.leftOut], ['{"com.bank/override": "mallory"}', []]);
});

t.test('values of names that secrets travel under are not shown, and that is said', async (t) => {
  const shown = view(
    '{"user":"a","apiKey":"s1","nested":{"client_secret":{"x":"s2"},"pin":1234},"ok":[{"password":"s3"}]}',
    undefined,
    {
      query: '?token=s4&page=2',
      fields: [
        'content-type',
        'application/json',
        'authorization',
        'Bearer s5',
        'x-api-key',
        's6',
        'x-tenant',
        'acme',
      ],
    },
  );
  t.notMatch(JSON.stringify(shown), /s[1-6]\b|1234/);
  t.match(shown.query, [
    ['token', '[redacted: 2 characters]'],
    ['page', '2'],
  ]);
  t.match(new Map(shown.fields).get('x-tenant'), 'acme');
  t.equal(
    shown.leftOut.filter((one) => one.includes('redacted')).length,
    7,
    shown.leftOut.join('\n'),
  );
  const torn = view('{"password":"s1","password":"s2","to":"alice"}');
  t.match(torn.body, /"to":"alice"/);
  t.notMatch(
    JSON.stringify([torn, view('Authorization: Bearer s3\ntoken = s4 ok', 'text/plain')]),
    /s[1-4]\b/,
  );
  t.notMatch(JSON.stringify(view('user=a&password=s1', 'application/x-www-form-urlencoded')), /s1/);
});

t.test(
  'what is long is cut where it is long, and what is left out is named with its size',
  async (t) => {
    const inner = view(JSON.stringify({ a: 'x'.repeat(5000), to: 'mallory' }));
    t.match(inner.body, /"to": "mallory"/, 'a long text hides nothing behind it');
    t.match(inner.leftOut, [/^4232 characters within the content\.a$/]);
    const many = view(
      JSON.stringify({ list: Array.from({ length: 1000 }, (_, i) => i), to: 'mallory' }),
    );
    t.match(
      [many.body, many.leftOut],
      [/…900 more\], "to": "mallory"/, [/^900 members of the content\.list$/]],
    );
    const deep = view(
      JSON.stringify(
        Object.fromEntries(Array.from({ length: 90 }, (_, i) => [`k${i}`, 'y'.repeat(700)])),
      ),
    );
    t.match(deep.leftOut.join(), /what follows in the content, over 16384 characters/);
    t.ok((deep.body?.length ?? 0) < 2 * VIEW_LIMITS.content);
    const large = view(`{"a":"${'x'.repeat(VIEW_LIMITS.parsed)}","password":"no"}`);
    t.match(
      [large.body, large.leftOut],
      [undefined, [/^the content: \d+ bytes of JSON with SHA-256 [0-9a-f]{64}$/]],
    );
    const text = view('z'.repeat(20_000), 'text/plain');
    t.match(text.leftOut, [/^3616 characters at the end of the content$/]);
    const pairs = view(undefined, 'text/plain', {
      query: `?${'a=1&'.repeat(150)}b=2`,
      empty: true,
    });
    t.match(
      [pairs.query?.length, pairs.leftOut],
      [100, [/^51 parameters at the end of the query$/]],
    );
  },
);

t.test('what is no text, or not what it is said to be, is not shown as if it were', async (t) => {
  const bytes = Buffer.from([0xff, 0xfe, 0, 1]);
  t.match(view(bytes, 'application/octet-stream'), {
    body: undefined,
    leftOut: [`the content, which is no text: 4 bytes with SHA-256 ${contentDigest(bytes)}`],
  });
  const packed = view('{"a":1}', 'application/json', {
    fields: ['content-type', 'application/json', 'content-encoding', 'gzip'],
  });
  t.match([packed.body, packed.leftOut], [undefined, [/no text/]]);
  const twice = view('{"to":"alice","to":"mallory"}');
  t.match(
    [twice.body, twice.leftOut],
    ['{"to":"alice","to":"mallory"}', [/said to be JSON, and is not/]],
  );
  t.match(view(undefined, undefined, { websocket: true }).leftOut, [/nothing of it is read/]);
  t.match(callView({ ...request({}), http: undefined }).leftOut, [/nothing of it is read/]);
});

t.test(
  'no text steers a terminal, breaks a line or turns the direction of what is read',
  async (t) => {
    const evil = 'a\u001b[2Jb\r\nc\u202ed\u2028e\u200bf\u{e0041}';
    const shown = JSON.stringify([
      view(JSON.stringify({ [evil]: evil })),
      view(evil, 'text/plain'),
      view(undefined, undefined, { empty: true, query: `?x=${encodeURIComponent(evil)}` }),
      message({ name: 'pay', arguments: { to: evil } }),
    ]);
    t.notMatch(shown, /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
    t.match(shown, /u\{1b\}/);
  },
);
