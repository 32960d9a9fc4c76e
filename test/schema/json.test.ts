import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { isObject, type Json, JsonNumber } from '../../lib/schema/json.ts';
import { parseJson } from '../../lib/schema/json-reader.ts';
import { canonicalJson, writeJson } from '../../lib/schema/json-writer.ts';
import { InexactNumber, exactDouble, plainJson } from '../../lib/policy/conditions/plain.ts';

const read = (text: string): Json => parseJson(Buffer.from(text));

function problem(text: string | Buffer): string {
  try {
    parseJson(Buffer.from(text));
    return 'accepted';
  } catch (failure) {
    if (failure instanceof Fault && failure.code === 'bad-json') return failure.message;
    throw failure;
  }
}

/** What JSON.parse makes of the same text, with the same shapes. */
function asPlain(value: Json): unknown {
  if (value instanceof JsonNumber) return value.value;
  if (isObject(value))
    return Object.fromEntries([...value].map(([name, member]) => [name, asPlain(member)]));
  return Array.isArray(value) ? value.map(asPlain) : value;
}

const anyJson = fc.json({ depthSize: 'medium' });
/**
 * Texts near JSON: a JSON text with a few characters of its alphabet put in, taken out or doubled.
 */
const nearJson = fc
  .tuple(
    anyJson,
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.constantFrom(
          '',
          '"',
          '\\',
          '{',
          '}',
          '[',
          ']',
          ',',
          ':',
          '0',
          '-',
          '.',
          'e',
          'u',
          'x',
          ' ',
          '\n',
          '\u0000',
          '\ufeff',
          'é',
          '\\u0000',
          '\\ud800',
          'true',
        ),
        fc.boolean(),
      ),
      { maxLength: 3 },
    ),
  )
  .map(([text, edits]) =>
    edits.reduce((now, [at, piece, over]) => {
      const i = at % (now.length + 1);
      return now.slice(0, i) + piece + now.slice(over ? i + 1 : i);
    }, text),
  );

t.test(
  'what both accept, JSON.parse reads the same; what JSON.parse refuses is refused',
  async () => {
    const same = (text: string): boolean => {
      let theirs: unknown;
      let refused = false;
      try {
        theirs = JSON.parse(text);
      } catch {
        refused = true;
      }
      const message = problem(text);
      if (message !== 'accepted') return true;
      return !refused && JSON.stringify(asPlain(read(text))) === JSON.stringify(theirs);
    };
    fc.assert(fc.property(nearJson, same), { numRuns: 5000 });
    fc.assert(fc.property(fc.string({ unit: 'binary' }), same), { numRuns: 1000 });
  },
);

t.test('nearly all JSON is accepted: only what the rules name is not', async () => {
  fc.assert(
    fc.property(anyJson, (text) => {
      const message = problem(text);
      return (
        message === 'accepted' || /twice|letter case|surrogate|NUL|no double|levels/.test(message)
      );
    }),
    { numRuns: 2000 },
  );
});

t.test('what was read is what is written, to the digit and in order', async (t) => {
  for (const text of [
    '{"b":1.0,"a":[1e2,-0,9007199254740993,0.10],"":null}',
    '[]',
    '{}',
    '"\\u2028é😀"',
    'true',
  ])
    t.equal(writeJson(read(text)), text.replace('\\u2028', '\u2028'));
  fc.assert(
    fc.property(anyJson, (text) => {
      if (problem(text) !== 'accepted') return true;
      const again = writeJson(read(text));
      return (
        writeJson(read(again)) === again &&
        JSON.stringify(JSON.parse(again)) === JSON.stringify(JSON.parse(text))
      );
    }),
    { numRuns: 2000 },
  );
});

t.test('names that some parser takes for equal are refused (M1, M2)', async (t) => {
  t.match(problem('{"name":"a","name":"b"}'), /twice, at character 12/);
  t.match(problem('{"name":"a","n\\u0061me":"b"}'), /twice/);
  t.match(problem('{"x":{"a":1,"b":2,"A":3}}'), /letter case/);
  t.match(problem('{"params":1,"param\u017f":2}'), /letter case/, 'the long s');
  t.match(problem('{"k":1,"\u212a":2}'), /letter case/, 'the Kelvin sign');
  t.match(problem('{"a\\u0000":1}'), /NUL/);
  t.equal(problem('{"A":1,"B":2}'), 'accepted');
  t.same(
    asPlain(read('{"__proto__":{"x":1},"constructor":2}')),
    JSON.parse('{"__proto__":{"x":1},"constructor":2}'),
  );
});

t.test('bounds and forms (M4, M6)', async (t) => {
  t.equal(problem('['.repeat(64) + ']'.repeat(64)), 'accepted');
  t.match(problem('['.repeat(65) + ']'.repeat(65)), /64 levels/);
  t.match(problem('{"a":'.repeat(100_000)), /64 levels/);
  t.match(problem(`[${'1'.repeat(129)}]`), /128 characters/);
  t.match(problem('[1e400]'), /no double/);
  const members = (count: number): string =>
    `{${Array.from({ length: count }, (_, i) => `"a${i}":0`).join()}}`;
  t.equal(problem(members(65_536)), 'accepted');
  t.match(problem(members(65_537)), /more than 65536 members/);
  for (const text of ['NaN', 'Infinity', '-', '01', '1.', '.5', '+1', '1e', '0x10', '1_0'])
    t.not(problem(text), 'accepted', text);
  for (const text of ['"\\ud800"', '"\\udc00x"', '["\\ud83d"]'])
    t.match(problem(text), /surrogate/, text);
  t.equal(asPlain(read('"\\ud83d\\ude00"')), '😀');
  t.match(problem(Buffer.from([0x22, 0xc0, 0x80, 0x22])), /UTF-8/);
  t.match(problem(Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22])), /UTF-8/);
  t.not(problem('\ufeff{}'), 'accepted', 'a byte order mark');
  t.not(problem(Buffer.from('{}', 'utf16le')), 'accepted', 'UTF-16');
  for (const text of [
    '',
    ' ',
    '{}{}',
    '{} x',
    '[1,]',
    '{"a":1,}',
    '{a:1}',
    "{'a':1}",
    '"a',
    '"\t"',
    '"\\x"',
    '"\\u12g4"',
    '// x\n{}',
  ])
    t.not(problem(text), 'accepted', JSON.stringify(text));
  t.notMatch(
    problem('{"secret hunter2":1,"secret hunter2":2}'),
    /hunter2/,
    'messages show no value',
  );
});

t.test('canonical text is one for all texts of a value, and two for two values', async (t) => {
  const data = (text: string): string =>
    canonicalJson(parseJson(Buffer.from(text), { data: true }));
  t.same(['1e400', '2e400', 'null'].map(data), ['1e400', '2e400', 'null'], 'past all doubles');
  t.equal(
    canonicalJson(read('{"b":[1.0,1e0,10E-1],"a":{"d":-0,"c":"\\u00e9"}}')),
    '{"a":{"c":"é","d":0},"b":[1,1,1]}',
  );
  t.not(
    canonicalJson(read('9007199254740993')),
    canonicalJson(read('9007199254740992')),
    'digits beyond a double count',
  );
  fc.assert(
    fc.property(anyJson, (text) => {
      if (problem(text) !== 'accepted') return true;
      const canonical = canonicalJson(read(text));
      return (
        canonicalJson(read(canonical)) === canonical &&
        canonicalJson(read(JSON.stringify(JSON.parse(text), undefined, 2))) === canonical
      );
    }),
    { numRuns: 1000 },
  );
});

t.test(
  'a number is a double where that says what was written, and no number otherwise',
  async (t) => {
    for (const text of [
      '0',
      '-0',
      '1',
      '0.1',
      '1.50',
      '1e2',
      '-2.5E-3',
      '9007199254740992',
      '36028797018963968',
      '1e20',
      '5e-324',
      '.5',
      '+1',
    ])
      t.equal(exactDouble(text), Number(text), text);
    const none = [
      '9007199254740993',
      '99999999999999999999',
      '36028797018963970',
      '100.00000000000000000001',
      '0.1000000000000000055511151231257827',
      '1e-400',
      '1e400',
      '0x10',
      'NaN',
      'Infinity',
      '-Infinity',
      '1_0',
      ' 1',
      '1 ',
      '',
      '.',
      'e1',
      '\uff11',
      `0.${'0'.repeat(200)}`,
    ];
    for (const text of none) t.equal(exactDouble(text), undefined, text);
    const whole = (x: number): boolean =>
      Number.isInteger(x) && !Number.isSafeInteger(x) && Math.abs(x) < 1e21;
    fc.assert(
      fc.property(
        fc.double({ noNaN: true, noDefaultInfinity: true }),
        (x) => whole(x) || exactDouble(String(x)) === x,
      ),
    );
    fc.assert(
      fc.property(
        fc.bigInt(),
        (n) => (exactDouble(`${n}`) ?? null) === (BigInt(Number(n)) === n ? Number(n) : null),
      ),
    );
  },
);

t.test('plain data for conditions has no prototype, and no number that is not exact', async (t) => {
  const plain = plainJson(
    read('{"n":9007199254740993,"x":1.5,"o":{"__proto__":1},"l":[true,null,"s"]}'),
  ) as Record<string, unknown>;
  t.ok(plain['n'] instanceof InexactNumber);
  t.equal(plain['x'], 1.5);
  t.equal(Object.getPrototypeOf(plain['o']), null);
  t.same(plain['l'], [true, null, 's']);
});
