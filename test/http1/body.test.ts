import t from 'tap';

import { httpLimits } from '../../lib/http/limits.ts';
import { head, readEveryWay } from './wire.ts';

const CHUNKED = head('POST / HTTP/1.1', 'Host: a.example', 'Transfer-Encoding: chunked');
const ANSWER = head('HTTP/1.1 200 OK', 'Transfer-Encoding: chunked');

t.test('a chunked body is decoded the same for every split of its bytes', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['0\r\n\r\n', ''],
    ['5\r\nhello\r\n0\r\n\r\n', 'hello'],
    ['1\r\na\r\n2\r\nbc\r\n0\r\n\r\n', 'abc'],
    ['A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n', '01234567890123456789'],
    ['0005\r\nhello\r\n000\r\n\r\n', 'hello'],
    ['4\r\n\r\n\r\n\r\n0\r\n\r\n', '\r\n\r\n'],
    ['7\r\n0\r\n\r\n5\r\r\n0\r\n\r\n', '0\r\n\r\n5\r'],
  ];
  for (const [wire, body] of cases) {
    t.match(readEveryWay(CHUNKED + wire), { body, trailers: [], rest: '' }, JSON.stringify(wire));
    t.match(
      readEveryWay(ANSWER + wire, { to: 'GET' }),
      { body, trailers: [], rest: '' },
      JSON.stringify(wire),
    );
  }
});

t.test(
  'chunk extensions of an answer are ignored, bounded; in a request they are refused (F2)',
  async (t) => {
    const cases = [
      '5;a=b\r\nhello\r\n0\r\n\r\n',
      '5;\r\nhello\r\n0;last\r\n\r\n',
      '2;a="b;\xfc c"\r\nhe\r\n3;x;y=z\r\nllo\r\n0;\r\n\r\n',
      `5;${'a'.repeat(1024)}\r\nhello\r\n0;${'a'.repeat(1024)}\r\n\r\n`,
    ];
    for (const wire of cases) {
      const read = readEveryWay(ANSWER + wire, { to: 'GET' });
      t.match(read, { body: 'hello', trailers: [], rest: '' }, JSON.stringify(wire));
      t.match(readEveryWay(CHUNKED + wire), { fault: 'malformed' }, JSON.stringify(wire));
    }
    const { chunkExtensionBytes } = httpLimits();
    const longer = `${ANSWER}5;${'a'.repeat(chunkExtensionBytes + 1)}\r\nhello\r\n0\r\n\r\n`;
    t.match(readEveryWay(longer, { to: 'GET' }), { fault: 'upstream-malformed' }, 'past the limit');
  },
);

t.test('what is not plainly chunked is refused, the same for every split (F1, F2)', async (t) => {
  const cases: readonly (readonly [string, string])[] = [
    ['an extension without a size', ';a=b\r\nhello\r\n0\r\n\r\n'],
    ['an extension ended by LF', '5;a\nhello\r\n0\r\n\r\n'],
    ['an extension with NUL', '5;a\0\r\nhello\r\n0\r\n\r\n'],
    ['an extension ended by CR alone', '5;a\rhello\r\n0\r\n\r\n'],
    ['a space before an extension', '5 ;a\r\nhello\r\n0\r\n\r\n'],
    ['an extension of 2 KiB (F2)', `5;${'a'.repeat(2048)}\r\nhello\r\n0\r\n\r\n`],
    ['a space after the size', '5 \r\nhello\r\n0\r\n\r\n'],
    ['a space before the size', ' 5\r\nhello\r\n0\r\n\r\n'],
    ['0x before the size', '0x5\r\nhello\r\n0\r\n\r\n'],
    ['a sign', '+5\r\nhello\r\n0\r\n\r\n'],
    ['a negative size', '-5\r\nhello\r\n0\r\n\r\n'],
    ['no size', '\r\nhello\r\n0\r\n\r\n'],
    ['a size that is no number', 'g\r\n'],
    ['a decimal point', '5.0\r\nhello\r\n0\r\n\r\n'],
    ['an underscore', '1_0\r\n'],
    ['a size over 2^53', 'fffffffffffffff\r\n'],
    ['a size over 2^64 that wraps round', '10000000000000005\r\nhello\r\n0\r\n\r\n'],
    ['zeros without end', '0'.repeat(40)],
    ['LF after the size', '5\nhello\r\n0\r\n\r\n'],
    ['CR alone after the size', '5\rhello\r\n0\r\n\r\n'],
    ['LF after the data', '5\r\nhello\n0\r\n\r\n'],
    ['CR alone after the data', '5\r\nhello\r0\r\n\r\n'],
    ['more data than the size', '5\r\nhello!\r\n0\r\n\r\n'],
    ['less data than the size', '6\r\nhello\r\n0\r\n\r\n'],
    ['LF as the end', '0\r\n\n'],
    ['a bare CR as the end', '0\r\n\rx'],
    ['LF after the last size', '0\n\r\n'],
    ['a trailer with a space before the colon', '0\r\na : b\r\n\r\n'],
    ['a folded trailer', '0\r\na: b\r\n c\r\n\r\n'],
    ['a trailer ended by LF', '0\r\na: b\n\r\n'],
    ['a trailer with NUL', '0\r\na: \0\r\n\r\n'],
    ['a trailer without colon', '0\r\nab\r\n\r\n'],
  ];
  for (const [title, wire] of cases) {
    t.match(readEveryWay(CHUNKED + wire), { fault: 'malformed' }, title);
    t.match(readEveryWay(ANSWER + wire, { to: 'GET' }), { fault: 'upstream-malformed' }, title);
  }
});

t.test(
  'trailers are apart; what frames, routes or authenticates is refused in a request, left out of an answer (F7)',
  async (t) => {
    t.match(
      readEveryWay(`${ANSWER}1\r\na\r\n0\r\nGrpc-Status: 0\r\nx-sum:1\r\n\r\n`, { to: 'GET' }),
      {
        head: { fields: ['transfer-encoding', 'chunked'] },
        body: 'a',
        trailers: ['grpc-status', '0', 'x-sum', '1'],
      },
    );
    const forbidden =
      'Host Content-Length Transfer-Encoding Authorization Proxy-Authorization Cookie ' +
      'Set-Cookie Connection Trailer TE Upgrade Content-Type Forwarded Expect';
    for (const name of forbidden.split(' ')) {
      t.match(readEveryWay(`${CHUNKED}0\r\n${name}: a\r\n\r\n`), { fault: 'malformed' }, name);
      t.match(
        readEveryWay(`${ANSWER}1\r\na\r\n0\r\nx-one: 1\r\n${name}: a\r\nx-two: 2\r\n\r\n`, {
          to: 'GET',
        }),
        { body: 'a', trailers: ['x-one', '1', 'x-two', '2'] },
        name,
      );
    }
  },
);

t.test('trailers are bounded in bytes and number (F7, H9)', async (t) => {
  const limits = httpLimits({ trailerBytes: 64, trailerCount: 2 });
  t.match(readEveryWay(`${CHUNKED}0\r\na: 1\r\nb: 2\r\n\r\n`, { limits }), {
    trailers: ['a', '1', 'b', '2'],
  });
  t.match(readEveryWay(`${CHUNKED}0\r\na: 1\r\nb: 2\r\nc: 3\r\n\r\n`, { limits }), {
    fault: 'head-too-large',
  });
  t.match(readEveryWay(`${CHUNKED}0\r\na: ${'1'.repeat(80)}`, { limits }), {
    fault: 'head-too-large',
  });
  t.match(readEveryWay(`${CHUNKED}0\r\na: ${'1'.repeat(57)}\r\n\r\n`, { limits }), { body: '' });
  t.match(readEveryWay(`${CHUNKED}0\r\na: ${'1'.repeat(58)}\r\n\r\n`, { limits }), {
    fault: 'head-too-large',
  });
});

t.test('bytes after the end of a message are not of it (F5)', async (t) => {
  const next = head('GET /next HTTP/1.1', 'Host: a.example');
  t.match(readEveryWay(`${head('POST / HTTP/1.1', 'Host: a.example', 'Content-Length: 3')}abc`), {
    body: 'abc',
    rest: '',
  });
  for (const message of [
    `${head('POST / HTTP/1.1', 'Host: a', 'Content-Length: 3')}abc`,
    `${CHUNKED}3\r\nabc\r\n0\r\n\r\n`,
    `${CHUNKED}3\r\nabc\r\n0\r\na: b\r\n\r\n`,
  ]) {
    t.match(readEveryWay(message + next), { body: 'abc', rest: next });
  }
});

t.test('a body that ends before its length is a cut, whose code says whose', async (t) => {
  t.match(readEveryWay(`${CHUNKED}5\r\nhel`, { end: true }), { fault: 'client-gone' });
  t.match(readEveryWay(`${ANSWER}5\r\nhello\r\n`, { to: 'GET', end: true }), {
    fault: 'upstream-cut',
  });
  t.match(readEveryWay(`${ANSWER}5\r\nhello\r\n0\r\n`, { to: 'GET', end: true }), {
    fault: 'upstream-cut',
  });
  t.match(
    readEveryWay(`${head('HTTP/1.1 200 OK', 'Content-Length: 5')}hell`, { to: 'GET', end: true }),
    {
      fault: 'upstream-cut',
    },
  );
});
