/**
 * A seeded generator of HTTP/1.1 messages, good ones and ones a few edits away from good. The same
 * seed gives the same messages.
 */

export type Random = () => number;

/** mulberry32: uniform in [0, 1). */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export function pick<T>(random: Random, from: readonly [T, ...T[]]): T {
  return from[Math.floor(random() * from.length)] ?? from[0];
}

const upTo = (random: Random, most: number): number => Math.floor(random() * (most + 1));

const FIELDS = [
  'Accept: */*',
  'X-A: b',
  'x-a:c',
  'Empty:',
  'Padded: \t a b \t',
  'Cookie: a=b; c=d',
  'Connection: keep-alive',
  'Connection: close',
  'Connection: X-A, keep-alive',
  "!#$%&'*+-.^_`|~: odd",
  'Authorization: Bearer abc.def',
  'Content-Type: text/plain',
] as const;

/** Lines that mean something for framing, put in where they may do harm. */
const HARM = [
  'Content-Length: 3',
  'Content-Length: 0',
  'Content-Length: +3',
  'Content-Length: 3, 3',
  'Content-Length : 3',
  'Content-Length:3 ',
  'content-length: 0x3',
  'Content-Length: 18446744073709551619',
  'Transfer-Encoding: chunked',
  'Transfer-Encoding: Chunked',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: identity',
  'Transfer-Encoding: chunked, identity',
  'Transfer-Encoding:\tchunked',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding: "chunked"',
  'Host: b.example',
  ' folded',
  'Upgrade: websocket',
  'Expect: 100-continue',
  'Trailer: X-Sum',
] as const;

const EDITS = [
  '\0',
  '\t',
  '\n',
  '\v',
  '\r',
  '\r\n',
  ' ',
  '  ',
  ':',
  ';',
  ',',
  '0',
  '1',
  'a',
  'F',
  '"',
  '\\',
  '/',
  '\x7f',
  '\x80',
  '\xff',
  '%',
  '#',
  '@',
  '\r\n\r\n',
  ';a=b',
  '\n\n',
] as const;

function fieldLines(random: Random): string[] {
  return Array.from({ length: upTo(random, 5) }, () => pick(random, FIELDS));
}

function chunks(random: Random): string {
  let text = '';
  for (let left = upTo(random, 3); left > 0; left--) {
    const data = 'x\r\n0;aB'.repeat(1 + upTo(random, 3)).slice(0, 1 + upTo(random, 15));
    const size = data.length.toString(16);
    text += `${random() < 0.2 ? `0${size.toUpperCase()}` : size}\r\n${data}\r\n`;
  }
  const trailers =
    random() < 0.3 ? pick(random, ['X-Sum: 1\r\n', 'X-Sum: 1\r\nX-Two:\r\n', 'Host: b\r\n']) : '';
  return `${text}0\r\n${trailers}\r\n`;
}

/** Framing lines and the body they announce. */
function framed(random: Random): readonly [string[], string] {
  const kind = random();
  if (kind < 0.35) return [[], ''];
  if (kind < 0.65) {
    const body = 'hello\r\nworld'.slice(0, upTo(random, 12));
    return [[`Content-Length: ${body.length}`], body];
  }
  return [['Transfer-Encoding: chunked'], chunks(random)];
}

function mutate(random: Random, text: string): string {
  let mutated = text;
  for (let left = upTo(random, 3); left > 0; left--) {
    const at = upTo(random, mutated.length);
    const kind = random();
    if (kind < 0.35) mutated = mutated.slice(0, at) + pick(random, EDITS) + mutated.slice(at);
    else if (kind < 0.55) mutated = mutated.slice(0, at) + mutated.slice(at + 1 + upTo(random, 2));
    else if (kind < 0.7)
      mutated = mutated.slice(0, at) + pick(random, EDITS) + mutated.slice(at + 1);
    else {
      const lineEnd = mutated.indexOf('\r\n', Math.floor(at / 2)) + 2;
      if (lineEnd > 1)
        mutated = `${mutated.slice(0, lineEnd)}${pick(random, HARM)}\r\n${mutated.slice(lineEnd)}`;
    }
  }
  return mutated;
}

function shuffled(random: Random, lines: readonly string[]): string[] {
  return lines
    .map((line) => [random(), line] as const)
    .sort(([a], [b]) => a - b)
    .map(([, line]) => line);
}

export function someRequest(random: Random): string {
  const [framing, body] = framed(random);
  const method =
    framing.length === 0
      ? pick(random, ['GET', 'HEAD', 'DELETE', 'POST', 'OPTIONS'])
      : pick(random, ['POST', 'PUT', 'PATCH', 'DELETE']);
  const target = pick(random, [
    '/',
    '/a/b?c=d',
    '*',
    'http://a.example/x',
    '/%20',
    '/..//',
    '/a;b',
  ]);
  const version = random() < 0.1 ? 'HTTP/1.0' : 'HTTP/1.1';
  const lines = [
    `${method} ${target} ${version}`,
    ...shuffled(random, ['Host: a.example', ...framing, ...fieldLines(random)]),
  ];
  const text = `${lines.join('\r\n')}\r\n\r\n${body}`;
  return random() < 0.3 ? text : mutate(random, text);
}

export function someResponse(random: Random): string {
  const [framing, body] = framed(random);
  const status = pick(random, [
    '200 OK',
    '404 Not Found',
    '204 No Content',
    '304 Not Modified',
    '500 ',
    '206 Partial  Content',
  ]);
  const version = random() < 0.1 ? 'HTTP/1.0' : 'HTTP/1.1';
  const informs = random() < 0.1 ? 'HTTP/1.1 100 Continue\r\n\r\n' : '';
  const lines = [`${version} ${status}`, ...shuffled(random, [...framing, ...fieldLines(random)])];
  const text = `${informs}${lines.join('\r\n')}\r\n\r\n${body}`;
  return random() < 0.3 ? text : mutate(random, text);
}
