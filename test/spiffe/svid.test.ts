import { generateKeyPairSync, X509Certificate } from 'node:crypto';
import t from 'tap';
import { parseX509Svid, type X509SvidParts } from '../../lib/spiffe/svid.ts';
import { testAuthority } from '../support/authority.ts';

const ca = await testAuthority();
const issued = await ca.svid('/agent');
const good: X509SvidParts = {
  spiffeId: issued.id,
  certs: issued.concatenated,
  key: issued.privateKey,
  hint: 'main',
};

t.test('parses an X.509-SVID into an immutable value (C-50)', async (t) => {
  const svid = parseX509Svid(good, Date.now());
  t.match(svid, { id: issued.id, hint: 'main', serial: issued.leaf.serialNumber });
  t.equal(svid.notAfter, issued.leaf.validToDate.getTime());
  t.ok(Object.isFrozen(svid) && Object.isFrozen(svid.chain));
  const below = await (await ca.intermediate()).svid('/agent');
  t.equal(
    parseX509Svid({ ...good, certs: below.concatenated, key: below.privateKey }, Date.now()).chain
      .length,
    2,
  );
});

t.test('refuses what does not fit together, and never tells of the key (C-55)', async (t) => {
  const other = await ca.svid('/other');
  const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
    format: 'der',
    type: 'pkcs8',
  });
  const encrypted = issued.key.export({
    format: 'der',
    type: 'pkcs8',
    cipher: 'aes-256-cbc',
    passphrase: 'x',
  });
  const sec1 = issued.key.export({ format: 'der', type: 'sec1' });
  const later = Date.now() + 2 * 3_600_000;
  const rows: readonly (readonly [string, Partial<X509SvidParts>, string, number?])[] = [
    ['the key of another', { key: other.privateKey }, 'bad-svid'],
    ['a key of another kind', { key: rsa }, 'bad-svid'],
    ['an encrypted key', { key: encrypted }, 'bad-svid'],
    ['a key that is not PKCS#8', { key: sec1 }, 'bad-svid'],
    [
      'a key with bytes after it',
      { key: Buffer.concat([issued.privateKey, Buffer.from([0])]) },
      'bad-svid',
    ],
    ['a key that is PEM', { key: Buffer.from(issued.privateKeyPem) }, 'bad-svid'],
    ['no key', { key: new Uint8Array() }, 'bad-svid'],
    ['certificates in PEM', { certs: Buffer.from(issued.certificatesPem) }, 'bad-svid'],
    ['no certificate', { certs: new Uint8Array() }, 'bad-svid'],
    [
      'bytes after the certificate',
      { certs: Buffer.concat([issued.concatenated, Buffer.from('x')]) },
      'bad-svid',
    ],
    ['two leaves', { certs: Buffer.concat([issued.concatenated, other.concatenated]) }, 'bad-svid'],
    ['another ID', { spiffeId: 'spiffe://example.org/other' }, 'bad-svid'],
    ['an ID that is none', { spiffeId: 'spiffe://Example.org/agent' }, 'bad-spiffe-id'],
    ['a hint that is too long', { hint: 'h'.repeat(1025) }, 'bad-svid'],
    [
      'a chain that is too long',
      { certs: Buffer.concat(Array(17).fill(issued.concatenated)) },
      'bad-svid',
    ],
    ['an expired leaf', {}, 'bad-svid', later],
  ];
  for (const [title, parts, code, now = Date.now()] of rows) {
    try {
      parseX509Svid({ ...good, ...parts }, now);
      t.fail(title);
    } catch (failure) {
      t.match(failure, { name: 'Fault', code }, title);
      t.notMatch(String(failure), /PRIVATE|MIGH/, 'no key in the message');
    }
  }
  t.ok(
    new X509Certificate(issued.certificatesPem).checkPrivateKey(issued.key),
    'the parts were good',
  );
});
