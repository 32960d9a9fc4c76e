/** A slice of what `make fuzz` does with every reader of foreign bytes, with a fixed seed. */
import t from 'tap';

import { seeded } from './http1/generator.ts';
import { readOne, READERS } from './readers.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_260_101);
const CASES = Number(process.env['FUZZ_CASES'] ?? 4000);

t.test('every reader gives a value or a Fault for what it is handed, and soon', async (t) => {
  for (const reader of READERS) {
    const random = seeded(SEED);
    for (const input of reader.from) await reader.read(input);
    const outcomes = { taken: 0, refused: 0 };
    for (let left = CASES / (reader.slow ?? 1); left > 0; left--)
      await readOne(reader, random, outcomes);
    t.ok(
      outcomes.refused > 0 !== (reader.total ?? false),
      `${reader.name}: ${JSON.stringify(outcomes)}`,
    );
  }
});
