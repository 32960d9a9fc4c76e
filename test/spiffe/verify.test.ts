import { webcrypto, X509Certificate } from 'node:crypto';
import 'reflect-metadata';
import * as peculiar from '@peculiar/x509';
import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { certificateFacts, splitCertificates } from '../../lib/spiffe/certificate.ts';
import { DerError, elements } from '../../lib/spiffe/der.ts';
import { verifyChainProfile, verifyLeaf } from '../../lib/spiffe/verify.ts';
import {
  MALFORMED_LEAVES,
  testAuthority,
  type IssuerOptions,
  type LeafOptions,
} from '../support/authority.ts';

const ca = await testAuthority();
const BAD = { name: 'Fault', code: 'bad-svid' };

async function chainOf(
  pathOrId: string,
  options: LeafOptions = {},
): Promise<readonly X509Certificate[]> {
  return (await ca.svid(pathOrId, options)).chain;
}

t.test('accepts what the profile asks for and says whose it is (X-01, X-02)', async (t) => {
  const { chain, leaf } = await ca.svid('/agent');
  t.equal(verifyLeaf(leaf), 'spiffe://example.org/agent');
  t.equal(verifyChainProfile(chain, Date.now()), 'spiffe://example.org/agent');
});

t.test(
  'other kinds of names beside the one URI do no harm, commas in them neither (X-01)',
  async (t) => {
    const [leaf] = await chainOf('/agent', {
      dns: ['a.example.org'],
      ips: ['10.0.0.1'],
      emails: ['URI:spiffe://x/y,URI:a@b'],
    });
    t.equal(verifyLeaf(leaf as X509Certificate), 'spiffe://example.org/agent');
  },
);

for (const { rule, title, pathOrId = '/agent', options } of MALFORMED_LEAVES) {
  if (rule === 'X-09') continue;
  t.test(`refuses a leaf with ${title} (${rule})`, async (t) => {
    const chain = await chainOf(pathOrId, options);
    t.throws(() => verifyChainProfile(chain, Date.now()), BAD);
    const fault = ((): unknown => {
      try {
        return verifyChainProfile(chain, Date.now());
      } catch (failure) {
        return failure;
      }
    })();
    t.match(fault, { message: /X509-SVID section \d/ }, 'the section is named');
  });
}

t.test('an absent extended key usage and an absent CA flag are legal (X-03, X-07)', async (t) => {
  t.equal(
    verifyChainProfile(await chainOf('/a', { purposes: 'absent' }), Date.now()),
    'spiffe://example.org/a',
  );
  t.equal(
    verifyChainProfile(await chainOf('/a', { ca: 'absent' }), Date.now()),
    'spiffe://example.org/a',
  );
  const critical = await chainOf('/a', { subject: '', sanCritical: true });
  t.equal(verifyChainProfile(critical, Date.now()), 'spiffe://example.org/a', 'X-06');
});

t.test('judges the dates of the leaf at the time that it is given (X-08)', async (t) => {
  const { chain, leaf } = await ca.svid('/agent');
  const [from, to] = [leaf.validFromDate.getTime(), leaf.validToDate.getTime()];
  t.throws(() => verifyChainProfile(chain, from - 1), BAD);
  t.doesNotThrow(() => verifyChainProfile(chain, from));
  t.doesNotThrow(() => verifyChainProfile(chain, to - 1));
  t.throws(() => verifyChainProfile(chain, to), BAD);
  t.throws(() => verifyChainProfile([], Date.now()), BAD);
});

t.test('a signing certificate never authenticates anybody (X-10)', async (t) => {
  const issuer = await ca.intermediate({ uris: ['spiffe://example.org'] });
  t.throws(() => verifyLeaf(new X509Certificate(issuer.certificate)), BAD);
  t.throws(() => verifyLeaf(new X509Certificate(ca.certificate)), BAD);
});

const ISSUERS: readonly (readonly [string, IssuerOptions, boolean])[] = [
  ['without a name', {}, true],
  ['with the ID of the trust domain', { uris: ['spiffe://example.org'] }, true],
  ['with a spelling of its own (I-10)', { uris: ['spiffe://example.org/'] }, true],
  ['without CA (X-20)', { ca: false }, false],
  ['without keyCertSign (X-20)', { keyUsage: ['cRLSign'] }, false],
  ['without key usage (X-20)', { keyUsage: 'absent' }, false],
  ['with a path in its ID (X-21)', { uris: ['spiffe://example.org/ca'] }, false],
  ['of another trust domain (X-21)', { uris: ['spiffe://other.test'] }, true],
  ['whose key usage is not critical (X-20)', { keyUsageCritical: false }, false],
];

for (const [title, options, good] of ISSUERS) {
  t.test(`${good ? 'accepts' : 'refuses'} an intermediate ${title}`, async (t) => {
    const { chain } = await (await ca.intermediate(options)).svid('/agent');
    t.equal(chain.length, 2);
    if (good) t.equal(verifyChainProfile(chain, Date.now()), 'spiffe://example.org/agent');
    else t.throws(() => verifyChainProfile(chain, Date.now()), BAD);
  });
}

t.test(
  'what is sent along and is not on the path, or is an anchor, does not matter (X-08)',
  async (t) => {
    const issuer = await ca.intermediate({ keyUsage: 'absent' });
    const { chain } = await issuer.svid('/agent');
    const stranger = (await (await testAuthority()).svid('/stranger')).leaf;
    const now = Date.now();
    t.throws(() => verifyChainProfile(chain, now), BAD);
    t.equal(
      verifyChainProfile(chain, now, { anchors: issuer.bundle.anchors }),
      'spiffe://example.org/agent',
    );
    const own = await chainOf('/agent');
    t.equal(verifyChainProfile([...own, stranger], now), 'spiffe://example.org/agent');
    const path = [...own, ...chain.slice(1), ...issuer.bundle.anchors];
    t.equal(
      verifyChainProfile(path, now),
      'spiffe://example.org/agent',
      'nobody of the path was issued by it',
    );
  },
);

t.test('a start that lies ahead is borne as far as is said, an end is not', async (t) => {
  const start = Math.floor(Date.now() / 1000) * 1000;
  const chain = await chainOf('/agent', { notBefore: start, notAfter: start + 60_000 });
  t.throws(() => verifyChainProfile(chain, start - 1), BAD);
  t.doesNotThrow(() => verifyChainProfile(chain, start - 5000, { skew: 5000 }));
  t.throws(() => verifyChainProfile(chain, start - 5001, { skew: 5000 }), BAD);
  t.throws(() => verifyChainProfile(chain, start + 60_000, { skew: 5000 }), BAD);
});

t.test('reads what an independent library reads', async (t) => {
  for (const { pathOrId = '/agent', options } of MALFORMED_LEAVES) {
    const [leaf] = await chainOf(pathOrId, options);
    if (leaf === undefined) throw new Error('no leaf');
    const facts = certificateFacts(leaf);
    const other = new peculiar.X509Certificate(leaf.raw);
    const usage = other.getExtension(peculiar.KeyUsagesExtension);
    const bits = usage?.usages ?? 0;
    t.same(
      facts,
      {
        subjectEmpty: other.subject === '',
        ca: other.getExtension(peculiar.BasicConstraintsExtension)?.ca ?? false,
        keyUsage: usage && {
          critical: usage.critical,
          digitalSignature: (bits & peculiar.KeyUsageFlags.digitalSignature) !== 0,
          keyCertSign: (bits & peculiar.KeyUsageFlags.keyCertSign) !== 0,
          cRLSign: (bits & peculiar.KeyUsageFlags.cRLSign) !== 0,
        },
        purposes: purposesIn(other),
        uris: urisIn(other),
        namesCritical:
          other.getExtension(peculiar.SubjectAlternativeNameExtension)?.critical ?? false,
      },
      JSON.stringify(options),
    );
  }
});

function purposesIn(other: peculiar.X509Certificate): unknown {
  const usages = other.getExtension(peculiar.ExtendedKeyUsageExtension)?.usages.map(String);
  return (
    usages && {
      serverAuth: usages.includes('1.3.6.1.5.5.7.3.1'),
      clientAuth: usages.includes('1.3.6.1.5.5.7.3.2'),
    }
  );
}

function urisIn(other: peculiar.X509Certificate): string[] {
  const names = other.getExtension(peculiar.SubjectAlternativeNameExtension)?.names.items ?? [];
  return names.filter(({ type }) => type === 'url').map(({ value }) => value);
}

async function withExtensions(extensions: readonly peculiar.Extension[]): Promise<X509Certificate> {
  const keys = await webcrypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, true, [
    'sign',
    'verify',
  ]);
  const made = await peculiar.X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=x',
      keys,
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions: [...extensions],
    },
    webcrypto,
  );
  return new X509Certificate(Buffer.from(made.rawData));
}

const names = (hex: string): peculiar.Extension =>
  new peculiar.Extension('2.5.29.17', false, Buffer.from(hex, 'hex'));

t.test('a name of a kind that general libraries do not know is left alone (X-01)', async (t) => {
  const uri = Buffer.from('spiffe://example.org/a').toString('hex');
  const uriName = `86${(uri.length / 2).toString(16).padStart(2, '0')}${uri}`;
  const otherName = 'a00b06092b0601040182371407';
  const total = ((uriName.length + otherName.length) / 2).toString(16).padStart(2, '0');
  const leaf = await withExtensions([
    names(`30${total}${otherName}${uriName}`),
    new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.digitalSignature, true),
  ]);
  t.equal(verifyLeaf(leaf), 'spiffe://example.org/a');
});

t.test('refuses an extension that stands twice and one that is not DER', async (t) => {
  const usage = new peculiar.KeyUsagesExtension(peculiar.KeyUsageFlags.digitalSignature, true);
  const one = new peculiar.SubjectAlternativeNameExtension([
    { type: 'url', value: 'spiffe://example.org/a' },
  ]);
  const two = new peculiar.SubjectAlternativeNameExtension([
    { type: 'url', value: 'spiffe://example.org/b' },
  ]);
  t.equal(verifyLeaf(await withExtensions([usage, one])), 'spiffe://example.org/a');
  const rows: readonly (readonly [readonly peculiar.Extension[], RegExp])[] = [
    [[usage, one, two], /one extension twice/],
    [[usage, usage, one], /one extension twice/],
    [[usage, names('3003860161aa')], /middle of a length/],
    [[usage, names('308003860161')], /forbidden form/],
    [[usage, names('3003860161020100')], /not the one value/],
  ];
  for (const [list, message] of rows) {
    const leaf = await withExtensions(list);
    t.throws(() => verifyLeaf(leaf), { ...BAD, message });
  }
});

t.test('splits concatenated DER to the last byte (C-50)', async (t) => {
  const issuer = await ca.intermediate();
  const { concatenated, chain } = await issuer.svid('/agent');
  const split = splitCertificates(concatenated, 'it', 'bad-svid');
  t.same(
    split.map(({ fingerprint256 }) => fingerprint256),
    chain.map(({ fingerprint256 }) => fingerprint256),
  );
  t.same(splitCertificates(new Uint8Array(), 'it', 'bad-svid'), []);
  const bad = [
    Buffer.concat([concatenated, Buffer.from([0])]),
    Buffer.concat([concatenated, Buffer.from('junk')]),
    concatenated.subarray(0, -1),
    concatenated.subarray(1),
    Buffer.from('-----BEGIN CERTIFICATE-----'),
    Buffer.from([0x30, 0x80, 0, 0]),
    Buffer.from([0x30, 0x81, 0x01, 0x00]),
    Buffer.from([0x30, 0x00]),
    Buffer.from([0x1f, 0x81]),
  ];
  for (const bytes of bad)
    t.throws(() => splitCertificates(bytes, 'it', 'bad-svid'), BAD, bytes.toString('hex', 0, 8));
});

t.test(
  'splitting any bytes gives certificates or a Fault, and elements give back every byte',
  async () => {
    const { concatenated } = await ca.svid('/agent');
    const damaged = fc
      .tuple(fc.nat(concatenated.length - 1), fc.nat(255))
      .map(([at, byte]) =>
        Uint8Array.from(concatenated, (old, index) => (index === at ? byte : old)),
      );
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), damaged), (bytes) => {
        try {
          const whole = Buffer.concat(elements(bytes).map((element) => element.whole));
          if (!whole.equals(bytes)) return false;
        } catch (failure) {
          if (!(failure instanceof DerError)) return false;
        }
        try {
          for (const certificate of splitCertificates(bytes, 'it', 'bad-svid'))
            verifyLeaf(certificate);
          return true;
        } catch (failure) {
          return failure instanceof Fault;
        }
      }),
      { numRuns: 1000 },
    );
  },
);
