import fc from 'fast-check';
import t from 'tap';
import { inRange, isLoopback, parseIp, parseRange, rangeWithin } from '../../lib/net/ip.ts';

t.test('only the canonical text of exactly one address is one (S1, S5)', async (t) => {
  t.match(parseIp('10.0.0.1'), { family: 4, bytes: [10, 0, 0, 1], text: '10.0.0.1' });
  t.match(parseIp('2001:DB8:0::1'), { family: 6, text: '2001:db8::1' });
  for (const text of [
    '',
    '1',
    '127.1',
    '0177.0.0.1',
    '0x7f.0.0.1',
    '1.2.3.4.5',
    '10.0.0.01',
    ' 10.0.0.1',
    '[::1]',
    '::1%lo',
    ':::',
    '1::2::3',
    'localhost',
  ]) {
    t.equal(parseIp(text), undefined, JSON.stringify(text));
  }
});

t.test('an IPv6 address has one text, whatever its spelling', async () => {
  fc.assert(
    fc.property(fc.ipV6(), (text) => {
      const once = parseIp(text);
      const upper = parseIp(text.toUpperCase());
      return (
        once !== undefined && parseIp(once.text)?.text === once.text && upper?.text === once.text
      );
    }),
  );
});

t.test('a range holds exactly the addresses that share its first bits', async (t) => {
  const bits = (bytes: readonly number[]): string =>
    bytes.map((byte) => byte.toString(2).padStart(8, '0')).join('');
  fc.assert(
    fc.property(fc.ipV4(), fc.ipV4(), fc.nat(32), (a, b, length) => {
      const [one, two] = [parseIp(a), parseIp(b)];
      if (one === undefined || two === undefined) return false;
      const same = bits(one.bytes).slice(0, length) === bits(two.bytes).slice(0, length);
      return inRange(two, { base: one, length, text: '' }) === same;
    }),
    { numRuns: 1000 },
  );
  const ten = parseRange('10.0.0.0/8');
  const six = parseIp('::10.0.0.0');
  t.ok(ten !== undefined && six !== undefined && !inRange(six, ten), 'families do not mix');
});

t.test('a range within another', async (t) => {
  const [wide, narrow, other] = [
    parseRange('10.0.0.0/8'),
    parseRange('10.96.0.0/12'),
    parseRange('11.0.0.0/12'),
  ];
  if (wide === undefined || narrow === undefined || other === undefined)
    throw new Error('ranges parse');
  t.ok(rangeWithin(narrow, wide));
  t.ok(rangeWithin(wide, wide));
  t.notOk(rangeWithin(wide, narrow));
  t.notOk(rangeWithin(other, wide));
});

t.test('loopback is 127.0.0.0/8 and ::1, as literals', async (t) => {
  for (const text of ['127.0.0.1', '127.255.255.255', '::1']) t.ok(isLoopback(text), text);
  for (const text of ['localhost', '127.evil.com', '128.0.0.1', '::', '::ffff:127.0.0.1', '127.1'])
    t.notOk(isLoopback(text), text);
});
