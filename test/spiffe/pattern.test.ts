import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { parseSpiffeId } from '../../lib/spiffe/id.ts';
import { parsePeerPattern } from '../../lib/spiffe/pattern.ts';

const matches = (pattern: string, id: string): boolean =>
  parsePeerPattern(pattern).matches(parseSpiffeId(id));

t.test('an exact pattern is that ID alone', async (t) => {
  t.equal(matches('spiffe://td/ns/a', 'spiffe://td/ns/a'), true);
  for (const other of [
    'spiffe://td/ns/b',
    'spiffe://td/ns',
    'spiffe://td/ns/a/b',
    'spiffe://te/ns/a',
    'spiffe://td/ns/A',
  ]) {
    t.equal(matches('spiffe://td/ns/a', other), false, other);
  }
});

t.test('a star is exactly one whole segment', async (t) => {
  t.equal(matches('spiffe://foo/*/bar', 'spiffe://foo/baz/bar'), true);
  for (const other of [
    'spiffe://foo/bar',
    'spiffe://foo/a/b/bar',
    'spiffe://foo/baz/bar/x',
    'spiffe://bar/baz/bar',
  ]) {
    t.equal(matches('spiffe://foo/*/bar', other), false, other);
  }
});

t.test('two stars are one or more segments, at the end', async (t) => {
  for (const id of ['spiffe://td/ns/a', 'spiffe://td/ns/a/b/c'])
    t.equal(matches('spiffe://td/ns/**', id), true, id);
  for (const id of ['spiffe://td/ns', 'spiffe://td/nsx/a', 'spiffe://td', 'spiffe://te/ns/a']) {
    t.equal(matches('spiffe://td/ns/**', id), false, id);
  }
  t.equal(matches('spiffe://td/**', 'spiffe://td'), false, 'the ID of a trust domain is nobody');
  t.equal(matches('spiffe://td/*/x/**', 'spiffe://td/a/x/b'), true);
});

t.test('knows its trust domain, so that anchors can be chosen by it (C-31)', async (t) => {
  t.equal(parsePeerPattern('spiffe://example.org/**').trustDomain, 'example.org');
  t.equal(parsePeerPattern('spiffe://example.org/a').trustDomain, 'example.org');
});

t.test('refuses what would match too much or what nobody could read twice alike', async (t) => {
  const bad = [
    '*',
    '**',
    'spiffe://*',
    'spiffe://*/a',
    'spiffe://**',
    'spiffe://*.example.org/a',
    'spiffe://*/*/bar',
    'spiffe://td/**/a',
    'spiffe://td/a**',
    'spiffe://td/a*',
    'spiffe://td/*a/b',
    'spiffe://td/***',
    'spiffe://td/*/',
    'spiffe://td//*',
    'spiffe://td/./*',
    'spiffe://td/../*',
    'spiffe://TD/*',
    'spiffe://td:1/*',
    'spiffe:///*',
    'spiffe://td',
    'td/a',
    '',
    'spiffe://td/a?*',
    'spiffe://td/%2a',
    'spiffe://td/[ab]',
    'http://td/*',
    `spiffe://td/*/${'a'.repeat(2048)}`,
  ];
  for (const text of bad) {
    t.throws(
      () => parsePeerPattern(text),
      { name: 'Fault', code: 'bad-pattern' },
      text.slice(0, 40),
    );
  }
});

t.test('says what is wrong with a pattern', async (t) => {
  const rows: readonly (readonly [string, string])[] = [
    ['*', 'it does not begin with "spiffe://"'],
    ['spiffe://*/a', 'there is no wildcard for the trust domain'],
    ['spiffe://td/**/a', '"**" may only be the last segment'],
    ['spiffe://td/a*', '"*" must be a whole segment, not a part of "a*"'],
    ['spiffe://td//*', 'the path has an empty segment'],
    ['spiffe://td', 'it has no path, so no workload can match it'],
  ];
  for (const [text, problem] of rows) {
    t.throws(() => parsePeerPattern(text), {
      message: `${JSON.stringify(text)} is not a pattern of SPIFFE IDs: ${problem}`,
    });
  }
});

t.test('agrees with a plain definition of globs over segments', async () => {
  const plain = (pattern: readonly string[], segments: readonly string[]): boolean => {
    const [head, ...rest] = pattern;
    if (head === undefined) return segments.length === 0;
    if (head === '**') return segments.length > 0;
    return (
      segments.length > 0 &&
      (head === '*' || head === segments[0]) &&
      plain(rest, segments.slice(1))
    );
  };
  const segment = fc.constantFrom('a', 'b', 'ab');
  const glob = fc.tuple(
    fc.array(fc.oneof(segment, fc.constant('*')), { minLength: 1, maxLength: 4 }),
    fc.boolean(),
  );
  fc.assert(
    fc.property(glob, fc.array(segment, { maxLength: 5 }), ([fixed, open], segments) => {
      const parts = open ? [...fixed, '**'] : fixed;
      const id = `spiffe://td${segments.map((one) => `/${one}`).join('')}`;
      return matches(`spiffe://td/${parts.join('/')}`, id) === plain(parts, segments);
    }),
  );
});

t.test('never throws anything but a Fault', async () => {
  fc.assert(
    fc.property(
      fc.oneof(fc.string({ unit: 'binary' }), fc.stringMatching(/^spiffe:\/\/[a-z*/.]{0,20}$/)),
      (text) => {
        try {
          parsePeerPattern(text);
          return true;
        } catch (failure) {
          return failure instanceof Fault && failure.code === 'bad-pattern';
        }
      },
    ),
    { numRuns: 2000 },
  );
});
