import t from 'tap';
import { filePath } from '../../lib/schema/file-path.ts';
import { problems as collector } from '../../lib/schema/problem.ts';
import type { Schema } from '../../lib/schema/schema.ts';
import { scalarTree } from '../../lib/schema/tree.ts';
import * as addresses from '../../lib/config/documents/addresses.ts';
import * as scalars from '../../lib/config/documents/scalars.ts';

/** The value, or `!` and the problem. */
function read<T>(schema: Schema<T>, text: string): T | string {
  const problems = collector();
  const outcome = schema.read(scalarTree(text, { file: 'c', line: 1, column: 1 }), {
    problems,
    steps: [],
  });
  return outcome === undefined ? `!${problems.fault()?.message}` : outcome.value;
}

t.test('durations carry units', async (t) => {
  const duration = scalars.duration('5s');
  for (const [text, ms] of [
    ['500ms', 500],
    ['5s', 5000],
    ['2m', 120_000],
    ['1h', 3_600_000],
    ['168h', 604_800_000],
  ] as const)
    t.equal(read(duration, text), ms, text);
  for (const text of [
    '5',
    '',
    's',
    '5 s',
    '-5s',
    '+5s',
    '1.5s',
    '5S',
    '5sec',
    '1h30m',
    '0s',
    '169h',
    '9999999999s',
    '5d',
  ])
    t.match(read(duration, text), /^!/, text);
  t.match(read(duration, '5'), /write a whole number and a unit: ms, s, m, h/);
});

t.test('rates are a whole number and a period', async (t) => {
  t.match(read(scalars.rate, '50/s'), { count: 50, per: 1000, text: '50/s' });
  t.match(read(scalars.rate, '600/m'), { count: 600, per: 60_000 });
  t.match(read(scalars.rate, '1/h'), { count: 1, per: 3_600_000 });
  for (const wrong of [
    '0/s',
    '50',
    '50/d',
    '1.5/s',
    '-1/s',
    '50 /s',
    '99999999/s',
    '050/s',
    '50/S',
  ])
    t.match(
      read(scalars.rate, wrong),
      /^!.*is not a rate; write a whole number and a period/,
      wrong,
    );
});

t.test('sizes carry units', async (t) => {
  const size = scalars.size('1MiB', 1024);
  for (const [text, bytes] of [
    ['1024B', 1024],
    ['64KiB', 65_536],
    ['1MiB', 1_048_576],
    ['2GiB', 2_147_483_648],
  ] as const)
    t.equal(read(size, text), bytes, text);
  for (const text of ['1024', '1MB', '1M', '1mib', '0B', '1023B', '1.5MiB', '-1KiB', '2000GiB'])
    t.match(read(size, text), /^!/, text);
});

t.test('domains to stand in for are names of two labels or more, and nobody else’s', async (t) => {
  for (const text of ['example.com', 'crm.internal', 'a.github.io'])
    t.equal(read(addresses.dnsDomain, text), text);
  for (const text of [
    '*.example.com',
    'com',
    'github.io',
    'co.uk',
    '10.0.0.1',
    '[::1]',
    'Example.com',
    'example.com.',
    '',
    'a b.c',
  ])
    t.match(read(addresses.dnsDomain, text), /^!/, text);
  t.match(read(addresses.dnsDomain, '*.example.com'), /leave `\*\.` out/);
});

t.test('addresses to listen on are IP addresses with a port, 0 for a free one', async (t) => {
  t.same(read(addresses.listenAddress, '127.0.0.1:15001'), { host: '127.0.0.1', port: 15001 });
  t.same(read(addresses.listenAddress, '[::1]:0'), { host: '::1', port: 0 });
  t.same(read(addresses.listenAddress, '0.0.0.0:10'), { host: '0.0.0.0', port: 10 });
  for (const text of [
    'localhost:80',
    '127.0.0.1',
    ':80',
    '*:80',
    '::1:80',
    '127.0.0.1:',
    '127.0.0.1:00',
    '127.0.0.1:65536',
    'http://127.0.0.1:80',
    '127.1:80',
  ]) {
    t.match(read(addresses.listenAddress, text), /^!/, text);
  }
  t.match(read(addresses.listenAddress, 'localhost:80'), /is a name; write an IP address/);
});

t.test('upstreams are a host and a port', async (t) => {
  t.same(read(addresses.upstreamAddress, 'crm.prod.svc:8443'), {
    host: 'crm.prod.svc',
    port: 8443,
  });
  t.same(read(addresses.upstreamAddress, '[2001:DB8::1]:443'), { host: '2001:db8::1', port: 443 });
  for (const text of ['crm', 'crm:0', 'https://crm:443', 'crm:443/x', 'user@crm:443', '127.1:80'])
    t.match(read(addresses.upstreamAddress, text), /^!.*without scheme or path/, text);
});

t.test('methods are tokens in their own case; CONNECT and TRACE are nobody’s (F12)', async (t) => {
  for (const text of ['GET', 'PROPFIND', 'x-custom', 'M-SEARCH'])
    t.equal(read(scalars.method, text), text);
  t.match(read(scalars.method, 'get'), /write GET/);
  for (const text of ['CONNECT', 'trace', 'G T', '', 'GET\n', 'GÉT', 'G/T', 'M'.repeat(33)])
    t.match(read(scalars.method, text), /^!/, text);
});

t.test('ranges are private, canonical blocks (S2)', async (t) => {
  t.equal(read(addresses.cidr, '10.96.0.0/12'), '10.96.0.0/12');
  t.equal(read(addresses.cidr, 'FD00::/8'), 'fd00::/8');
  for (const text of [
    '0.0.0.0/0',
    '::/0',
    '127.0.0.0/8',
    '169.254.0.0/16',
    '8.8.8.8/32',
    '10.0.0.1/8',
    '10.0.0.0',
    '100.100.100.200/32',
  ])
    t.match(read(addresses.cidr, text), /^!/, text);
});

t.test('names, paths, sockets and Workload API addresses', async (t) => {
  const cases: readonly (readonly [Schema<unknown>, readonly string[], readonly string[]])[] = [
    [scalars.name, ['a', 'crm-2', '0a'], ['', '-a', 'a-', 'A', 'a.b', 'a b', 'a'.repeat(64)]],
    [scalars.action, ['read', 'my-own'], ['', 'Read', '1x', 'a b']],
    [scalars.hint, ['research', 'a b'], ['', ' a', 'a\n', 'é']],
    [filePath, ['a.pem', '/x/y', '../y'], ['', 'x/', 'a\u0000b', 'a\nb']],
    [
      scalars.socket,
      ['/run/a.sock'],
      ['a.sock', '/', '/run/', '/run/a\u0000', `/${'a'.repeat(107)}`],
    ],
    [
      addresses.workloadApi,
      ['unix:///run/a.sock', 'unix:/run/a.sock', 'tcp://127.0.0.1:8081'],
      [
        '',
        '/run/a.sock',
        'unix:a.sock',
        'unix://host',
        'http://x',
        'tcp://x',
        'unix:///a?b',
        'tcp://1.2.3.4:1/x',
      ],
    ],
    [
      addresses.serverName,
      ['api.example.com'],
      ['*.example.com', '10.0.0.1', '[::1]', 'API.example.com', 'a b', 'https://x.y'],
    ],
  ];
  for (const [schema, good, wrong] of cases) {
    for (const text of good) t.notMatch(read(schema, text), /^!/, text);
    for (const text of wrong) t.match(read(schema, text), /^!/, JSON.stringify(text));
  }
});
