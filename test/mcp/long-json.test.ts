import { hash } from 'node:crypto';
import fc from 'fast-check';
import t from 'tap';
import { turns } from '../../lib/base/turns.ts';
import { digestLong, LONG, parseLong, writeLong } from '../../lib/mcp/long-json.ts';
import { JsonReader, parseJson, parseText } from '../../lib/schema/json-reader.ts';
import { canonicalJson, JsonWriter, writeJson } from '../../lib/schema/json-writer.ts';

const anyJson = fc.json({ depthSize: 'medium' });

t.test('what is read in steps of any size is what is read in one go, errors too', async () => {
  const outcome = (read: () => unknown): string => {
    try {
      return JSON.stringify(read(), (_, value: unknown) =>
        value instanceof Map ? [...value] : value,
      );
    } catch (failure) {
      return String(failure);
    }
  };
  const stepwise = (text: string, size: number): unknown => {
    const reader = new JsonReader(text);
    for (;;) {
      const value = reader.read(size);
      if (value !== undefined) return value;
    }
  };
  fc.assert(
    fc.property(anyJson, fc.integer({ min: 1, max: 20 }), fc.nat(), (text, size, cut) => {
      const whole = outcome(() => parseText(text)) === outcome(() => stepwise(text, size));
      const half = text.slice(0, cut % (text.length + 1));
      return whole && outcome(() => parseText(half)) === outcome(() => stepwise(half, size));
    }),
    { numRuns: 3000 },
  );
});

t.test('what is written in pieces of any size is what is written in one go', async () => {
  fc.assert(
    fc.property(anyJson, fc.integer({ min: 1, max: 20 }), (text, size) => {
      const value = parseJson(Buffer.from(text), { data: true });
      const pieces = (form: 'as it is' | 'canonical'): string => {
        const writer = new JsonWriter(value, form);
        let all = '';
        for (let piece = writer.write(size); piece !== ''; piece = writer.write(size)) all += piece;
        return all;
      };
      return (
        pieces('as it is') === writeJson(value) && pieces('canonical') === canonicalJson(value)
      );
    }),
    { numRuns: 2000 },
  );
});

t.test(
  'a long message is read, written and digested as a short one, and others have turns in between',
  async (t) => {
    const pacing = turns();
    const text = JSON.stringify({
      b: Array.from({ length: 50_000 }, (_, i) => [i, `é${i}`]),
      a: { z: 1, y: [] },
    });
    t.ok(text.length > 8 * LONG);
    let others = 0;
    let done = false;
    const other = (): void => {
      others += 1;
      if (!done) setImmediate(other);
    };
    other();
    const value = await parseLong(Buffer.from(text), pacing);
    t.ok(others > 8, `${others} turns of others while it was read`);
    t.equal((await writeLong(value, pacing)).toString(), text);
    t.equal(await digestLong(value, pacing), hash('sha256', canonicalJson(value)));
    done = true;
    await t.rejects(parseLong(Buffer.from(`${text}x`), pacing), { code: 'bad-json' });
    await t.rejects(parseLong(Buffer.from([0xff, ...Buffer.from(text)]), pacing), {
      code: 'bad-json',
    });
  },
);
