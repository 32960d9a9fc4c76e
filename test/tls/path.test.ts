/**
 * Path validation without the peer's key, by OpenSSL: its verdicts are those of a real handshake.
 */
import { generateKeyPairSync } from 'node:crypto';
import type { X509Certificate } from 'node:crypto';
import t from 'tap';
import type { TrustDomain } from '../../lib/spiffe/trust-domain.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import { pathProblem } from '../../lib/tls/path.ts';
import { testAuthority, type TestIssuer } from '../support/authority.ts';

const DOMAIN = 'example.org' as TrustDomain;
const PAST = { notBefore: Date.UTC(2024, 0, 1), notAfter: Date.UTC(2024, 0, 2) };

async function problem(
  chain: readonly X509Certificate[],
  anchor: TestIssuer,
): Promise<string | undefined> {
  const authority = await testAuthority();
  const identity = authority.identity(await authority.svid('/ours'), [
    { ...anchor, trustDomain: DOMAIN },
  ]);
  return pathProblem(chain, tlsContexts().anchors(identity, DOMAIN));
}

t.test(
  'a valid chain has no problem, with one anchor or another of it, whatever the key',
  async (t) => {
    const root = await testAuthority();
    const middle = await root.intermediate();
    const { chain } = await (await middle.intermediate()).svid('/agent');
    t.equal(chain.length, 3);
    t.equal(await problem(chain, root), undefined);
    t.equal(await problem(chain, middle), undefined, 'an anchor that is not self-signed (X-30)');
    t.equal(await problem(chain.slice(0, 2), middle), undefined);
  },
);

t.test(
  'expired, no CA, too long, not permitted, another anchor, incomplete: each has its reason (X-08, X-20, X-22)',
  async (t) => {
    const root = await testAuthority();
    const chainOf = async (issuer: TestIssuer, options = {}) =>
      (await issuer.svid('/agent', options)).chain;
    const cases: readonly (readonly [string, readonly X509Certificate[], RegExp])[] = [
      ['an expired leaf', await chainOf(root, PAST), /CERT_HAS_EXPIRED/],
      ['an expired intermediate', await chainOf(await root.intermediate(PAST)), /CERT_HAS_EXPIRED/],
      ['CA:FALSE', await chainOf(await root.intermediate({ ca: false })), /INVALID/],
      [
        'no keyCertSign',
        await chainOf(await root.intermediate({ keyUsage: ['digitalSignature'] })),
        /UNSPECIFIED: /,
      ],
      [
        'path length',
        await chainOf(await (await root.intermediate({ pathLength: 0 })).intermediate()),
        /PATH_LENGTH_EXCEEDED/,
      ],
      [
        'name constraints',
        await chainOf(await root.intermediate({ permittedUriHosts: ['else.test'] })),
        /UNSPECIFIED: permitted subtree/,
      ],
      ['another purpose', await chainOf(root, { purposes: ['codeSigning'] }), /INVALID_PURPOSE/],
      [
        'without its intermediate',
        (await chainOf(await root.intermediate())).slice(0, 1),
        /UNABLE_TO/,
      ],
      ['another authority', await chainOf(await testAuthority()), /UNABLE_TO|SIGNATURE/],
    ];
    for (const [title, chain, expected] of cases)
      t.match((await problem(chain, root)) ?? 'no problem', expected, title);
  },
);

t.test('a chain that is longer than a record is validated too', async (t) => {
  const root = await testAuthority();
  const names = Array.from({ length: 800 }, (_, n) => `name-${n}.a-rather-long-name.example.org`);
  const { chain } = await root.svid('/agent', { dns: names });
  t.ok((chain[0]?.raw.length ?? 0) > 16_384);
  t.equal(await problem(chain, root), undefined);
});

t.test('a key that no certificate verification can use is a Fault, not a wait', async (t) => {
  const root = await testAuthority();
  const { publicKey } = generateKeyPairSync('x25519');
  const { chain } = await root.svid('/agent');
  const [leaf] = chain;
  if (leaf === undefined) throw new TypeError('a chain has a leaf');
  const odd = new Proxy(leaf, {
    get: (target, name) =>
      name === 'raw'
        ? publicKey.export({ type: 'spki', format: 'der' })
        : Reflect.get(target, name, target),
  });
  await t.rejects(problem([odd], root), { code: 'upstream-tls', message: /cannot be read/ });
  await t.rejects(problem([], root), { code: 'upstream-tls' });
});

t.test('many at once do not disturb each other', async (t) => {
  const [root, other] = await Promise.all([testAuthority(), testAuthority()]);
  const { chain } = await root.svid('/agent');
  const verdicts = await Promise.all(
    Array.from({ length: 40 }, (_, n) => problem(chain, n % 2 === 0 ? root : other)),
  );
  for (const [n, verdict] of verdicts.entries()) t.equal(verdict === undefined, n % 2 === 0);
});
