/**
 * Rows against entry points: how many attempts there are for each, and what is owed and missing. As
 * a program, prints the table.
 */
import { MATRIX } from '../../lib/policy/model/access-matrix.ts';
import { CORPUS } from './corpus.ts';
import { ENTRIES } from './entries/all.ts';
import type { Entry } from './entries/entry.ts';
import { appliesTo, owed, ROWS, type Row } from './rows.ts';
import { NOT_BUILT, WAIVERS } from './waivers.ts';

/** Attempts of a row at an entry point. */
export function attemptsOf(row: Row, entry: Entry): number {
  return CORPUS.filter((attack) => attack.row === row.id && appliesTo(attack, entry)).reduce(
    (sum, { attempts }) => sum + attempts.length,
    0,
  );
}

export function waiverOf(row: Row, entry: Entry): string | undefined {
  return WAIVERS.find(
    (one) => one.row === row.id && (one.entry === undefined || one.entry === entry.name),
  )?.why;
}

/** What is owed at an entry point, has no case and no waiver. */
export function missing(): readonly string[] {
  return ROWS.flatMap((row) =>
    ENTRIES.filter(
      (entry) =>
        owed(row, entry) && attemptsOf(row, entry) === 0 && waiverOf(row, entry) === undefined,
    ).map(({ name }) => `${row.id} at ${name}`),
  );
}

/** Outcomes of the access matrix that no entry point of the corpus stands for. */
export function unentered(): readonly string[] {
  const served = MATRIX.filter(({ outcome }) => outcome !== 'refused');
  return served
    .filter(
      (row) => !ENTRIES.some(({ door, outcome }) => door === row.entry && outcome === row.outcome),
    )
    .map(({ entry, outcome }) => `${entry}: ${outcome}`);
}

/**
 * The table as Markdown: attempts by row and entry point; `waived`, or nothing where the row cannot
 * happen.
 */
export function coverageTable(): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
  const rows = ROWS.map((row) =>
    line([
      row.id,
      row.what,
      ...ENTRIES.map((entry) => {
        const attempts = attemptsOf(row, entry);
        if (attempts > 0) return String(attempts);
        return owed(row, entry) && waiverOf(row, entry) !== undefined ? 'waived' : '';
      }),
    ]),
  );
  const total = ENTRIES.map((entry) =>
    String(ROWS.reduce((sum, row) => sum + attemptsOf(row, entry), 0)),
  );
  const waivers = [...WAIVERS, ...NOT_BUILT].map(
    ({ row, entry, why }) => `- ${row}${entry === undefined ? '' : ` at ${entry}`}: ${why}.`,
  );
  return [
    line(['row', 'what is attacked', ...ENTRIES.map(({ name }) => name)]),
    line(['---', '---', ...ENTRIES.map(() => '---:')]),
    ...rows,
    line(['', 'attempts', ...total]),
    '',
    'Waived, or not built:',
    '',
    ...waivers,
  ].join('\n');
}

if (import.meta.main) console.log(coverageTable());
