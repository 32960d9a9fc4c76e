import t from 'tap';

import { HTTP_LIMITS } from '../../lib/http/limits.ts';
import { head, readEveryWay } from './wire.ts';

const HOST = 'Host: a.example';

interface Refusal {
  readonly title: string;
  readonly text: string;
  readonly code?: string;
}

const refusal = (title: string, text: string, code = 'malformed'): Refusal => ({
  title,
  text,
  code,
});
const get = (...lines: readonly string[]): string => head('GET / HTTP/1.1', HOST, ...lines);
const post = (...lines: readonly string[]): string => head('POST / HTTP/1.1', HOST, ...lines);

const REQUESTS: readonly Refusal[] = [
  refusal('a bare LF after the request line (F4)', `GET / HTTP/1.1\n${HOST}\r\n\r\n`),
  refusal('bare LFs alone (F4)', `GET / HTTP/1.1\n${HOST}\n\n`),
  refusal('a bare LF after a field (F4)', `GET / HTTP/1.1\r\n${HOST}\nx: y\r\n\r\n`),
  refusal('a bare LF as the empty line (F4)', `GET / HTTP/1.1\r\n${HOST}\r\n\n`),
  refusal('a bare CR after the request line (F4)', `GET / HTTP/1.1\r${HOST}\r\n\r\n`),
  refusal('a CR before CRLF (F4)', `GET / HTTP/1.1\r\r\n${HOST}\r\n\r\n`),
  refusal('a bare CR in a value (F4)', get('X: a\rb')),
  refusal('a NUL in a value (F4)', get('X: a\0b')),
  refusal('a NUL in a name (F4)', get('X\0: a')),
  refusal('a control character in a value (F4)', get('X: a\x01b')),
  refusal('DEL in a value (F4)', get('X: a\x7fb')),
  refusal('a byte over 0x7f in a name', get('\xfcx: a')),
  refusal('obs-fold with a space (F4)', get('X: a', ' b')),
  refusal('obs-fold with a tab (F4)', get('X: a', '\tb')),
  refusal('a space before the first field (F4)', head('GET / HTTP/1.1', ` ${HOST}`)),
  refusal('a space before the colon (F4)', head('GET / HTTP/1.1', 'Host : a')),
  refusal('a tab before the colon (F4)', get('X\t: a')),
  refusal(
    'a space before the colon of Transfer-Encoding (F1)',
    post('Transfer-Encoding : chunked'),
  ),
  refusal('an empty field name', get(': a')),
  refusal('a field without a colon', get('nothing')),
  refusal('a name with a character that is no token', get('a(b): c')),
  refusal('an empty line first, which the connection takes away before', `\r\n${get()}`),
  refusal('a space first', ` ${get()}`),
  refusal('no method', head(' / HTTP/1.1', HOST)),
  refusal('a method that is no token (F12)', head('G@T / HTTP/1.1', HOST)),
  refusal('a method in lower case (F12)', head('get / HTTP/1.1', HOST), 'method-not-supported'),
  refusal('a method in mixed case (F12)', head('Get / HTTP/1.1', HOST), 'method-not-supported'),
  refusal('two spaces before the target', head('GET  / HTTP/1.1', HOST)),
  refusal('two spaces after the target', head('GET /  HTTP/1.1', HOST)),
  refusal('a tab after the method', head('GET\t/ HTTP/1.1', HOST)),
  refusal('a space in the target', head('GET /a b HTTP/1.1', HOST)),
  refusal('a tab in the target', head('GET /a\tb HTTP/1.1', HOST)),
  refusal('a control character in the target', head('GET /a\x01b HTTP/1.1', HOST)),
  refusal('raw UTF-8 in the target', head('GET /\xc3\xa4 HTTP/1.1', HOST)),
  refusal('no target', head('GET HTTP/1.1', HOST)),
  refusal('no version', head('GET /', HOST)),
  refusal('HTTP/0.9', 'GET /\r\n'),
  refusal('HTTP/1.2', head('GET / HTTP/1.2', HOST)),
  refusal('HTTP/2.0', head('GET / HTTP/2.0', HOST)),
  refusal('the preface of HTTP/2 (T5)', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
  refusal('HTTP/1.10', head('GET / HTTP/1.10', HOST)),
  refusal('HTTP/01.1', head('GET / HTTP/01.1', HOST)),
  refusal('the version in lower case', head('GET / http/1.1', HOST)),
  refusal('a space after the version', head('GET / HTTP/1.1 ', HOST)),
  refusal('a TLS ClientHello', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03'),
  refusal('HTTP/1.1 without Host (A4)', head('GET / HTTP/1.1', 'X: a')),
  refusal('two Hosts (A4)', get('Host: b.example')),
  refusal('two equal Hosts (A4)', get(HOST)),
  refusal('two Hosts with HTTP/1.0 (A4)', head('GET / HTTP/1.0', HOST, HOST)),
  refusal(
    'Content-Length and Transfer-Encoding (F1)',
    post('Content-Length: 4', 'Transfer-Encoding: chunked'),
  ),
  refusal(
    'Transfer-Encoding and Content-Length (F1)',
    post('Transfer-Encoding: chunked', 'Content-Length: 4'),
  ),
  refusal(
    'Content-Length: 0 and Transfer-Encoding (F1)',
    post('Content-Length: 0', 'Transfer-Encoding: chunked'),
  ),
  refusal('two Content-Lengths (F1)', post('Content-Length: 4', 'Content-Length: 5')),
  refusal('two equal Content-Lengths (F1)', post('Content-Length: 4', 'Content-Length: 4')),
  ...[
    '',
    '+4',
    '-4',
    '4, 4',
    '4,4',
    '0x4',
    '4 4',
    '4.0',
    '1e1',
    '\u00b2',
    '9007199254740992',
    '99999999999999999999',
  ].map((value) => refusal(`Content-Length "${value}" (F1)`, post(`Content-Length: ${value}`))),
  ...[
    '',
    'identity',
    'gzip',
    'gzip, chunked',
    'identity, chunked',
    'chunked, identity',
    'chunked, chunked',
    'xchunked',
    'chunked;a=b',
    '"chunked"',
    'chunked,',
    ',chunked',
    '\x0bchunked',
  ].map((value) =>
    refusal(`Transfer-Encoding "${value}" (F1, F2)`, post(`Transfer-Encoding: ${value}`)),
  ),
  refusal('a tab after chunked (F1)', post('Transfer-Encoding: chunked\t')),
  refusal('a tab before chunked (F1)', post('Transfer-Encoding:\tchunked')),
  refusal(
    'a tab after Host, which nginx takes for a part of it (F3)',
    head('GET / HTTP/1.1', 'Host: a.example\t'),
  ),
  refusal('a tab beside a length (F1)', post('Content-Length: 4\t')),
  refusal(
    'Transfer-Encoding twice (F1)',
    post('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
  ),
  refusal(
    'Transfer-Encoding split over two lines (F2)',
    post('Transfer-Encoding: gzip', 'Transfer-Encoding: chunked'),
  ),
  refusal(
    'Transfer-Encoding with HTTP/1.0 (F2)',
    head('POST / HTTP/1.0', HOST, 'Transfer-Encoding: chunked'),
  ),
  ...['HEAD', 'TRACE'].flatMap((method) => [
    refusal(
      `${method} with Content-Length (F3)`,
      head(`${method} / HTTP/1.1`, HOST, 'Content-Length: 1'),
    ),
    refusal(
      `${method} with chunks (F3)`,
      head(`${method} / HTTP/1.1`, HOST, 'Transfer-Encoding: chunked'),
    ),
  ]),
  refusal(
    'CONNECT with Content-Length (F3)',
    head('CONNECT a.example:443 HTTP/1.1', HOST, 'Content-Length: 1'),
  ),
  refusal(
    'CONNECT with chunks (F3)',
    head('CONNECT a.example:443 HTTP/1.1', HOST, 'Transfer-Encoding: chunked'),
  ),
  refusal('a Connection that is no list of tokens (H2)', get('Connection: a b')),
  refusal(
    'an expectation of something else (F8)',
    post('Content-Length: 1', 'Expect: 200-ok'),
    'expectation-failed',
  ),
  refusal(
    'two expectations (F8)',
    post('Content-Length: 1', 'Expect: 100-continue', 'Expect: x'),
    'expectation-failed',
  ),
  refusal('an empty expectation (F8)', post('Content-Length: 1', 'Expect:'), 'expectation-failed'),
  refusal('a method over the limit (H9)', head(`${'A'.repeat(33)} / HTTP/1.1`, HOST)),
];

t.test(
  'what is not plainly a request head is refused, the same for every split of its bytes (F1-F4, F8, F12, A4)',
  async (t) => {
    for (const { title, text, code } of REQUESTS) {
      const outcome = readEveryWay(text);
      t.match(outcome, { fault: code, message: String }, title);
    }
  },
);

t.test(
  'a head over a limit is refused as soon as it is over, the same for every split, never cut short (H9)',
  async (t) => {
    const limit = (name: keyof typeof HTTP_LIMITS): number => HTTP_LIMITS[name].default;
    const small = {
      methodBytes: 8,
      targetBytes: 20,
      headBytes: 200,
      fieldBytes: 60,
      fieldCount: 4,
      trailerBytes: 60,
      trailerCount: 2,
    };
    const limits = {
      ...Object.fromEntries(Object.entries(HTTP_LIMITS).map(([name, row]) => [name, row.default])),
      ...small,
    };
    const reading = { limits: limits as never };
    const cases: readonly (readonly [string, string, string])[] = [
      ['a target', head(`GET /${'a'.repeat(20)} HTTP/1.1`, HOST), 'target-too-long'],
      ['a target that never ends', `GET /${'a'.repeat(300)}`, 'target-too-long'],
      ['a method that never ends', 'A'.repeat(300), 'malformed'],
      ['a value', get(`x: ${'a'.repeat(58)}`), 'head-too-large'],
      ['a value that never ends', `GET / HTTP/1.1\r\nx: ${'a'.repeat(300)}`, 'head-too-large'],
      ['a name that never ends', `GET / HTTP/1.1\r\n${'a'.repeat(300)}`, 'head-too-large'],
      ['white space that never ends', `GET / HTTP/1.1\r\nx:${' '.repeat(300)}`, 'head-too-large'],
      ['a fifth field', get('a: 1', 'b: 2', 'c: 3', 'd: 4'), 'head-too-large'],
      [
        'a fifth field that would be a second Host',
        get('a: 1', 'b: 2', 'c: 3', 'Host: b'),
        'head-too-large',
      ],
      [
        'all of it',
        get(`a: ${'a'.repeat(57)}`, `b: ${'b'.repeat(57)}`, `c: ${'c'.repeat(57)}`),
        'head-too-large',
      ],
    ];
    for (const [title, text, code] of cases)
      t.match(readEveryWay(text, reading), { fault: code }, title);
    t.match(
      readEveryWay(get('a: 1', 'b: 2', 'c: 3'), reading),
      { body: '' },
      'as many fields as the limit',
    );
    t.match(
      readEveryWay(head(`GET /${'a'.repeat(19)} HTTP/1.1`, HOST), reading),
      { body: '' },
      'a target as long as the limit',
    );
    t.match(
      readEveryWay(get(`x: ${'a'.repeat(57)}`), reading),
      { body: '' },
      'a field as long as the limit',
    );
    const left = 200 - get('a: ', 'b: ', 'c: ').length - 100;
    const filled = (more: number): string =>
      get(`a: ${'a'.repeat(50)}`, `b: ${'b'.repeat(50)}`, `c: ${'c'.repeat(left + more)}`);
    t.equal(filled(0).length, 200);
    t.match(readEveryWay(filled(0), reading), { body: '' }, 'a head as long as the limit');
    t.match(readEveryWay(filled(1), reading), { fault: 'head-too-large' }, 'and a byte more');
    const many = get(...Array.from({ length: 2500 }, (_, i) => `x-${i}: y`), 'Content-Length: 3');
    t.match(readEveryWay(many.slice(0, 3000)), { fault: 'head-too-large' }, 'the default count');
    t.ok(limit('fieldCount') < 2500);
  },
);

t.test('a request head gives method, target, version and every field line in order', async (t) => {
  const outcome = readEveryWay(
    head(
      'PROPFIND http://a.example/x?y=%20#z HTTP/1.1',
      'HOST: a.example',
      'X-A:b',
      'x-a: \t c,\td \t',
      'Empty:',
      'Blank:   ',
    ),
  );
  t.match(outcome, {
    head: {
      method: 'PROPFIND',
      target: 'http://a.example/x?y=%20#z',
      minor: 1,
      fields: ['host', 'a.example', 'x-a', 'b', 'x-a', 'c,\td', 'empty', '', 'blank', ''],
      framing: { kind: 'none' },
      keepAlive: true,
      expectContinue: false,
    },
  });
});

t.test('framing, keep-alive and expectation are decided once', async (t) => {
  const cases: readonly (readonly [string, object])[] = [
    [post('Content-Length: 0'), { framing: { kind: 'length', length: 0 } }],
    [get('Content-Length: 0'), { framing: { kind: 'none' } }],
    [get('Connection: close'), { keepAlive: false }],
    [get('Connection: keep-alive'), { keepAlive: true }],
    [get('Connection: , close,,x,'), { keepAlive: false }],
    [get('Connection:'), { keepAlive: true }],
    [get('Content-Length: 0'), { framing: { kind: 'none' } }],
    [get('X: caf\xe9'), { fields: ['host', 'a.example', 'x', 'caf\xe9'] }],
    [get('Connection: Keep-Alive, x-y,CLOSE'), { keepAlive: false }],
    [head('GET / HTTP/1.0'), { keepAlive: false, minor: 0 }],
    [head('GET / HTTP/1.0', HOST, 'Connection: keep-alive'), { keepAlive: false, minor: 0 }],
    [get('Expect: 100-continue'), { expectContinue: false }],
  ];
  for (const [text, expected] of cases)
    t.match(readEveryWay(text), { head: expected }, JSON.stringify(text));
  t.match(readEveryWay(`${post('Content-Length: 1', 'Expect: 100-Continue')}x`), {
    head: { expectContinue: true },
    body: 'x',
  });
  t.match(
    readEveryWay(`${head('POST / HTTP/1.0', 'Content-Length: 1', 'Expect: 100-continue')}x`),
    {
      head: { expectContinue: false },
    },
  );
  t.match(
    readEveryWay(`${head('DELETE /x HTTP/1.1', HOST, 'Content-Length: 2')}{}`),
    { body: '{}' },
    'DELETE may have a body (F3)',
  );
  t.match(
    readEveryWay(`${head('OPTIONS * HTTP/1.1', HOST, 'Content-Length: 2')}{}`),
    { body: '{}' },
    'OPTIONS may have a body (F3)',
  );
  t.match(
    readEveryWay(`${get('Content-Length: 2')}{}`),
    { body: '{}' },
    'that of a GET is framed as any other (F3)',
  );
  t.match(
    readEveryWay(`${post('Content-Length: 002')}{}`),
    { body: '{}' },
    'leading zeros are digits',
  );
});

const ok = (...lines: readonly string[]): string => head('HTTP/1.1 200 OK', ...lines);

const RESPONSES: readonly Refusal[] = [
  refusal(
    'Content-Length and Transfer-Encoding (F9)',
    ok('Content-Length: 4', 'Transfer-Encoding: chunked'),
  ),
  refusal('two Content-Lengths (F9)', ok('Content-Length: 4', 'Content-Length: 4')),
  refusal('a Content-Length that is no number (F9)', ok('Content-Length: 4, 4')),
  refusal('a Transfer-Encoding other than chunked (F9)', ok('Transfer-Encoding: gzip, chunked')),
  refusal(
    'Transfer-Encoding with HTTP/1.0 (F9)',
    head('HTTP/1.0 200 OK', 'Transfer-Encoding: chunked'),
  ),
  refusal('a body with 100 (F9)', head('HTTP/1.1 100 Continue', 'Content-Length: 4')),
  refusal('a body with 101 (F9)', head('HTTP/1.1 101 Switching Protocols', 'Content-Length: 4')),
  refusal('a bare LF (F4)', 'HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n'),
  refusal('obs-fold (F4)', ok('X: a', ' b')),
  refusal('a space before the colon of Content-Length (F4)', ok('Content-Length : 4')),
  refusal('a tab before the colon of Transfer-Encoding (F4)', ok('Transfer-Encoding\t: chunked')),
  refusal('a space before the colon of Connection (F4)', ok('Connection : close')),
  refusal('a blank for a name (F4)', ok(' : a')),
  refusal('a space in a name (F4)', ok('X y: a')),
  refusal('a NUL in a value (F4)', ok('X: \0')),
  refusal('no space after the status', head('HTTP/1.1 200', 'Content-Length: 0')),
  refusal('a status of two digits', head('HTTP/1.1 20 OK')),
  refusal('a status of four digits', head('HTTP/1.1 2000 OK')),
  refusal('a status under 100', head('HTTP/1.1 099 OK')),
  refusal('a status over 599', head('HTTP/1.1 600 OK')),
  refusal('a status that is no number', head('HTTP/1.1 2x0 OK')),
  refusal('two spaces', head('HTTP/1.1  200 OK')),
  refusal('HTTP/2', head('HTTP/2 200 OK')),
  refusal('ICY', head('ICY 200 OK')),
  refusal('an empty line first', `\r\n${ok()}`),
  refusal('a control character in the reason', head('HTTP/1.1 200 O\x01K')),
  refusal('too many fields (H9)', ok(...Array.from({ length: 129 }, () => 'x: y'))),
];

t.test(
  'what is not plainly a response head is refused, the same for every split of its bytes (F9, F4)',
  async (t) => {
    for (const { title, text } of RESPONSES)
      t.match(readEveryWay(text, { to: 'GET' }), { fault: 'upstream-malformed' }, title);
  },
);

t.test('where a response ends is decided as RFC 9112 section 6.3 has it', async (t) => {
  const cases: readonly (readonly [string, string, string, object])[] = [
    ['GET', ok('Content-Length: 3'), 'abc', { body: 'abc' }],
    ['GET', ok('Content-Length: 0'), '', { body: '' }],
    ['HEAD', ok('Content-Length: 3'), '', { body: '', head: { framing: { kind: 'none' } } }],
    ['HEAD', ok('Transfer-Encoding: chunked'), '', { body: '' }],
    ['GET', head('HTTP/1.1 304 Not Modified', 'Content-Length: 3'), '', { body: '' }],
    ['GET', head('HTTP/1.1 204 No Content'), '', { body: '' }],
    ['GET', head('HTTP/1.1 204 No Content', 'Content-Length: 0'), '', { body: '' }],
    [
      'GET',
      head('HTTP/1.1 204 No', 'Content-Length: 4'),
      '',
      { body: '', head: { keepAlive: false } },
    ],
    [
      'GET',
      head('HTTP/1.1 204 No', 'Transfer-Encoding: chunked'),
      '',
      { body: '', head: { keepAlive: false } },
    ],
    [
      'GET',
      head('HTTP/1.1 304 Not', 'Transfer-Encoding: chunked'),
      '',
      { body: '', head: { keepAlive: false } },
    ],
    [
      'GET',
      ok('X : a', 'Y \t: b', 'Content-Length: 0'),
      '',
      { head: { fields: ['x', 'a', 'y', 'b'] } },
    ],
    [
      'GET',
      ok('Connection: keep-alive,', 'Connection:', 'Content-Length: 0'),
      '',
      { head: { keepAlive: true } },
    ],
    ['GET', ok('Connection: , close', 'Content-Length: 0'), '', { head: { keepAlive: false } }],
    ['CONNECT', ok(), '', { body: '', head: { framing: { kind: 'none' } } }],
    ['CONNECT', head('HTTP/1.1 403 No', 'Content-Length: 3'), 'abc', { body: 'abc' }],
    ['GET', ok('Transfer-Encoding: Chunked'), '3\r\nabc\r\n0\r\n\r\n', { body: 'abc' }],
    ['GET', ok('X: \xfc'), '', { head: { fields: ['x', '\xfc'] } }],
    ['GET', head('HTTP/1.1 200 ', 'Content-Length: 0'), '', { head: { reason: '' } }],
    [
      'GET',
      head('HTTP/1.1 404 N\xf6t  Found', 'Content-Length: 0'),
      '',
      { head: { reason: 'N\xf6t  Found', status: 404 } },
    ],
    [
      'GET',
      head('HTTP/1.0 200 OK', 'Content-Length: 3'),
      'abc',
      { body: 'abc', head: { keepAlive: false } },
    ],
    [
      'GET',
      ok('Content-Length: 3', 'Connection: close'),
      'abc',
      { body: 'abc', head: { keepAlive: false } },
    ],
  ];
  for (const [to, text, body, expected] of cases) {
    const end = body === '' && /^HTTP\/1.1 200 OK\r\nX/.test(text);
    t.match(readEveryWay(text + body, { to, end }), expected, `${to} ${JSON.stringify(text)}`);
  }
  t.match(readEveryWay(`${ok()}abc`, { to: 'GET', end: true }), {
    body: 'abc',
    head: { framing: { kind: 'until-close' }, keepAlive: false },
  });
  t.equal(
    readEveryWay(`${ok()}abc`, { to: 'GET' }),
    'incomplete',
    'until close is not over before the end',
  );
});
