/** Which path: P1 to P7, R4. One deny rule stands over `/admin`, everything else is allowed. */
import { rule } from '../../support/destination.ts';
import { type Attack, type Attempt, type World, passed, refused } from '../case.ts';

const GUARDED: World = {
  destination: {
    rules: [
      rule('no-admin', 'deny', { paths: ['/admin/**'] }),
      rule('rest', 'allow', { websocket: true }),
    ],
  },
};
const paths = (...all: string[]): Attempt[] => all.map((path) => ({ path }));
const denied = refused('denied', { reason: /no-admin/ });
const malformed = refused('malformed');
const ambiguous = refused('ambiguous');

const attack = (
  row: string,
  title: string,
  attempts: readonly Attempt[],
  expect: Attack['expect'],
): Attack => ({
  row,
  title,
  attempts,
  expect,
  world: GUARDED,
});

const becomes = (row: string, wanted: string, ...written: string[]): Attack =>
  attack(row, `${wanted} is what is judged and sent`, paths(...written), passed({ path: wanted }));

const KEEPING: World = {
  destination: {
    paths: { encodedSlash: true, emptySegments: true },
    rules: [
      rule('no-admin', 'deny', { paths: ['/admin/**'] }),
      rule('rest', 'allow', { websocket: true }),
    ],
  },
};

const LIMITED: World = {
  destination: {
    rules: [
      rule('limited', 'deny', {
        when: 'request.param("limit").exists(n, n != "" && int(n) > 100)',
      }),
      rule('rest', 'allow', { websocket: true }),
    ],
  },
};

const MANY: World = {
  destination: {
    rules: Array.from({ length: 200 }, (_, i) =>
      rule(`r${i}`, 'deny', { paths: [`/${'*/'.repeat(20)}x${i}/**`] }),
    ),
  },
};

export const PATHS: readonly Attack[] = [
  attack(
    'P1',
    'dot segments, plain and escaped, do not get past a deny rule',
    paths(
      '/a/../admin/x',
      '/a/b/../../admin/x',
      '/./admin/x',
      '/admin/./x',
      '/admin/y/../x',
      '/a/%2e%2e/admin/x',
      '/a/%2E%2e/admin/x',
      '/a/.%2e/admin/x',
      '/a/%2e./admin/x',
      '/%2e/admin/x',
      '/a/..//admin/x',
      '/a/.',
      '/a/..',
      '/a/%2e',
    ),
    ambiguous,
  ),
  attack(
    'P1',
    'escapes of what needs none do not get past a deny rule',
    paths(
      '/admin',
      '/admin/',
      '/admin/x',
      '/%61dmin/x',
      '/ad%6Din/x',
      '/%61%64%6d%69%6e/x',
      '/admin?x=/public',
      '/admin/x?y=../..',
    ),
    denied,
  ),
  attack(
    'P1',
    'above the root, backslashes, and dots with parameters are malformed',
    paths(
      '/..',
      '/../admin',
      '/a/../../admin',
      '/%2e%2e/admin',
      '/a/%2e%2e/%2e%2e/admin',
      '/..;/admin',
      '/a/..;x/admin',
      '\\admin',
      '/a\\..\\admin',
      '/\\admin',
      '/%5cadmin',
      '/a/..%5cadmin',
      '/a/%5C..%5Cadmin',
      '/..%2fadmin',
      '/a/..%2Fadmin',
    ),
    malformed,
  ),
  attack(
    'P1',
    'a double escape is undone by nobody',
    paths('/a/%252e%252e/admin', '/%2561dmin', '/a/%252fadmin', '/a/%255cadmin'),
    passed({ sent: [/^GET \/[^ ]*%25/m] }),
  ),
  attack(
    'P2',
    'runs of slashes',
    paths(
      '//admin',
      '///admin/x',
      '/a/..//admin',
      '//admin//x',
      '/.//admin',
      '//./admin',
      '/a//b',
      '//',
      '/a//',
    ),
    ambiguous,
  ),
  {
    row: 'P2',
    title: 'a destination that keeps runs of slashes sends them, and deny rules see through them',
    world: KEEPING,
    attempts: paths('//admin', '/admin//x', '///admin/x', '//admin//x'),
    expect: denied,
  },
  {
    row: 'P3',
    title: 'a destination that keeps escaped slashes sends them, and deny rules see through them',
    world: KEEPING,
    attempts: paths(
      '/%2Fadmin',
      '/%2fadmin/x',
      '/admin%2fx',
      '/admin%2F%2Fx',
      '/%2F/admin',
      '/x%2F/../admin'.replace('x%2F/..', '%2f'),
    ),
    expect: denied,
  },
  {
    row: 'P3',
    title: 'what is kept has no dot segments, no backslash, no escape of an escape',
    world: KEEPING,
    attempts: paths(
      '/a%2f..%2fadmin',
      '/a%2F..',
      '/..%2fadmin',
      '/a/..%2fadmin',
      '/a%2f../admin',
      '/a%2f%2e%2e%2fadmin',
      '/a%2f.%2fb',
      '/a%2f.',
      '/a%5cb',
      '/a%252fadmin',
      '/a%252e%252e%252fadmin',
      '/a%255cadmin',
      '/a%252Fb%2Fc',
    ),
    expect: malformed,
  },
  {
    row: 'P3',
    title: 'an allow rule is about what is kept, and about nothing that it may become',
    world: {
      destination: {
        paths: { encodedSlash: true, emptySegments: true },
        rules: [
          rule('one', 'allow', {
            paths: ['/projects/*/issues', '/a%2Fb/**', '/x/y'],
            websocket: true,
          }),
        ],
      },
    },
    attempts: paths(
      '/projects/g/p/issues',
      '/projects//issues',
      '/x%2Fy',
      '/x//y',
      '/a/b',
      '/a%2Fbc',
      '/projects/g%2Fp%2Fissues',
    ),
    expect: refused('denied', { reason: /no rule of destination/ }),
  },
  ...[
    '/@types%2Fnode',
    '/api/v4/projects/group%2Fproject',
    '/https:%2F%2Fexample.com',
    '/a//b',
    '/a/',
    '/a%20b%2F',
  ].map((path): Attack => ({
    row: 'P3',
    title: `${path} is kept where the destination says so`,
    world: KEEPING,
    attempts: paths(path, path.replaceAll('%2F', '%2f')),
    expect: passed({ path }),
  })),
  attack(
    'P3',
    'escaped slashes, control characters, bad escapes, bytes beyond ASCII',
    paths(
      '/a%2fb',
      '/a%2Fb',
      '/a%00b',
      '/a%0d%0aX:y',
      '/a%1b[31m',
      '/a%7f',
      '/a%09b',
      '/%zz',
      '/%',
      '/%4',
      '/a%u0041',
      '/%c0%ae%c0%ae/admin',
      '/%ff',
      '/%ed%a0%80',
      '/\xe9',
      '/a\x00b',
      '/a\tb',
      '/a b',
      '/a"b',
      '/a<b>',
      '/a`b',
      '/a{b}',
      '/a|b',
      '/a^b',
      '/a[b]',
    ),
    malformed,
  ),
  attack(
    'P3',
    'too long',
    paths(`/${'a'.repeat(4096)}`, `/${'a/'.repeat(2048)}x`, `/?${'q'.repeat(8192)}`),
    refused('target-too-long'),
  ),
  attack(
    'P4',
    'path parameters',
    paths('/admin;x', '/;/admin', '/a;b/c', '/a/..;/admin', '/admin/;', '/a;/../admin', '/;'),
    malformed,
  ),
  attack(
    'P5',
    'case and spelling count: what is not the path of the rule is not that path',
    paths(
      '/Admin',
      '/ADMIN/x',
      '/admins',
      '/admi',
      '/adminx/y',
      '/admin%20',
      '/admin.',
      '/x/admin',
      '/%C3%A1dmin',
    ),
    passed(),
  ),
  {
    row: 'P5',
    title: 'an allow rule is no prefix: case, slash and spelling count',
    world: {
      destination: { rules: [rule('notes', 'allow', { paths: ['/v1/notes'], websocket: true })] },
    },
    attempts: paths(
      '/v1/notes/',
      '/v1/Notes',
      '/v1/notesx',
      '/v1/note',
      '/v1/notes/1',
      '/v1',
      '/v1/notes%2e',
      '/V1/notes',
      '/v1/notes%20',
    ),
    expect: refused('denied', { reason: /no rule of destination crm allows/ }),
  },
  attack(
    'P6',
    'the query is sent as judged, duplicates and all, and decides nothing',
    paths(
      '/a?x=1&x=2',
      '/a?x=1;y=2',
      '/a?a+b=%20',
      '/a?_method=DELETE',
      '/a?../admin',
      '/a?',
      '/a??',
      '/a?x=%2f%2e%2e',
    ),
    passed(),
  ),
  ...['/a?x=1&x=2', '/a?a+b=%20', '/a?x=%2f', '/a?%41', '/a?x=..//..'].map((path) =>
    becomes('P6', path, path),
  ),
  attack(
    'P6',
    'a query that is none',
    paths('/a?x=%zz', '/a?%', '/a?\xe9', '/a?x y', '/a?\x01', '/a?x#y'),
    malformed,
  ),
  attack(
    'P6',
    'NUL in a query',
    paths('/a?x=%00', '/a?x%00=1', '/a?%00', '/a?x=1%002&y'),
    malformed,
  ),
  {
    row: 'P8',
    title: 'another spelling of what a condition reads is not sent',
    world: LIMITED,
    attempts: paths(
      ...[
        'limit[]',
        'limit%5B%5D',
        '+limit',
        '%20limit',
        'limit.',
        'Limit',
        'l%49mit',
        'limit%255B',
        '[limit]',
      ].map((name) => `/a?q=x&${name}=101`),
      ...[
        '?limit',
        '%3Flimit',
        '$limit',
        'lim%C4%B1t',
        'LIM%C4%B0T',
        'limit%EF%B8%8F',
        '%E3%85%A4limit',
      ].map((name) => `/a?${name}=101`),
    ),
    expect: refused('ambiguous', { reason: /"limit", which a condition of destination/ }),
  },
  {
    row: 'P8',
    title: 'the name itself is judged, however it is escaped',
    world: LIMITED,
    attempts: paths('/a?limit=101', '/a?l%69mit=101', '/a?limit=5&limit=101'),
    expect: refused('denied', { reason: /rule limited/ }),
  },
  {
    row: 'P8',
    title: 'other parameters are left alone, and so are values',
    world: LIMITED,
    attempts: paths(
      '/a?limit=5',
      '/a?ids[]=1&filter[limit]=101',
      '/a?limits=101&q=Limit%5B%5D',
      '/a?limit',
    ),
    expect: passed(),
  },
  becomes('P7', '/', '/'),
  becomes('P7', '/a/b', '/a/b', '/%61/%62'),
  becomes('P7', '/a/', '/a/'),
  becomes('P7', '/%C3%A9%20x', '/%C3%A9%20x', '/%c3%a9%20x', '/%c3%A9%20%78'),
  becomes('P7', "/~u/-._!$&'()*+,=:@", "/%7Eu/%2D%2E%5F!$&'()*+,=:@"),
  {
    row: 'R4',
    title: 'long paths against many wildcard rules cost no time worth having',
    world: MANY,
    attempts: paths(
      `/${'a/'.repeat(2000)}`,
      `/${'a'.repeat(4000)}`,
      `/${'%C3%A9/'.repeat(500)}`,
      `/${'x/'.repeat(20)}`,
    ),
    expect: refused('denied'),
  },
];
