import { generateKeyPairSync } from 'node:crypto';
import t from 'tap';
import { parseJwtBundle } from '../../lib/spiffe/bundle.ts';
import { validateJwtSvid } from '../../lib/spiffe/jwt-svid.ts';
import { LIMITS } from '../../lib/spiffe/limits.ts';
import { parseTrustDomain } from '../../lib/spiffe/trust-domain.ts';

const TD = parseTrustDomain('example.org');

t.test('a JWT bundle has at most so many keys', async (t) => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const jwk = publicKey.export({ format: 'jwk' });
  const bundle = (count: number): Uint8Array =>
    Buffer.from(
      JSON.stringify({ keys: Array.from({ length: count }, (_, i) => ({ ...jwk, kid: `k${i}` })) }),
    );
  t.equal(parseJwtBundle(TD, bundle(LIMITS.keys)).keys.keys.length, LIMITS.keys);
  t.throws(() => parseJwtBundle(TD, bundle(LIMITS.keys + 1)), {
    code: 'bad-bundle',
  });
});

t.test('a JWT-SVID has a longest length, to the character', async (t) => {
  const options = { audience: 'crm', bundles: new Map(), now: Date.now() };
  const words = (text: string) =>
    validateJwtSvid(text, options).then(String, (fault: unknown) => String(fault));
  t.match(await words('a'.repeat(LIMITS.token + 1)), /longer than 16384 characters/);
  t.notMatch(await words('a'.repeat(LIMITS.token)), /longer than/);
});
