/**
 * What is read from a client's frames beside the engine: held against RFC 7541's own examples and
 * against what the engine itself writes.
 */
import { connect } from 'node:http2';
import { createServer, type AddressInfo } from 'node:net';
import fc from 'fast-check';
import t from 'tap';
import { Frames, type FrameWatcher } from '../../lib/http2/frames.ts';
import { fieldsOfBlock } from '../../lib/http2/hpack.ts';
import { http2Limits, type Http2Limits } from '../../lib/http2/limits.ts';
import { until } from '../support/until.ts';
import { wordsOf } from './hpack.ts';
import {
  ask,
  block,
  CONTINUATION,
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  HEADERS,
  PREFACE,
  SETTINGS,
} from './raw.ts';

interface Noted extends FrameWatcher {
  readonly seen: string[];
}

function noted(): Noted {
  const seen: string[] = [];
  return {
    seen,
    opened: (id, { fields }) => void seen.push(`${id}: ${fields} fields`),
    moved: (id) => void seen.push(`${id}: moved`),
    tainted: (id, what) => void seen.push(`${id}: bad ${what}`),
    blockOpen: (open) => void (open && seen.push('open')),
  };
}

function read(
  bytes: Buffer,
  sizes: readonly number[] = [],
  limits: Partial<Http2Limits> = {},
): readonly string[] {
  const watcher = noted();
  const frames = new Frames(http2Limits(limits), watcher, () => 0);
  let at = 0;
  for (const size of sizes) {
    frames.read(bytes.subarray(at, at + size));
    at += size;
  }
  frames.read(bytes.subarray(at));
  return watcher.seen;
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');

t.test('the Huffman code is that of RFC 7541 (appendix C)', async (t) => {
  t.equal(wordsOf(hex('f1e3 c2e5 f23a 6ba0 ab90 f4ff')), 'www.example.com');
  t.equal(wordsOf(hex('a8eb 1064 9cbf')), 'no-cache');
  t.equal(wordsOf(hex('25a8 49e9 5bb8 e8b4 bf')), 'custom-value');
  t.equal(
    wordsOf(hex('d07a be94 1054 d444 a820 0595 040b 8166 e082 a62d 1bff')),
    'Mon, 21 Oct 2013 20:13:21 GMT',
  );
});

t.test('blocks of RFC 7541 (appendix C.3, C.4) and literals that are none', async (t) => {
  t.equal(fieldsOfBlock(hex('8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d')), 4);
  t.equal(fieldsOfBlock(hex('8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff')), 4);
  t.equal(fieldsOfBlock(hex('8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf')), 5);
  t.equal(fieldsOfBlock(hex('3fe1 1f82')), 1, 'behind a change of the size of the table');
  t.equal(fieldsOfBlock(hex('0001 61 82 ffc7')), 'value', 'NUL, coded');
  t.equal(fieldsOfBlock(hex('0001 61 84 ffff fff3')), 'value', 'LF, coded');
  t.equal(fieldsOfBlock(hex('0001 61 84 ffff ffff')), 'value', 'the end of the code');
  t.equal(fieldsOfBlock(block(['X', 'a'])), 'name');
  t.equal(fieldsOfBlock(block(['x', 'caf\xe9'])), 1, 'obs-text is opaque');
  t.equal(fieldsOfBlock(block(['x', 'caf\x7f'])), 'value');
  t.equal(
    fieldsOfBlock(hex('00ff ffff ffff ff')),
    1,
    'a length past the end is the engine’s to refuse',
  );
});

t.test('however the bytes arrive, the same is seen', async (t) => {
  const whole = block(...ask('GET', '/', ['x', 'a\nb']));
  const padded = Buffer.concat([
    Buffer.from([3, 0, 0, 0, 0, 16]),
    block(...ask('GET', '/')),
    Buffer.alloc(3),
  ]);
  const bytes = Buffer.concat([
    Buffer.from(PREFACE),
    frame(SETTINGS, 0, 0),
    frame(HEADERS, END_STREAM, 1, whole.subarray(0, 20)),
    frame(CONTINUATION, 0, 1, whole.subarray(20, 25)),
    frame(CONTINUATION, END_HEADERS, 1, whole.subarray(25)),
    frame(HEADERS, END_HEADERS | 0x28, 3, padded),
    frame(DATA, 0, 3, 'content'),
    frame(HEADERS, END_HEADERS | END_STREAM, 3, block(['x-trailer', '1'])),
  ]);
  const wanted = read(bytes);
  t.match(wanted, ['open', 'open', '1: bad value', /^1: /, '3: 4 fields', '3: moved', '3: moved']);
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 60 }), (sizes) => {
      t.strictSame(read(bytes, sizes), wanted);
    }),
    { numRuns: 200 },
  );
  t.strictSame(
    read(
      bytes,
      Array.from({ length: bytes.length }, () => 1),
    ),
    wanted,
    'byte by byte',
  );
});

t.test('what the engine writes for sound fields is never found wanting', async (t) => {
  const received: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('data', (chunk: Buffer) => received.push(chunk));
    socket.write(frame(SETTINGS, 0, 0));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', () => resolve()));
  const session = connect(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  session.on('error', () => {});
  const value = fc.string({
    unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)),
    maxLength: 300,
  });
  const values = fc.sample(value, 300);
  for (const [i, text] of values.entries())
    session
      .request({ ':path': `/${i}`, 'x-value': text, [`x-name-${i % 7}`]: 'a' })
      .on('error', () => {});
  const wanted = `${values.length * 2 - 1}: 6 fields`;
  const seen = await until('all heads are there', () => {
    const now = read(Buffer.concat(received), [], { blockFrames: 1000 });
    return now.includes(wanted) ? now : undefined;
  });
  t.equal(seen.length, values.length);
  t.ok(
    seen.every((one) => one.endsWith('6 fields')),
    'each with all its fields',
  );
  session.destroy();
  await new Promise((resolve) => server.close(resolve));
});
