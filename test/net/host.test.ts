import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { parseHost, parseHostPattern, quote } from '../../lib/net/host.ts';

function faultOf(act: () => unknown): Fault {
  try {
    act();
  } catch (error) {
    if (error instanceof Fault) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

const long = 'a'.repeat(63);

t.test('a host has one canonical form (A6)', async (t) => {
  const forms: readonly (readonly [string, string])[] = [
    ['crm.internal', 'crm.internal'],
    ['CRM.Internal', 'crm.internal'],
    ['crm.internal.', 'crm.internal'],
    ['localhost', 'localhost'],
    ['_dmarc.example.com', '_dmarc.example.com'],
    ['xn--bcher-kva.example', 'xn--bcher-kva.example'],
    ['1.2.3.4.example', '1.2.3.4.example'],
    ['0x7f.example', '0x7f.example'],
    ['10.0.0.5', '10.0.0.5'],
    ['[::1]', '::1'],
    ['[2001:DB8:0:0:0:0:0:1]', '2001:db8::1'],
    ['[2001:db8:0:1:1:1:1:1]', '2001:db8:0:1:1:1:1:1'],
    ['[::ffff:169.254.169.254]', '::ffff:a9fe:a9fe'],
    [`${long}.${long}.${long}.${'b'.repeat(61)}`, `${long}.${long}.${long}.${'b'.repeat(61)}`],
  ];
  for (const [text, canonical] of forms) t.equal(parseHost(text), canonical, text);
});

t.test('numbers that a resolver would read as an address are malformed (S1)', async (t) => {
  for (const text of [
    '2130706433',
    '0x7f000001',
    '0x7f.1',
    '0177.0.0.1',
    '127.1',
    '0',
    '1',
    '127.0.0.01',
    '256.0.0.1',
    '1.2.3.4.5',
    'example.com.1',
    'example.0x',
    'example.0xa9',
    '1.1.1.1.',
  ]) {
    t.equal(faultOf(() => parseHost(text)).code, 'malformed', text);
  }
});

t.test('what is not plainly a host is malformed (A5, A6, A7, A8, S5)', async (t) => {
  for (const text of [
    '',
    '.',
    '..',
    'evil.com..',
    '.example.com',
    'a..b',
    'a b',
    'a\u0000.google.com',
    'a\r\nb',
    'a\tb',
    'user@host',
    'a\\@evil.com',
    'a#b',
    'a?b',
    'a/b',
    'a%2eb',
    'a:80',
    '::1',
    '[::1',
    '[]',
    '[host]',
    '[1.2.3.4]',
    '[fe80::1%eth0]',
    '[fe80::1%25eth0]',
    '[::1].',
    'ｅxample.com',
    'example。com',
    'exam\u00adple.com',
    'exa\u200bmple.com',
    'bücher.example',
    '-a.example',
    'a-.example',
    `${long}a.example`,
    `${long}.${long}.${long}.${'b'.repeat(62)}`,
    '*.example.com',
  ]) {
    t.equal(faultOf(() => parseHost(text)).code, 'malformed', JSON.stringify(text));
  }
});

t.test('a canonical host stays as it is (P7)', async (t) => {
  const label = fc.stringMatching(/^[A-Za-z0-9_-]{1,12}$/);
  const hosts = fc.oneof(
    fc.string(),
    fc.ipV4(),
    fc.ipV6().map((ip) => `[${ip}]`),
    fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join('.')),
  );
  let kept = 0;
  fc.assert(
    fc.property(hosts, (text) => {
      let once: string;
      try {
        once = parseHost(text);
      } catch (error) {
        return error instanceof Fault && error.code === 'malformed';
      }
      kept += 1;
      return parseHost(once.includes(':') ? `[${once}]` : once) === once;
    }),
    { numRuns: 2000 },
  );
  t.ok(kept > 200, `${kept} hosts were canonical`);
});

t.test('patterns are exact hosts, addresses or one left-most wildcard label (A9)', async (t) => {
  t.match(parseHostPattern('crm.internal'), { kind: 'exact', host: 'crm.internal' });
  t.match(parseHostPattern('*.example.com'), {
    kind: 'wildcard',
    host: 'example.com',
    text: '*.example.com',
  });
  t.match(parseHostPattern('10.0.0.5'), { kind: 'address', host: '10.0.0.5' });
  t.match(parseHostPattern('[2001:db8::1]'), { kind: 'address', host: '2001:db8::1' });
});

t.test(
  'patterns that would cover too much, or are not canonical, are refused with the fix (A9)',
  async (t) => {
    const cases: readonly (readonly [string, RegExp])[] = [
      ['*', /left-most label/],
      ['*.', /empty/],
      ['*.com', /whole top-level domain.*two labels/],
      ['*.internal', /whole top-level domain/],
      ['*.co.uk', /strangers can register/],
      ['*.github.io', /strangers can register/],
      ['*.nip.io', /strangers can register/],
      ['a.*.example.com', /left-most label/],
      ['a*.example.com', /left-most label/],
      ['*a.example.com', /left-most label/],
      ['*.*.example.com', /left-most label/],
      ['*.10.0.0.1', /over an address/],
      ['*.[::1]', /over an address/],
      ['CRM.internal', /write crm\.internal/],
      ['crm.internal.', /write crm\.internal/],
      ['*.Example.com', /over an address|canonical/],
      ['[2001:DB8::1]', /write \[2001:db8::1\]/],
      ['https://crm.internal', /without scheme/],
      ['crm.internal:443', /without scheme, port/],
      ['crm.internal/v1', /without scheme, port or path/],
      ['bücher.example', /A-labels|xn--/],
      ['127.1', /dotted quad/],
    ];
    for (const [text, message] of cases) {
      const fault = faultOf(() => parseHostPattern(text));
      t.equal(fault.code, 'bad-pattern', text);
      t.match(fault.describe(), message, text);
    }
  },
);

t.test(
  'text from outside is quoted on one line, without control or confusable characters (R7)',
  async (t) => {
    t.equal(quote('a\r\n\u001b[31mb'), '"a\\r\\n\\u001b[31mb"');
    t.equal(quote('b\u00fccher\u200b'), '"b\\u{fc}cher\\u{200b}"');
    t.equal(quote('x'.repeat(100)), `"${'x'.repeat(80)}…"`);
  },
);
