import fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { canonicalTarget, MAX_PATH, MAX_QUERY } from '../../lib/net/path.ts';
import { parsePathPattern } from '../../lib/net/path-pattern.ts';

const pathOf = (target: string): string => canonicalTarget(target).path;

t.test('a path has one canonical form (P1, P2)', async (t) => {
  const forms: readonly (readonly [string, string])[] = [
    ['/', '/'],
    ['/v1/customers/7', '/v1/customers/7'],
    ['/%7Euser/%41%2d', '/~user/A-'],
    ['/a%2fb'.replace('%2f', '%3b'), '/a%3Bb'],
    ['/%252e%252e/admin', '/%252e%252e/admin'],
    ['/%252fadmin', '/%252fadmin'],
    ['/caf%c3%a9', '/caf%C3%A9'],
    ['/.well-known/x', '/.well-known/x'],
    ['/...', '/...'],
    ['/a..b/..c', '/a..b/..c'],
    ["/!$&'()*+,=:@", "/!$&'()*+,=:@"],
  ];
  for (const [target, canonical] of forms) t.equal(pathOf(target), canonical, target);
});

t.test(
  'dot segments and runs of slashes are refused, and the canonical form is in the hint alone (P1, P2)',
  async (t) => {
    const forms: readonly (readonly [string, string])[] = [
      ['/a/../admin', '/admin'],
      ['/a/%2e%2E/admin', '/admin'],
      ['/a/.%2e/admin', '/admin'],
      ['/a/./b/.', '/a/b/'],
      ['/a/b/..', '/a/'],
      ['//admin', '/admin'],
      ['/a///b//', '/a/b/'],
      ['/a//../b', '/b'],
      ['/%63anary/./x', '/canary/x'],
    ];
    for (const [target, canonical] of forms) {
      t.throws(() => canonicalTarget(target), {
        code: 'ambiguous',
        message: /^the path has (?:dot|empty) segments, which servers read in different ways$/,
        hint: new RegExp(`^send "${canonical}"`),
      });
      t.equal(pathOf(canonical), canonical, 'and what it says to send is taken');
    }
    t.throws(() => canonicalTarget(`/${'a/'.repeat(500)}./b`), {
      code: 'ambiguous',
      hint: 'send the path without them',
    });
  },
);

const KEEPING = { encodedSlash: true, emptySegments: true };

t.test(
  'a destination may keep escaped slashes and empty segments, and nothing else (P2, P3)',
  async (t) => {
    const kept = (target: string): string => canonicalTarget(target, KEEPING).path;
    t.equal(kept('/@types%2fnode'), '/@types%2Fnode');
    t.equal(kept('/https:%2F%2Fa//b%2f'), '/https:%2F%2Fa//b%2F');
    for (const target of [
      '/a%2f..',
      '/..%2Fa',
      '/a%2f.%2fb',
      '/a/..%2f',
      '/%2f..',
      '/a%5cb',
      '/a%252fb',
      '/a%252e',
      '/a%255C',
    ])
      t.throws(() => kept(target), { code: 'malformed' }, target);
    t.throws(() => kept('/a//../b'), { code: 'ambiguous', hint: /^send "\/a\/b"/ });
    const slashes = { encodedSlash: true, emptySegments: false };
    t.throws(() => canonicalTarget('/a//b', slashes), {
      code: 'ambiguous',
      hint: /paths\.emptySegments/,
    });
    t.equal(canonicalTarget('/a%2f%2fb', slashes).path, '/a%2F%2Fb');
    t.throws(() => canonicalTarget('/a%2fb', { encodedSlash: false, emptySegments: true }), {
      code: 'malformed',
      hint: /paths: \{ encodedSlash: keep \}/,
    });
  },
);

t.test('no message about a target quotes it: it may hold what is secret', async (t) => {
  for (const target of [
    'canary',
    '/canary#x',
    '/canary;x',
    '/canary/../..',
    '/canary%zz',
    '/canary%2f',
    '/canary%5c',
    '/canary%ff',
    '//canary',
    '/canary/.',
    '/a?canary#',
    '/a?%00canary',
  ])
    t.throws(() => canonicalTarget(target), { message: /^(?!.*canary)/s }, target);
});

t.test('paths that servers read in different ways are malformed (P1, P3, P4)', async (t) => {
  for (const target of [
    '',
    'v1',
    '*',
    'http://crm.internal/',
    '/..',
    '/a/../../b',
    '/%2e%2e/b',
    '/..;/admin',
    '/a;jsessionid=1/b',
    '/a\\..\\b',
    '/a%5c..%5cb',
    '/a%5Cb',
    '/a%2fb',
    '/a%2Fb',
    '/a%00',
    '/a%0d%0aX',
    '/a%1f',
    '/a%7f',
    '/a%zz',
    '/a%',
    '/a%4',
    '/a#b',
    '/a b',
    '/a\tb',
    '/a\u0000b',
    '/caf\u00e9',
    '/a%c0%af',
    '/a%e9',
    '/a%ed%a0%80',
    '/a"b',
    '/a<b>',
    '/a|b',
    '/a[b]',
    '/a{b}',
    '/a^b',
    '/a`b',
  ]) {
    t.throws(() => canonicalTarget(target), { code: 'malformed' }, JSON.stringify(target));
  }
});

t.test('the query is kept as it is, or malformed (P3)', async (t) => {
  t.same(canonicalTarget('/a?'), { path: '/a', query: '?' });
  t.same(canonicalTarget('/a?b=/../c&d[]=%2f?e'), { path: '/a', query: '?b=/../c&d[]=%2f?e' });
  for (const query of ['?a b', '?a#b', '?%zz', '?%', '?caf\u00e9', '?\r\n', '?\u0000']) {
    t.throws(() => canonicalTarget(`/a${query}`), { code: 'malformed' }, JSON.stringify(query));
  }
});

t.test('targets have a longest length, to the character (P3)', async (t) => {
  t.equal(pathOf(`/${'a'.repeat(MAX_PATH - 1)}`).length, MAX_PATH);
  t.throws(() => canonicalTarget(`/${'a'.repeat(MAX_PATH)}`), { code: 'target-too-long' });
  t.equal(canonicalTarget(`/?${'a'.repeat(MAX_QUERY - 1)}`).query.length, MAX_QUERY);
  t.throws(() => canonicalTarget(`/?${'a'.repeat(MAX_QUERY)}`), { code: 'target-too-long' });
});

const piece = fc.constantFrom(
  '/',
  '/',
  '//',
  '.',
  '..',
  '%2e',
  '%2E',
  '%25',
  '%252e',
  '%2f',
  '%5c',
  ';',
  'a',
  'B',
  '~',
  '%41',
  '%c3%a9',
  '%c3',
  '%C3%A9',
  '!',
  '%21',
  '?',
  '#',
  '\\',
  '*',
  '**',
);
const target = fc.array(piece, { maxLength: 14 }).map((pieces) => `/${pieces.join('')}`);

t.test(
  'canonical(canonical(x)) is canonical(x): what is judged is what is sent (P7)',
  async (t) => {
    let kept = 0;
    fc.assert(
      fc.property(
        fc.oneof({ weight: 4, arbitrary: target }, { weight: 1, arbitrary: fc.string() }),
        (text) => {
          try {
            const once = canonicalTarget(text);
            const twice = canonicalTarget(once.path + once.query);
            kept += 1;
            return twice.path === once.path && twice.query === once.query;
          } catch (error) {
            return (
              error instanceof Fault &&
              ['malformed', 'ambiguous', 'target-too-long'].includes(error.code)
            );
          }
        },
      ),
      { numRuns: 5000 },
    );
    t.ok(kept > 500, `${kept} targets were canonical`);
  },
);

t.test('a canonical path holds nothing that a server could still resolve (P1, P2)', async () => {
  fc.assert(
    fc.property(target, (text) => {
      let path: string;
      try {
        path = pathOf(text);
      } catch {
        return true;
      }
      const segments = path.split('/').slice(1);
      return (
        !path.includes('//') &&
        !segments.includes('.') &&
        !segments.includes('..') &&
        !/%2e|%2f|%5c|;|\\/i.test(path)
      );
    }),
    { numRuns: 5000 },
  );
});

t.test('patterns match whole segments (P5)', async (t) => {
  const cases: readonly (readonly [string, readonly string[], readonly string[]])[] = [
    [
      '/v1/notes',
      ['/v1/notes'],
      ['/v1/notes/', '/v1/notes/1', '/V1/notes', '/v1/note', '/v1', '/'],
    ],
    ['/v1/notes/', ['/v1/notes/'], ['/v1/notes', '/v1/notes/1']],
    [
      '/v1/customers/**',
      ['/v1/customers', '/v1/customers/', '/v1/customers/7', '/v1/customers/7/x/'],
      ['/v1/customersx', '/v1', '/'],
    ],
    [
      '/v1/*/notes',
      ['/v1/7/notes', '/v1/%C3%A9/notes'],
      ['/v1//notes', '/v1/notes', '/v1/7/8/notes', '/v1/7/notes/'],
    ],
    ['/v1/*', ['/v1/7', '/v1/*'], ['/v1/', '/v1', '/v1/7/']],
    ['/v1/*/**', ['/v1/7', '/v1/7/', '/v1/7/8'], ['/v1', '/v1/']],
    ['/**', ['/', '/a', '/a/b/'], []],
    ['/', ['/'], ['/a']],
    ['/a%2A', ['/a*', '/a%2A'], ['/ab']],
    [
      '/m/{sid}.json',
      ['/m/7.json', '/m/%C3%A9.json', '/m/a.b.json', '/m/7%2Ejson'.replace('%2E', '.')],
      ['/m/.json', '/m/7', '/m/7.jsonx', '/m/7/8.json'],
    ],
    [
      '/t/{name}:publish',
      ['/t/a:publish', '/t/a%3Apublish', '/t/a:b:publish'],
      ['/t/:publish', '/t/a', '/t/a:publish/'],
    ],
    ['/{id}', ['/a', '/a%2Fb'], ['/', '/a/b']],
    ['/v{major}.{minor}/**', ['/v1.2', '/v1.2/x', '/v1.2.3'], ['/v1', '/v.2', '/v1.', '/v..']],
    ['/a{x}a{y}a', ['/abaca', '/aaaaa', '/aXaaYa'], ['/aaaa', '/aba', '/abac']],
    ['/p/a%2Fb', ['/p/a%2Fb'], ['/p/a/b', '/p/ab']],
    ['/a//b', ['/a//b'], ['/a/b', '/a/x/b']],
  ];
  for (const [text, yes, no] of cases) {
    const pattern = parsePathPattern(text);
    for (const path of yes) t.ok(pattern.matches(path), `${text} matches ${path}`);
    for (const path of no) t.notOk(pattern.matches(path), `${text} does not match ${path}`);
  }
});

t.test(
  'a deny pattern sees through what a server may make of a kept path; an allow pattern does not',
  async (t) => {
    const pattern = parsePathPattern('/admin/**');
    for (const path of [
      '/admin%2Fx',
      '/%2Fadmin',
      '//admin',
      '/admin//x',
      '/%2F%2Fadmin%2F',
      '/%2F/admin',
    ])
      t.ok(pattern.denies(path), path);
    for (const path of ['/%2Fadmin', '//admin', '/admin%2Fx', '/%2F/admin'])
      t.notOk(pattern.matches(path), path);
    for (const path of ['/adminx', '/a%2Fadmin', '/a//admin']) t.notOk(pattern.denies(path), path);
    t.ok(parsePathPattern('/a//b').denies('/a//b'));
    t.ok(parsePathPattern('/a/*/c').denies('/a%2Fb%2Fc'));
  },
);

t.test('an escape cannot slip past a pattern (P1)', async (t) => {
  const pattern = parsePathPattern('/v1/a!b/**');
  t.ok(pattern.matches(pathOf('/v1/a%21b/x')), 'an escaped sub-delimiter is the same octet');
  t.ok(pattern.matches(pathOf('/v1/%61!%62')), 'escaped letters are letters');
  t.notOk(pattern.matches(pathOf('/v1/a%2521b')), 'a double escape is literal');
  t.ok(parsePathPattern('/caf%C3%A9').matches(pathOf('/caf%c3%a9')));
  t.notOk(parsePathPattern('/caf%C3%A9').matches(pathOf('/cafe%CC%81')), 'NFD is another path');
});

t.test('patterns that could not match what they say are refused with the fix', async (t) => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ['v1', /write "\/v1"/],
    ['/v1?x=1', /the path alone/],
    ['/v1#x', /the path alone/],
    ['/v1/../x', /has dot segments.*send "\/x"/],
    ['/%7euser', /judged as "\/~user"/],
    ['/caf%c3%a9', /judged as "\/caf%C3%A9"/],
    ['/café', /percent-encode/],
    ['/v1/**/x', /only be the last/],
    ['/v1/*.json', /whole segment/],
    ['/v1/***', /whole segment/],
    ['/a%2fb', /judged as "\/a%2Fb"/],
    ['/a%2F..', /dot segments/],
    ['/a%5Cb', /backslash/],
    ['/{a}{b}', /side by side/],
    ['/{1}', /brace/],
    ['/{a', /brace/],
    ['/a}', /brace/],
    ['/{a}%7e', /needs no escape/],
    ['/{*}', /brace/],
    ['', /slash/],
  ];
  for (const [text, message] of cases) {
    t.throws(() => parsePathPattern(text), { code: 'bad-pattern' }, text);
    try {
      parsePathPattern(text);
    } catch (error) {
      t.match(error instanceof Fault ? error.describe() : '', message, text);
    }
  }
});
