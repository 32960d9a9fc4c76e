import t from 'tap';
import { CORPUS } from './corpus.ts';
import { missing, unentered } from './coverage.ts';
import { ENTRIES } from './entries/all.ts';
import { appliesTo, owed, rowOf, ROWS } from './rows.ts';
import { NOT_BUILT, NOT_ENTERED, WAIVERS } from './waivers.ts';

t.test(
  'every row is attacked at every entry point that has what it bends, or is waived with a reason',
  async (t) => {
    t.same(missing(), []);
  },
);

t.test('every outcome of the access matrix has an entry point in the corpus', async (t) => {
  t.same(unentered(), NOT_ENTERED);
});

t.test('no attack is for nobody, and every attack is of a row', async (t) => {
  for (const attack of CORPUS) {
    t.ok(
      ENTRIES.some((entry) => appliesTo(attack, entry)),
      `${attack.row} ${attack.title}`,
    );
    t.ok(attack.attempts.length > 0, attack.title);
    t.equal(rowOf(attack.row).id, attack.row);
  }
});

t.test('titles tell attacks apart', async (t) => {
  const titles = CORPUS.map(({ row, title }) => `${row} ${title}`);
  t.same(
    titles.filter((title, i) => titles.indexOf(title) !== i),
    [],
  );
});

t.test(
  'a waiver is for a row that is owed and not attacked; what is not built has no entry point yet',
  async (t) => {
    for (const { row, entry } of WAIVERS) {
      const places = ENTRIES.filter(
        (one) => (entry === undefined || one.name === entry) && owed(rowOf(row), one),
      );
      t.ok(places.length > 0, `${row} is owed somewhere`);
      for (const place of places)
        t.notOk(
          CORPUS.some((attack) => attack.row === row && appliesTo(attack, place)),
          `${row} at ${place.name}`,
        );
    }
    const unbuilt = ROWS.filter((row) => !ENTRIES.some((entry) => owed(row, entry))).map(
      ({ id }) => id,
    );
    t.same(
      unbuilt,
      NOT_BUILT.map(({ row }) => row),
    );
  },
);
