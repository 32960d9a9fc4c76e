/**
 * Frames of a WebSocket server as they are handed on: the same messages, and always whole frames.
 */
import fc from 'fast-check';
import t from 'tap';
import { ServerFrames } from '../../lib/forward/websocket-frames.ts';

interface Frame {
  readonly opcode: number;
  readonly fin: boolean;
  readonly payload: Buffer;
}

function encoded({ opcode, fin, payload }: Frame): Buffer {
  const first = opcode | (fin ? 0x80 : 0);
  const { length } = payload;
  if (length < 126) return Buffer.concat([Buffer.from([first, length]), payload]);
  const head = Buffer.alloc(length < 65_536 ? 4 : 10);
  head[0] = first;
  head[1] = length < 65_536 ? 126 : 127;
  if (length < 65_536) head.writeUInt16BE(length, 2);
  else head.writeBigUInt64BE(BigInt(length), 2);
  return Buffer.concat([head, payload]);
}

/** Throws where the bytes do not end with a whole frame. */
function decoded(bytes: Buffer): readonly Frame[] {
  const frames: Frame[] = [];
  for (let at = 0; at < bytes.length;) {
    const [first, short] = [bytes.readUInt8(at), bytes.readUInt8(at + 1)];
    const size = short === 126 ? 4 : short === 127 ? 10 : 2;
    const length =
      short === 126
        ? bytes.readUInt16BE(at + 2)
        : short === 127
          ? Number(bytes.readBigUInt64BE(at + 2))
          : short;
    if (at + size + length > bytes.length) throw new Error('a frame in part');
    const payload = bytes.subarray(at + size, at + size + length);
    frames.push({ opcode: first & 15, fin: first >= 0x80, payload });
    at += size + length;
  }
  return frames;
}

/**
 * What a client makes of frames: whole messages, what of one has come, and control frames, in
 * order.
 */
function messages(frames: readonly Frame[]): readonly string[] {
  const seen: string[] = [];
  let open: { opcode: number; parts: Buffer[] } | undefined;
  for (const { opcode, fin, payload } of frames) {
    if (opcode >= 8) seen.push(`${opcode}: ${payload.toString('hex')}`);
    else {
      if (opcode !== 0 && open !== undefined) throw new Error('a message within a message');
      if (opcode === 0 && open === undefined) throw new Error('a continuation of nothing');
      open ??= { opcode, parts: [] };
      open.parts.push(payload);
      if (!fin) continue;
      seen.push(`${open.opcode}: ${Buffer.concat(open.parts).toString('hex')}`);
      open = undefined;
    }
  }
  return seen;
}

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc.constantFrom(125, 126, 65_535, 65_536, 70_000).map((length) => new Uint8Array(length)),
);
const control: fc.Arbitrary<readonly Frame[]> = fc
  .record({ opcode: fc.constantFrom(9, 10), payload: fc.uint8Array({ maxLength: 125 }) })
  .map((one) => [{ opcode: one.opcode, fin: true, payload: Buffer.from(one.payload) }]);
/** A message in fragments, with control frames between them. */
const message: fc.Arbitrary<readonly Frame[]> = fc
  .record({
    opcode: fc.constantFrom(1, 2),
    parts: fc.array(payload, { minLength: 1, maxLength: 3 }),
    between: control,
  })
  .map(({ opcode, parts, between }) =>
    parts.flatMap((part, i) => [
      { opcode: i === 0 ? opcode : 0, fin: i === parts.length - 1, payload: Buffer.from(part) },
      ...(i < parts.length - 1 ? between : []),
    ]),
  );
const stream = fc.array(fc.oneof(message, control), { maxLength: 6 }).map((all) => all.flat());

t.test(
  'however the bytes arrive, what is handed on are whole frames of the same messages',
  async (t) => {
    fc.assert(
      fc.property(
        stream,
        fc.array(fc.integer({ min: 1, max: 40_000 }), { maxLength: 40 }),
        (frames, sizes) => {
          const bytes = Buffer.concat(frames.map(encoded));
          const reader = new ServerFrames();
          const out: Buffer[] = [];
          let at = 0;
          for (const size of [...sizes, bytes.length]) {
            out.push(...reader.take(bytes.subarray(at, at + size)));
            decoded(Buffer.concat(out));
            at += size;
            if (at >= bytes.length) break;
          }
          t.strictSame(messages(decoded(Buffer.concat(out))), messages(frames));
        },
      ),
      { numRuns: 300 },
    );
  },
);

t.test('byte by byte, and whole, too; whole frames are handed on as they came', async (t) => {
  const frames: readonly Frame[] = [
    { opcode: 1, fin: false, payload: Buffer.from('one ') },
    { opcode: 9, fin: true, payload: Buffer.from('ping') },
    { opcode: 0, fin: true, payload: Buffer.alloc(300, 'x') },
    { opcode: 2, fin: true, payload: Buffer.alloc(0) },
  ];
  const bytes = Buffer.concat(frames.map(encoded));
  const whole = new ServerFrames().take(bytes);
  t.equal(whole.length, 1);
  t.equal(whole[0], bytes, 'not copied');
  const reader = new ServerFrames();
  const out = [...bytes].flatMap((byte) => reader.take(Buffer.from([byte])));
  t.strictSame(messages(decoded(Buffer.concat(out))), messages(frames));
});

t.test('a Close can follow at any byte, with its code and a reason that fits', async (t) => {
  const bytes = encoded({ opcode: 1, fin: true, payload: Buffer.alloc(200, 'x') });
  for (let cut = 0; cut <= bytes.length; cut++) {
    const reader = new ServerFrames();
    const out = reader.take(bytes.subarray(0, cut));
    const close = reader.close(1008, 'ü'.repeat(100));
    const frames = decoded(Buffer.concat([...out, close ?? Buffer.from([0])]));
    const last = frames.at(-1);
    t.match(last, { opcode: 8, fin: true });
    t.equal(last?.payload.readUInt16BE(0), 1008);
    t.equal(last?.payload.subarray(2).toString(), 'ü'.repeat(61), 'no character is cut in half');
  }
});

t.test(
  'what is no frame of a server is handed on as it is, and nothing is said behind it',
  async (t) => {
    const rows: Readonly<Record<string, Buffer>> = {
      text: Buffer.from('hello'),
      'a reserved bit': Buffer.from([0xc1, 1, 65]),
      'a mask': Buffer.from([0x81, 0x81, 0, 0, 0, 0, 65]),
      'an opcode that is none': Buffer.from([0x83, 1, 65]),
      'a control frame in part': Buffer.from([0x09, 1, 65]),
      'a control frame that is too long': Buffer.from([0x89, 126, 1, 0]),
      'a length past all numbers': Buffer.from([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255]),
    };
    const good = encoded({ opcode: 1, fin: true, payload: Buffer.from('ok') });
    for (const [title, bad] of Object.entries(rows)) {
      for (const size of [1, 100]) {
        const bytes = Buffer.concat([good, bad, Buffer.from('rest')]);
        const reader = new ServerFrames();
        const out: Buffer[] = [];
        for (let at = 0; at < bytes.length; at += size)
          out.push(...reader.take(bytes.subarray(at, at + size)));
        const text = Buffer.concat(out).toString('latin1');
        t.ok(text.endsWith(`${bad.toString('latin1')}rest`), title);
        t.equal(reader.close(1001, ''), undefined, title);
      }
    }
    const closed = new ServerFrames();
    closed.take(encoded({ opcode: 8, fin: true, payload: Buffer.from([3, 232]) }));
    t.equal(closed.close(1001, ''), undefined, 'one Close is enough');
  },
);
