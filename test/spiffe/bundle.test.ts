import { exportJWK, generateKeyPair } from 'jose';
import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { parseJwtBundle, parseX509Bundle } from '../../lib/spiffe/bundle.ts';
import { duplicateMember } from '../../lib/spiffe/jwks.ts';
import { parseTrustDomain } from '../../lib/spiffe/trust-domain.ts';
import { testAuthority } from '../support/authority.ts';

const ca = await testAuthority();
const second = await testAuthority();
const TD = parseTrustDomain('example.org');
const BAD = { name: 'Fault', code: 'bad-bundle' };
const json = (value: unknown): Uint8Array =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));
const ec = await exportJWK((await generateKeyPair('ES256', { extractable: true })).publicKey);
const rsa = await exportJWK((await generateKeyPair('RS256', { extractable: true })).publicKey);
const secret = await exportJWK((await generateKeyPair('ES256', { extractable: true })).privateKey);
const root = (der: Uint8Array): Record<string, unknown> => ({
  ...ec,
  use: 'x509-svid',
  x5c: [Buffer.from(der).toString('base64')],
});

t.test('an X.509 bundle is every authority once, of one trust domain (C-50, B-07)', async (t) => {
  const bytes = Buffer.concat([ca.certificate, second.certificate, ca.certificate]);
  const bundle = parseX509Bundle(TD, bytes);
  t.equal(bundle.trustDomain, 'example.org');
  t.equal(bundle.anchors.length, 2);
  t.ok(Object.isFrozen(bundle) && Object.isFrozen(bundle.anchors));
});

t.test('an empty X.509 bundle is legal and trusts nothing (C-24, B-05)', async (t) => {
  t.same(parseX509Bundle(TD, new Uint8Array()).anchors, []);
});

t.test('refuses a bundle with a leaf, junk, or too much in it (X-20, C-50, C-56)', async (t) => {
  const leaf = await ca.svid('/agent');
  const rows: readonly (readonly [string, Uint8Array])[] = [
    ['nothing but a leaf', leaf.concatenated],
    ['nothing but a broken certificate', Buffer.from([0x30, 3, 2, 1, 5])],
    ['junk after it', Buffer.concat([ca.certificate, Buffer.from('junk')])],
    ['PEM', Buffer.from(ca.pem)],
    ['a cut certificate', ca.certificate.subarray(0, -3)],
    ['too many', Buffer.concat(Array(257).fill(ca.certificate))],
    ['too many bytes', new Uint8Array((1 << 20) + 1)],
  ];
  for (const [title, bytes] of rows) t.throws(() => parseX509Bundle(TD, bytes), BAD, title);
});

t.test(
  'one certificate that is no authority is left out and told, the others stay (X-20, C-54)',
  async (t) => {
    const leaf = await ca.svid('/agent');
    const broken = Buffer.from([0x30, 3, 2, 1, 5]);
    const told: string[] = [];
    const der = Buffer.concat([leaf.concatenated, ca.certificate, broken, second.certificate]);
    const { anchors } = parseX509Bundle(TD, der, ({ message }) => told.push(message));
    t.same(
      anchors.map(({ raw }) => raw),
      [Buffer.from(ca.certificate), Buffer.from(second.certificate)],
    );
    t.match(told, [/broken certificate/, /no CA's/]);
  },
);

t.test('an intermediate is a legal authority (X-30)', async (t) => {
  t.equal(parseX509Bundle(TD, (await ca.intermediate()).certificate).anchors.length, 1);
});

t.test(
  'keeps JWT keys of the right use and of known types, and only their public part (B-04, J-10, C-30)',
  async (t) => {
    const keys = [
      { ...ec, kid: 'a', use: 'jwt-svid' },
      { ...rsa, kid: 'b', use: 'jwt-svid', alg: 'PS256' },
      { ...secret, kid: 'c', use: 'jwt-svid' },
      { ...ec, kid: 'none' },
      { ...ec, kid: 'wit', use: 'wit-svid' },
      { ...ec, kid: 'case', use: 'JWT-SVID' },
      { ...ec, kid: 'sig', use: 'sig' },
      { ...ec, use: 'jwt-svid' },
      { kty: 'oct', k: 'c2VjcmV0', kid: 'oct', use: 'jwt-svid' },
      { kty: 'OKP', crv: 'Ed25519', x: ec.x, kid: 'ed', use: 'jwt-svid' },
      { kty: 'EC', crv: 'P-256', kid: 'incomplete', use: 'jwt-svid' },
      { kty: 'new', kid: 'new', use: 'jwt-svid' },
      root(ca.certificate),
      'not an object',
    ];
    const kept = parseJwtBundle(TD, json({ keys, other: 1 })).keys.keys;
    t.same(
      kept.map(({ kid }) => kid),
      ['a', 'b', 'c', 'none'],
      'SPIRE sends no use',
    );
    t.same(
      Object.keys(kept[2] ?? {}).toSorted(),
      ['crv', 'kid', 'kty', 'x', 'y'],
      'no private member',
    );
  },
);

t.test('no keys are legal and no "keys" are not (B-01, B-05)', async (t) => {
  t.same(parseJwtBundle(TD, json({ keys: [] })).keys.keys, []);
  const rows = [
    '',
    '{',
    '[]',
    'null',
    '{}',
    '{"keys":{}}',
    '{"keys":[],"keys":[]}',
    '"x"',
    '{"keys":[{"kid":1,"kid":2}]}',
  ];
  for (const text of rows) t.throws(() => parseJwtBundle(TD, json(text)), BAD, text);
  t.throws(() => parseJwtBundle(TD, Buffer.from([0x7b, 0xff, 0x7d])), BAD, 'not UTF-8');
  const many = { keys: Array(257).fill({ ...ec, kid: 'a' }) };
  t.throws(() => parseJwtBundle(TD, json(many)), BAD, 'C-56');
});

t.test('finds a member that stands twice, and nothing in JSON without one', async (t) => {
  t.equal(duplicateMember('{"a":{"b":1,"c":{"b":2}},"d":["a",{"a":"x\\"a\\":"}]}'), undefined);
  t.equal(duplicateMember('[{"a":1},{"a":[{"k":1,"k":2}]}]'), 'k');
  t.equal(duplicateMember('{"a\\n":1,"b":2,"a\\u000a":3}'), 'a\n');
  fc.assert(
    fc.property(
      fc.json(),
      (text) => duplicateMember(JSON.stringify(JSON.parse(text))) === undefined,
    ),
  );
});

t.test('any bytes give a bundle or a Fault', async () => {
  const near = fc.oneof(
    fc.json(),
    fc.string({ unit: 'binary' }),
    fc.jsonValue().map((keys) => JSON.stringify({ keys: [keys] })),
  );
  fc.assert(
    fc.property(near, (text) => {
      for (const parse of [
        () => parseJwtBundle(TD, json(text)),
        () => parseX509Bundle(TD, json(text)),
      ]) {
        try {
          parse();
        } catch (failure) {
          if (!(failure instanceof Fault)) return false;
        }
      }
      return true;
    }),
    { numRuns: 1000 },
  );
});
