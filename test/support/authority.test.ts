import { X509Certificate } from 'node:crypto';
import t from 'tap';
import { MALFORMED_LEAVES, testAuthority } from './authority.ts';

t.test(
  'a right leaf verifies against its root and carries explicit constraints (S-19)',
  async (t) => {
    const authority = await testAuthority({ trustDomain: 'example.org' });
    const root = new X509Certificate(authority.certificate);
    const svid = await authority.svid('/agent');
    t.equal(svid.leaf.subjectAltName, 'URI:spiffe://example.org/agent');
    t.ok(svid.leaf.checkIssued(root));
    t.ok(svid.leaf.verify(root.publicKey));
    t.notOk(svid.leaf.ca);
    t.ok(svid.leaf.checkPrivateKey(svid.key));
    t.strictSame(svid.leaf.keyUsage, ['1.3.6.1.5.5.7.3.1', '1.3.6.1.5.5.7.3.2']);
    t.ok(
      Buffer.from(svid.leaf.raw).includes(Buffer.from('551d130101ff04023000', 'hex')),
      'basicConstraints CA:FALSE',
    );
  },
);

t.test('every malformed leaf can be issued', async (t) => {
  const authority = await testAuthority();
  for (const { title, options, pathOrId = '/agent' } of MALFORMED_LEAVES) {
    const svid = await authority.svid(pathOrId, options);
    t.ok(svid.leaf.verify(new X509Certificate(authority.certificate).publicKey), title);
  }
});

t.test('intermediates go after the leaf and may be wrong', async (t) => {
  const authority = await testAuthority();
  const first = await authority.intermediate({ pathLength: 0 });
  const second = await first.intermediate({ ca: false, permittedUriHosts: ['.other.test'] });
  const svid = await second.svid('/deep', { trailing: Buffer.from('junk') });
  t.equal(svid.chain.length, 3);
  t.notOk(svid.chain[1]?.ca);
  t.ok(svid.chain[2]?.ca);
  t.ok(svid.chain[0]?.checkIssued(new X509Certificate(second.certificate)));
  t.equal(
    Buffer.from(svid.certificates[0] ?? [])
      .subarray(-4)
      .toString(),
    'junk',
  );
  t.same(
    second.bundle.anchors.map((anchor) => anchor.subject),
    [new X509Certificate(second.certificate).subject],
  );
});
