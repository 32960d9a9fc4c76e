import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import {
  idOfTrustDomain,
  parseSpiffeId,
  parseTrustDomainKey,
  pathOf,
  trustDomainOf,
} from '../../lib/spiffe/id.ts';
import { parseTrustDomain } from '../../lib/spiffe/trust-domain.ts';

const TD = 'spiffe://trustdomain';
const LONG_TD = `spiffe://${'a'.repeat(255)}`;

function refusal(act: () => unknown): Fault {
  try {
    act();
  } catch (failure) {
    if (failure instanceof Fault) return failure;
    throw failure;
  }
  throw new Error('was accepted');
}

const ACCEPTED = [
  ...['', '/path', '/path/element', '/.path', '/..path', '/...', '/.x'].map((path) => TD + path),
  'spiffe://1.2.3.4/service',
  'spiffe://a_b.example/foo',
  'spiffe://a',
  ...[
    'example..org',
    '.example.org',
    'example.org.',
    '-example.org',
    'example-.org',
    '_dmarc.example.org',
  ].map((name) => `spiffe://${name}`),
  `${TD}/2f0ba7a0-53a2-4a43-9d4b-7a2a4b3b7b0a`,
  `${TD}/AZaz09._-`,
  LONG_TD,
  `${TD}/${'p'.repeat(2048 - TD.length - 1)}`,
];

const REFUSED = [
  '',
  's',
  'spiffe:/',
  'spiffe://',
  'spiffe:///',
  'spiffe:///path',
  'spiffe:path/element',
  'spiffe:/path/element',
  'xspiffe://td/a',
  'http://domain.test/path/element',
  '192.168.2.2:6688',
  ' spiffe://td/a',
  'spiffe://td/a ',
  'Spiffe://trustdomain/path',
  'SPIFFE://trustdomain/path',
  'spiffe://TRUSTDOMAIN/path',
  'spiffe://trustdomaiN',
  ...[
    '/',
    '//',
    '//path',
    '/path/',
    '/.',
    '/./path',
    '/path/.',
    '/path/./other',
    '/..',
    '/../path',
    '/path/..',
  ].map((path) => TD + path),
  `${TD}/path/../other`,
  ...['td:8080/a', 'td:/a', 'user:password@test.org/a', 'u@td/a', '@td/a'].map(
    (rest) => `spiffe://${rest}`,
  ),
  ...['?query=1', '?', '#fragment', '#', '$', ';bar', ':bar', '@bar', ' bar', '!b'].map(
    (end) => `${TD}/path${end}`,
  ),
  `${TD}?query`,
  `${TD}#fragment`,
  `${TD}\\path`,
  'spiffe://%F0%9F%A4%AF/path',
  `${TD}/%F0%9F%A4%AF`,
  'spiffe://%62%61%64/path',
  `${TD}/%62%61%64`,
  `${TD}/elem%5uent`,
  'spiffe://example%2eorg/a',
  'spiffe://trust$domain/path',
  'spiffe://[::1]/a',
  'spiffe://[2001:db8::1]/a',
  `spiffe://${'a'.repeat(256)}`,
  `${TD}/${'p'.repeat(2048 - TD.length)}`,
  'spiffe://tru\u0455tdomain/a',
  `${TD}/\u0430`,
  'spiffe://\u212Aelvin/a',
  `${TD}/a\u0000`,
  `${TD}/a\n`,
  '\u{1F92F}',
];

t.test(
  'accepts every legal spelling and gives back its parts (I-01, I-03, I-04, I-05, I-06)',
  async (t) => {
    for (const text of ACCEPTED) {
      const id = parseSpiffeId(text);
      t.equal(id, text);
      t.equal(`spiffe://${trustDomainOf(id)}${pathOf(id)}`, text);
    }
    const id = parseSpiffeId('spiffe://example.org/ns/a');
    t.equal(trustDomainOf(id), 'example.org');
    t.equal(pathOf(id), '/ns/a');
    t.equal(idOfTrustDomain(trustDomainOf(id)), 'spiffe://example.org');
  },
);

t.test(
  'refuses every other spelling with a named error (I-01, I-02, I-03, I-04, I-05, I-06, I-07)',
  async (t) => {
    for (const text of REFUSED) {
      const fault = refusal(() => parseSpiffeId(text));
      t.equal(fault.code, 'bad-spiffe-id', JSON.stringify(text.slice(0, 60)));
      t.ok(fault.hint);
      t.ok(fault.message.length < 250, 'the message is bounded');
      t.match(fault.message, /^[\x20-\x7e]*$/, 'the message is printable');
    }
  },
);

t.test('says upper case is the problem rather than folding it (I-07)', async (t) => {
  t.match(refusal(() => parseSpiffeId('spiffe://Example.org/a')).message, /upper-case/);
});

t.test('decides on every byte exactly as the grammar does (I-03, I-05)', async (t) => {
  for (let code = 0; code < 256; code += 1) {
    const char = String.fromCharCode(code);
    const accepts = (text: string): boolean => {
      try {
        parseSpiffeId(text);
        return true;
      } catch {
        return false;
      }
    };
    t.equal(
      accepts(`spiffe://td${char}x`),
      /[a-z0-9._/-]/.test(char),
      `trust domain, byte ${code}`,
    );
    t.equal(accepts(`spiffe://td/p${char}x`), /[a-zA-Z0-9._/-]/.test(char), `path, byte ${code}`);
  }
});

t.test('compares paths byte for byte (I-08)', async (t) => {
  t.not(parseSpiffeId(`${TD}/Path`), parseSpiffeId(`${TD}/path`));
});

t.test('never throws anything but a Fault, and never changes what it accepts (I-09)', async () => {
  const near = fc.stringMatching(/^(spiffe:\/\/)?[a-zA-Z0-9._/:@%?#-]{0,30}$/);
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), near), (text) => {
      try {
        const id = parseSpiffeId(text);
        return (
          id === text &&
          /^spiffe:\/\/[a-z0-9._-]+(\/[a-zA-Z0-9._-]+)*$/.test(text) &&
          !/[^/]\/\.{1,2}(\/|$)/.test(text)
        );
      } catch (failure) {
        return failure instanceof Fault && failure.code === 'bad-spiffe-id';
      }
    }),
    { numRuns: 3000 },
  );
});

t.test('accepts whatever the grammar generates (I-05)', async () => {
  const name = fc.stringMatching(/^[a-z0-9._-]{1,40}$/);
  const segment = fc
    .stringMatching(/^[a-zA-Z0-9._-]{1,20}$/)
    .filter((text) => text !== '.' && text !== '..');
  fc.assert(
    fc.property(name, fc.array(segment, { maxLength: 6 }), (trustDomain, segments) => {
      const text = `spiffe://${trustDomain}${segments.map((one) => `/${one}`).join('')}`;
      return parseSpiffeId(text) === text && trustDomainOf(parseSpiffeId(text)) === trustDomain;
    }),
  );
});

t.test('a bare trust domain is a name, not an ID (I-03)', async (t) => {
  t.equal(parseTrustDomain('example.org'), 'example.org');
  for (const text of [
    '',
    'spiffe://example.org',
    'example.org/a',
    'Example.org',
    'a b',
    'a:1',
    'a'.repeat(256),
  ]) {
    t.equal(refusal(() => parseTrustDomain(text)).code, 'bad-spiffe-id', text.slice(0, 30));
  }
});

t.test('says what is wrong with a trust domain', async (t) => {
  const rows: readonly (readonly [string, RegExp, RegExp])[] = [
    ['', /"" is not a trust domain: the trust domain is empty$/, /^write a lower-case name/],
    ['Example.org', /the trust domain has upper-case letters$/, /^write a lower-case name/],
    [
      'a b',
      /the trust domain may hold only a-z, 0-9, "\.", "-" and "_"$/,
      /^write a lower-case name/,
    ],
    ['a'.repeat(256), /the trust domain is longer than 255 bytes$/, /^write a lower-case name/],
    ['spiffe://a', /may hold only/, /^write the bare name, such as example\.org$/],
  ];
  for (const [text, message, hint] of rows)
    t.throws(() => parseTrustDomain(text), { message, hint });
});

t.test(
  'a key of a bundle map is an ID of a trust domain or its bare name, never with a path (C-52)',
  async (t) => {
    t.equal(parseTrustDomainKey('spiffe://example.org'), 'example.org');
    t.equal(parseTrustDomainKey('example.org'), 'example.org');
    for (const text of [
      'spiffe://example.org/',
      'spiffe://example.org/a',
      'example.org/a',
      '',
      'http://example.org',
    ]) {
      t.equal(refusal(() => parseTrustDomainKey(text)).code, 'bad-spiffe-id', text);
    }
  },
);
