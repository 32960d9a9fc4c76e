/** A record is one line of JSON with a fixed order of keys, whatever text it carries. */
import fc from 'fast-check';
import t from 'tap';
import { encodeRecord } from '../../lib/audit/encode.ts';
import type { AuditRecord, DecidedRecord, EndedRecord } from '../../lib/audit/record.ts';
import { MAX_TEXT } from '../../lib/audit/values.ts';

const TIME = '2026-01-02T03:04:05.678Z';

const DECIDED: Required<DecidedRecord> = {
  time: TIME,
  kind: 'decided',
  exchange: '0b6e3d2c-0000-4000-8000-000000000001',
  entry: 'forward',
  tunnel: '0b6e3d2c-0000-4000-8000-000000000002',
  asker: '0b6e3d2c-0000-4000-8000-000000000003',
  effect: 'allow',
  code: 'allowed',
  reason: 'rule read-customers allows it',
  rule: 'read-customers',
  action: 'read',
  policyError: 'no-exports: a key that it reads is not there',
  destination: 'crm',
  dataClass: 'confidential',
  host: 'crm.internal',
  port: 80,
  method: 'GET',
  path: '/v1/customers/7',
  mcpMethod: 'tools/call',
  mcpVersion: '2025-11-25',
  tool: 'get_customer',
  prompt: 'summary',
  resource: 'crm://customers/7',
  argsDigest: 'cd34',
  policy: 3,
  policyDigest: 'ab12',
  identity: 2,
  spiffeId: 'spiffe://example.org/agent',
  agent: 'researcher',
  task: 't-aaaaaaaaaaaaaaaaaaaa',
  parameters: 'sha-256:47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU',
  stepUp: 's-0b6e3d2c-0000-4000-8000-000000000001',
};

const ENDED: Required<EndedRecord> = {
  time: TIME,
  kind: 'ended',
  exchange: DECIDED.exchange,
  outcome: 'upstream-cut',
  reason: 'the upstream closed early',
  status: 502,
  toldInside: true,
  grpcStatus: 14,
  peer: 'spiffe://example.org/crm',
  serial: '0A',
  credential: 'jwt-svid',
  withheld: '2 of 5 tools not allowed',
  address: '10.0.0.7:8443',
  via: 'http://proxy.corp.example:3128',
  sent: 12,
  received: 34,
  durationMs: 5.5,
};

const ALL: readonly AuditRecord[] = [
  DECIDED,
  ENDED,
  {
    time: TIME,
    kind: 'refused',
    exchange: 'e',
    entry: 'connect',
    code: 'malformed',
    reason: 'two Host fields',
  },
  {
    time: TIME,
    kind: 'redecided',
    exchange: 'e',
    effect: 'deny',
    code: 'no-rule-matched',
    reason: 'reloaded',
    policy: 4,
    identity: 2,
  },
  {
    time: TIME,
    kind: 'lifecycle',
    event: 'policy-loaded',
    detail: { digest: 'ab', generation: 4 },
  },
];

t.test(
  'every member of every kind of record is written, in the order of its type, and reads back as it was',
  async (t) => {
    for (const record of ALL) {
      const line = encodeRecord(record);
      t.match(line, /^\{"time":"[^"]+","kind":"[a-z]+",.*\}\n$/);
      t.same(JSON.parse(line), record, record.kind);
      t.same(Object.keys(JSON.parse(line)), Object.keys(record), `${record.kind}: order of keys`);
    }
  },
);

t.test(
  'members that are not there are left out, and what the type does not name is never written',
  async (t) => {
    const { rule: _rule, method: _method, ...rest } = DECIDED;
    t.notMatch(encodeRecord(rest), /"rule"|"method"/);
    const smuggled = { ...DECIDED, authorization: 'Bearer canary', toJSON: () => 'canary' };
    t.notMatch(encodeRecord(smuggled), /canary/);
  },
);

t.test('equal records give equal bytes, however they were built', async (t) => {
  const backwards = Object.fromEntries(
    Object.entries(DECIDED).reverse(),
  ) as unknown as DecidedRecord;
  t.equal(encodeRecord(backwards), encodeRecord(DECIDED));
  const detail = (entries: Record<string, number>): string =>
    encodeRecord({ time: TIME, kind: 'lifecycle', event: 'ready', detail: entries });
  t.equal(detail({ b: 1, a: 2 }), detail({ a: 2, b: 1 }));
});

t.test(
  'text from outside cannot end a line, colour a terminal or turn its direction (R7)',
  async (t) => {
    const nasty =
      '\u001b[31mred\r\n{"kind":"decided"}\u0085\u009b31m\u2028\u2029\u202e\u2066\u200b\ufeff\u007f\ud800"\\';
    const line = encodeRecord({ ...DECIDED, path: nasty, host: nasty });
    t.match(line, /^[ -~]*\n$/, 'nothing but printable ASCII and the last line end');
    t.equal(JSON.parse(line).path, nasty, 'and still the same text');
  },
);

t.test('any text gives one line that parses (R7, property)', async (t) => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 80 }), (text) => {
      const line = encodeRecord({ ...DECIDED, reason: text });
      const controls = /[\p{Cc}\u2028-\u202e\u2066-\u2069\u200e\u200f\ufeff]/u;
      return (
        line.endsWith('}\n') &&
        !controls.test(line.slice(0, -1)) &&
        JSON.parse(line).reason === text
      );
    }),
  );
  t.pass();
});

t.test('text is cut to its stated length and numbers stay numbers', async (t) => {
  const line = encodeRecord({ ...ENDED, reason: 'x'.repeat(5000), durationMs: NaN });
  t.equal(JSON.parse(line).reason.length, MAX_TEXT + 1);
  t.equal(JSON.parse(line).durationMs, null);
});
