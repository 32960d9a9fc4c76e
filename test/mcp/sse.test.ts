import fc from 'fast-check';
import t from 'tap';
import { EventReader, type ServerEvent, writeEvent } from '../../lib/mcp/sse.ts';

function readAll(pieces: readonly (Buffer | string)[], most = 10_000): readonly ServerEvent[] {
  const reader = new EventReader(most);
  return pieces.flatMap((piece) => [...reader.read(Buffer.from(piece))]);
}

const short = (events: readonly ServerEvent[]): unknown =>
  events.map(({ type, id, data, retry, comment }) => [type, id, data, retry, comment]);

t.test('fields, as the standard reads them (M12)', async (t) => {
  const text = ': c\ndata\ndata:\ndata:  two\nevent:x\nid\nretry: 10\nunknown: y\nretry: -1\n\n';
  t.same(short(readAll([text])), [['x', '', '\n\n two', '10', false]]);
  t.same(short(readAll([':only\n\n'])), [['message', undefined, undefined, undefined, true]]);
  t.same(short(readAll(['\n\n\r\n\r'])), [], 'empty lines say nothing');
  t.same(short(readAll(['data: cut off\n'])), [], 'an event without its end is dropped');
  t.same(
    short(readAll(['id: a\0b\ndata: x\n\n'])),
    [['message', undefined, 'x', undefined, false]],
    'an id with NUL is ignored',
  );
  t.same(
    short(readAll(['\ufeffdata: x\n\n\ufeffdata: y\n\n'])),
    [['message', undefined, 'x', undefined, false]],
    'one byte order mark, at the start',
  );
});

t.test('the same events whatever the pieces and the line ends', async () => {
  const line = fc.oneof(
    fc.constantFrom('', ':', 'data', 'id: 1', 'event: message', 'retry: 5', 'data: {"é":"😀"}'),
    fc
      .string({ unit: 'grapheme', maxLength: 20 })
      .map((text) => `data: ${text.replace(/[\r\n]/g, '')}`),
  );
  fc.assert(
    fc.property(
      fc.array(line),
      fc.constantFrom('\n', '\r', '\r\n'),
      fc.array(fc.nat(40)),
      (lines, end, cuts) => {
        const bytes = Buffer.from(`${lines.join(end)}${end}`);
        const pieces: Buffer[] = [];
        let at = 0;
        for (const cut of cuts)
          pieces.push(bytes.subarray(at, (at = Math.min(bytes.length, at + cut))));
        pieces.push(bytes.subarray(at));
        return (
          JSON.stringify(readAll(pieces)) === JSON.stringify(readAll([`${lines.join('\n')}\n`]))
        );
      },
    ),
  );
});

t.test('what is written reads as what was read', async () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          id: fc.constantFrom(undefined, '', 'a b'),
          data: fc.constantFrom(undefined, '', '{"a":1}'),
          retry: fc.constantFrom(undefined, '7'),
        }),
      ),
      (list) => {
        const events = list.filter(
          ({ id, data, retry }) => id !== undefined || data !== undefined || retry !== undefined,
        );
        const text = events
          .map((event) => writeEvent({ ...event, type: 'message', comment: false }))
          .join('');
        const again = readAll([text]).map(({ id, data, retry }) => ({ id, data, retry }));
        return JSON.stringify(again) === JSON.stringify(events);
      },
    ),
  );
});

t.test('bounds: one event, its comments and its ignored fields (M12)', async (t) => {
  const over = { code: 'upstream-malformed', message: /more than 100 bytes/ };
  t.throws(() => readAll([`data: ${'x'.repeat(200)}`], 100), over);
  t.throws(
    () =>
      readAll(
        Array.from({ length: 60 }, () => ':x\n'),
        100,
      ),
    over,
  );
  t.throws(
    () =>
      readAll(
        Array.from({ length: 60 }, () => 'y: 1\n'),
        100,
      ),
    over,
  );
  t.equal(
    readAll(
      Array.from({ length: 60 }, () => ':x\n\n'),
      100,
    ).length,
    60,
    'each event has its own',
  );
  t.throws(() => readAll([`id: ${'x'.repeat(2000)}\n`]), /event id of more than/);
  t.throws(() => readAll([Buffer.from([0x64, 0xff, 0x0a])]), /not UTF-8/);
});
