import { createHmac, generateKeyPairSync, KeyObject, sign } from 'node:crypto';
import { exportJWK, FlattenedSign, generateKeyPair, SignJWT } from 'jose';
import type { CryptoKey, JWK } from 'jose';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import type { JwtBundle } from '../../lib/spiffe/identity.ts';
import { readIssuedJwtSvid, validateJwtSvid } from '../../lib/spiffe/jwt-svid.ts';
import { parseTrustDomain } from '../../lib/spiffe/trust-domain.ts';

const NOW = Date.UTC(2030, 0, 1);
const S = NOW / 1000;
const SUB = 'spiffe://example.org/agent';

interface Signer {
  readonly alg: string;
  readonly privateKey: CryptoKey;
  readonly jwk: JWK;
}

async function signer(alg: string, kid: string): Promise<Signer> {
  const { privateKey, publicKey } = await generateKeyPair(alg, { extractable: true });
  return { alg, privateKey, jwk: { ...(await exportJWK(publicKey)), kid } };
}

const es256 = await signer('ES256', 'es256');
const stranger = await signer('ES256', 'es256');

const bundle = (
  keys: readonly JWK[],
  name = 'example.org',
): ReadonlyMap<ReturnType<typeof parseTrustDomain>, JwtBundle> =>
  new Map([
    [parseTrustDomain(name), { trustDomain: parseTrustDomain(name), keys: { keys: [...keys] } }],
  ]);
const bundles = bundle([es256.jwk]);

interface Changes {
  readonly header?: Readonly<Record<string, unknown>>;
  readonly claims?: Readonly<Record<string, unknown>>;
  readonly by?: Signer;
}

/** A good token but for the changes; undefined takes a member away. */
function token({ header = {}, claims = {}, by = es256 }: Changes = {}): Promise<string> {
  const all = { sub: SUB, aud: ['crm'], exp: S + 300, iat: S, ...claims };
  return new SignJWT(JSON.parse(JSON.stringify(all)))
    .setProtectedHeader(
      JSON.parse(JSON.stringify({ alg: by.alg, kid: by.jwk.kid, typ: 'JWT', ...header })),
    )
    .sign(by.privateKey, { crit: { x: true } });
}

const options = { audience: 'crm', bundles, now: NOW };

async function refused(
  t: Test,
  text: string,
  title: string,
  change: Partial<typeof options> = {},
): Promise<Fault> {
  try {
    await validateJwtSvid(text, { ...options, ...change });
  } catch (failure) {
    if (!(failure instanceof Fault)) throw failure;
    t.equal(failure.code, 'bad-jwt-svid', title);
    t.notOk(text.length > 40 && failure.describe().includes(text), 'no token in the message');
    return failure;
  }
  throw new Error(`accepted: ${title}`);
}

t.test('accepts a good token and tells whose it is (J-02, J-07, J-08, J-09)', async (t) => {
  const svid = await validateJwtSvid(
    await token({ claims: { aud: ['crm', 'erp'], nbf: S - 5, extra: 1 } }),
    options,
  );
  t.match(svid, {
    id: SUB,
    audience: ['crm', 'erp'],
    expiresAt: NOW + 300_000,
    claims: { extra: 1 },
  });
  t.equal(
    (await validateJwtSvid(await token({ claims: { aud: 'crm' } }), options)).audience[0],
    'crm',
  );
});

for (const alg of [
  'RS256',
  'RS384',
  'RS512',
  'ES256',
  'ES384',
  'ES512',
  'PS256',
  'PS384',
  'PS512',
]) {
  t.test(`accepts ${alg} and no other key for it (J-02, J-03)`, async (t) => {
    const by = await signer(alg, 'k');
    const good = await token({ by });
    t.equal((await validateJwtSvid(good, { ...options, bundles: bundle([by.jwk]) })).id, SUB);
    const other = await signer(alg.startsWith('ES') ? 'RS256' : 'ES256', 'k');
    await refused(t, good, 'a key of another type', { bundles: bundle([other.jwk]) });
    await refused(t, good, 'a key for another algorithm', {
      bundles: bundle([{ ...by.jwk, alg: 'XX256' }]),
    });
  });
}

t.test('a key on another curve does not fit (J-03)', async (t) => {
  const by = await signer('ES384', 'es256');
  await refused(t, await token(), 'P-384', { bundles: bundle([by.jwk]) });
});

t.test('refuses algorithms beside the nine, even with a key for them (J-02)', async (t) => {
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const body = part({ sub: SUB, aud: ['crm'], exp: S + 300 });
  const head = (alg: unknown): string => `${part({ alg, kid: 'k', typ: 'JWT' })}.${body}`;
  await refused(t, `${head('none')}.`, 'none, unsigned');
  await refused(t, `${head('none')}.AA`, 'none with something');
  await refused(t, `${head('NONE')}.AA`, 'NONE');
  const mac = (data: string): string =>
    createHmac('sha256', 'secret').update(data).digest('base64url');
  const oct = { kty: 'oct', k: Buffer.from('secret').toString('base64url'), kid: 'k' };
  await refused(t, `${head('HS256')}.${mac(head('HS256'))}`, 'HS256', { bundles: bundle([oct]) });
  const ed = generateKeyPairSync('ed25519');
  const jwk = { ...ed.publicKey.export({ format: 'jwk' }), kid: 'k' } as JWK;
  for (const alg of ['EdDSA', 'Ed25519']) {
    const signature = sign(null, Buffer.from(head(alg)), ed.privateKey).toString('base64url');
    const fault = await refused(t, `${head(alg)}.${signature}`, alg, { bundles: bundle([jwk]) });
    t.match(fault.message, /not allowed/);
  }
  await refused(t, `${head(undefined)}.AA`, 'no algorithm');
  await refused(t, `${head(['ES256'])}.AA`, 'an array');
});

t.test('refuses every form but the compact one (J-01)', async (t) => {
  const good = await token();
  const json = await new FlattenedSign(
    Buffer.from(JSON.stringify({ sub: SUB, aud: 'crm', exp: S + 300 })),
  )
    .setProtectedHeader({ alg: 'ES256', kid: 'es256' })
    .sign(es256.privateKey);
  const forms = [
    '',
    'a',
    'a.b',
    'a.b.c',
    '..',
    `${good}.x`,
    `${good}.`,
    ` ${good}`,
    `${good}\n`,
    `Bearer ${good}`,
    `${good}=`,
  ];
  for (const text of [
    ...forms,
    JSON.stringify(json),
    good.replace('.', '..'),
    'x'.repeat(20_000),
  ]) {
    await refused(t, text, text.slice(0, 20));
  }
});

t.test('a type is JWT or JOSE or absent (J-05, W-06)', async (t) => {
  for (const typ of ['JWT', 'JOSE', undefined]) {
    t.equal(
      (await validateJwtSvid(await token({ header: { typ } }), options)).id,
      SUB,
      String(typ),
    );
  }
  for (const typ of ['jwt', 'wit+jwt', 'at+jwt', '', 1, null]) {
    await refused(t, await token({ header: { typ } }), String(typ));
  }
});

t.test('refuses critical headers, and never uses keys that the token brings (J-06)', async (t) => {
  await refused(t, await token({ header: { crit: ['x'], x: 1 } }), 'crit');
  const jwk = { ...stranger.jwk };
  const brought = {
    jwk,
    jku: 'https://evil.test/keys',
    x5u: 'https://evil.test/cert',
    x5c: ['AAAA'],
  };
  await refused(t, await token({ by: stranger, header: brought }), 'keys brought along');
});

t.test('refuses every header parameter but alg, kid and typ (J-06)', async (t) => {
  for (const name of ['jku', 'jwk', 'x5u', 'x5c', 'x5t', 'x5t#S256', 'cty', 'b64', 'private']) {
    const fault = await refused(t, await token({ header: { [name]: 'x' } }), name);
    t.match(fault.message, name === 'b64' ? /b64|crit/ : `has the header parameter "${name}"`);
  }
});

t.test(
  'refuses a member that is there twice, in header and claims, however it is spelt (J-07)',
  async (t) => {
    const part = (json: string): string => Buffer.from(json).toString('base64url');
    const claims = `"aud":["crm"],"exp":${S + 300}`;
    const good = part(`{"alg":"ES256","kid":"es256"}`);
    const rows: readonly (readonly [string, string])[] = [
      [good, part(`{"sub":"spiffe://example.org/admin","sub":"${SUB}",${claims}}`)],
      [good, part(`{"sub":"spiffe://example.org/admin","s\\u0075b":"${SUB}",${claims}}`)],
      [good, part(`{"sub":"${SUB}",${claims},"deep":[{"a":1,"a":2}]}`)],
      [part(`{"alg":"ES256","kid":"other","kid":"es256"}`), part(`{"sub":"${SUB}",${claims}}`)],
    ];
    for (const [header, payload] of rows) {
      const text = `${header}.${payload}`;
      const key = KeyObject.from(es256.privateKey);
      const signature = sign('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' });
      const fault = await refused(t, `${text}.${signature.toString('base64url')}`, payload);
      t.match(fault.message, /twice/);
    }
  },
);

t.test('refuses each claim that is missing or wrong (J-07, J-08, J-09)', async (t) => {
  const rows: readonly (readonly [string, Readonly<Record<string, unknown>>])[] = [
    ['no subject', { sub: undefined }],
    ['a subject that is a number', { sub: 1 }],
    ['a subject that is no SPIFFE ID', { sub: 'agent' }],
    ['a subject with an upper-case trust domain', { sub: 'spiffe://Example.org/agent' }],
    ['no audience', { aud: undefined }],
    ['an empty audience', { aud: [] }],
    ['another audience', { aud: ['erp'] }],
    ['an audience in another case', { aud: ['CRM'] }],
    ['an audience with a number in it', { aud: ['crm', 1] }],
    ['an audience that is an object', { aud: { crm: true } }],
    ['no expiry', { exp: undefined }],
    ['an expiry that is text', { exp: String(S + 300) }],
    ['expired', { exp: S - 11 }],
    ['not yet valid', { nbf: S + 11 }],
    ['a "not before" that is text', { nbf: 'now' }],
    ['a "not before" past what a date can say', { nbf: -1e300 }],
    ['an expiry past what a date can say', { exp: 8.64e12 + 1 }],
  ];
  for (const [title, claims] of rows) await refused(t, await token({ claims }), title);
  await refused(t, await token({ claims: { aud: [''] } }), 'nobody', { audience: '' });
});

t.test('forgives a difference of clocks of ten seconds and no more (J-09)', async (t) => {
  const text = await token({ claims: { exp: S, nbf: S } });
  for (const now of [NOW - 10_000, NOW, NOW + 9_999]) {
    t.equal((await validateJwtSvid(text, { ...options, now })).id, SUB, String(now - NOW));
  }
  await refused(t, text, 'too late', { now: NOW + 10_000 });
  await refused(t, text, 'too early', { now: NOW - 10_001 });
});

t.test('only the keys of the subject’s trust domain count (J-07, C-31)', async (t) => {
  const text = await token();
  await refused(t, text, 'no bundle', { bundles: new Map() });
  await refused(t, text, 'the key is another domain’s', {
    bundles: new Map([...bundle([stranger.jwk]), ...bundle([es256.jwk], 'other.test')]),
  });
  await refused(t, text, 'an empty bundle', { bundles: bundle([]) });
  const foreign = await token({ claims: { sub: 'spiffe://other.test/agent' } });
  await refused(t, foreign, 'signed by us, subject elsewhere', {
    bundles: new Map([...bundles, ...bundle([], 'other.test')]),
  });
});

t.test('a signature that does not hold is refused', async (t) => {
  const [head, body, signature = ''] = (await token()).split('.');
  const other = Buffer.from(JSON.stringify({ sub: SUB, aud: ['crm'], exp: S + 9e9 })).toString(
    'base64url',
  );
  await refused(t, `${head}.${other}.${signature}`, 'another body');
  await refused(
    t,
    `${head}.${body}.${signature.startsWith('A') ? 'B' : 'A'}${signature.slice(1)}`,
    'another signature',
  );
  await refused(t, await token({ by: stranger }), 'the key ID of another key');
});

t.test('a token without key ID is tried with at most eight keys that fit (J-04)', async (t) => {
  const text = await token({ header: { kid: undefined } });
  const [rs, others] = [
    await signer('RS256', 'rs'),
    Array.from({ length: 8 }, (_, n) => ({ ...stranger.jwk, kid: `s${n}` })),
  ];
  const among = (before: number): ReturnType<typeof bundle> =>
    bundle([...Array(20).fill(rs.jwk), ...others.slice(0, before), es256.jwk]);
  t.equal(
    (await validateJwtSvid(text, { ...options, bundles: among(7) })).id,
    SUB,
    'the eighth that fits',
  );
  await refused(t, text, 'the ninth', { bundles: among(8) });
  await refused(t, await token({ header: { kid: '' } }), 'an empty key ID is a key ID');
  await refused(t, await token({ header: { kid: 'unknown' } }), 'an unknown key ID');
});

t.test('what was issued to us is checked but for the signature', async (t) => {
  const text = await token({ by: stranger });
  t.match(readIssuedJwtSvid(text, { audience: 'crm', now: NOW }), {
    id: SUB,
    expiresAt: NOW + 300_000,
  });
  t.throws(() => readIssuedJwtSvid(text, { audience: 'erp', now: NOW }), { code: 'bad-jwt-svid' });
  t.throws(() => readIssuedJwtSvid(text, { audience: 'crm', now: NOW + 400_000 }), {
    code: 'bad-jwt-svid',
  });
  const early = (ahead: number): Promise<string> => token({ claims: { nbf: S + ahead } });
  t.equal(
    readIssuedJwtSvid(await early(60), { audience: 'crm', now: NOW }).id,
    SUB,
    'our clock may be the slow one',
  );
  const late = await early(61);
  t.throws(() => readIssuedJwtSvid(late, { audience: 'crm', now: NOW }), { code: 'bad-jwt-svid' });
});

t.test('any text is a Fault and nothing else', async () => {
  const [head = '', body = ''] = (await token()).split('.');
  const part = fc.oneof(
    fc.constant(head),
    fc.constant(body),
    fc.json().map((text) => Buffer.from(text).toString('base64url')),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.oneof(
        fc.string(),
        fc.tuple(part, part, part).map((parts) => parts.join('.')),
      ),
      async (text) => {
        try {
          await validateJwtSvid(text, options);
          return false;
        } catch (failure) {
          return failure instanceof Fault && failure.code === 'bad-jwt-svid';
        }
      },
    ),
    { numRuns: 500 },
  );
});
