import t from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { verifyIssuedChain } from '../../lib/identity/chain.ts';
import { until } from '../support/until.ts';
import { testAuthority, type IssuerOptions, type TestIssuer } from '../support/authority.ts';

const ca = await testAuthority();
const HOUR = 3_600_000;

async function below(...issuers: readonly IssuerOptions[]): Promise<TestIssuer> {
  let issuer: TestIssuer = ca;
  for (const options of issuers) issuer = await issuer.intermediate(options);
  return issuer;
}

t.test('a chain leads to its anchor, directly and by intermediates (X-08, X-30)', async (t) => {
  await t.resolves(verifyIssuedChain((await ca.svid('/a')).x509Svid, ca.bundle, systemClock));
  const two = await below({}, {});
  const svid = (await two.svid('/a')).x509Svid;
  t.equal(svid.chain.length, 3);
  await t.resolves(verifyIssuedChain(svid, ca.bundle, systemClock));
  await t.resolves(
    verifyIssuedChain(svid, two.bundle, systemClock),
    'an anchor that is not self-signed',
  );
});

t.test('another authority of the same name is another authority (X-09)', async (t) => {
  const svid = (await ca.svid('/a')).x509Svid;
  const other = await testAuthority();
  await t.rejects(verifyIssuedChain(svid, other.bundle, systemClock), {
    name: 'Fault',
    code: 'bad-svid',
  });
});

t.test('no anchors trust nothing, never the system’s roots (invariant 2)', async (t) => {
  const svid = (await ca.svid('/a')).x509Svid;
  const none = { ...ca.bundle, anchors: [] };
  await t.rejects(verifyIssuedChain(svid, none, systemClock), { code: 'bad-svid' });
});

const past = { notBefore: Date.now() - 2 * HOUR, notAfter: Date.now() - HOUR };

const BROKEN: readonly (readonly [string, RegExp, () => Promise<TestIssuer>])[] = [
  ['an expired intermediate', /CERT_HAS_EXPIRED/, () => below(past)],
  ['an intermediate that is no CA', /INVALID_CA|INVALID_PURPOSE/, () => below({ ca: false })],
  [
    'an intermediate that may not sign',
    /key usage does not include certificate signing/,
    () => below({ keyUsage: ['digitalSignature'] }),
  ],
  ['a path that is too long', /PATH_LENGTH_EXCEEDED/, () => below({ pathLength: 0 }, {})],
  [
    'a name that is not permitted',
    /permitted subtree violation/,
    () => below({ permittedUriHosts: ['other.test'] }),
  ],
];

for (const [title, reason, issuer] of BROKEN) {
  t.test(`refuses ${title}, and says so (C-55, X-08, X-22)`, async (t) => {
    const svid = (await (await issuer()).svid('/a')).x509Svid;
    await t.rejects(verifyIssuedChain(svid, ca.bundle, systemClock), {
      name: 'Fault',
      code: 'bad-svid',
      message: reason,
    });
  });
}

t.test('a name that is permitted is accepted (X-22)', async (t) => {
  const issuer = await below({ permittedUriHosts: ['example.org'] });
  await t.resolves(verifyIssuedChain((await issuer.svid('/a')).x509Svid, ca.bundle, systemClock));
});

t.test('refuses an expired leaf and a missing intermediate (X-08)', async (t) => {
  const expired = (await ca.svid('/a', past)).x509Svid;
  await t.rejects(verifyIssuedChain(expired, ca.bundle, systemClock), {
    message: /CERT_HAS_EXPIRED/,
  });
  const svid = (await (await below({})).svid('/a')).x509Svid;
  const cut = { ...svid, chain: svid.chain.slice(0, 1) };
  await t.rejects(verifyIssuedChain(cut, ca.bundle, systemClock), { code: 'bad-svid' });
});

t.test('a key that is not the leaf’s is refused', async (t) => {
  const [one, other] = [await ca.svid('/a'), await ca.svid('/b')];
  const mixed = { ...one.x509Svid, privateKey: other.key };
  await t.rejects(verifyIssuedChain(mixed, ca.bundle, systemClock), { code: 'bad-svid' });
});

t.test('leaves nothing open', async (t) => {
  const svid = (await ca.svid('/a')).x509Svid;
  const held = (): number =>
    process.getActiveResourcesInfo().filter((kind) => /TLS|Socket|Pipe|Timeout/.test(kind)).length;
  // Whoever runs the tests holds pipes and timers of its own.
  const before = held();
  await Promise.all(
    Array.from({ length: 20 }, () => verifyIssuedChain(svid, ca.bundle, systemClock)),
  );
  await until('no handle and no timer is left', () => held() <= before);
  t.ok(held() <= before);
});
