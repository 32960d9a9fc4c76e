/**
 * Rows against entry points: how many attempts there are for each, and what is owed and missing.
 * Run as a program it writes the section of docs/assurance.md.
 */
import { MATRIX } from '../../lib/policy/protocols/access-matrix.ts';
import { writeSection } from '../sabotage/page.ts';
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

const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;

/** Attempts; `w` where they are waived, nothing where the row cannot happen. */
function cell(row: Row, entry: Entry): string {
  const attempts = attemptsOf(row, entry);
  if (attempts > 0) return String(attempts);
  return owed(row, entry) && waiverOf(row, entry) !== undefined ? 'w' : '';
}

const LETTERS = 'abcdefghijklmnopqrstuvwxyz';

/**
 * As Markdown: what each row is, its attempts at each entry point (which have letters, so that the
 * table is narrow), and what is waived or not built.
 */
export function coverageTable(): string {
  const letters = ENTRIES.map((_, i) => LETTERS[i] ?? '');
  const total = ENTRIES.map((entry) =>
    String(ROWS.reduce((sum, row) => sum + attemptsOf(row, entry), 0)),
  );
  const waivers = [...WAIVERS, ...NOT_BUILT].map(
    ({ row, entry, why }) => `- ${row}${entry === undefined ? '' : ` at ${entry}`}: ${why}.`,
  );
  return [
    '### What is attacked',
    '',
    ...ROWS.map(({ id, what }) => `- **${id}** ${what}`),
    '',
    '### Attempts at each entry point',
    '',
    'Entry points:',
    '',
    ...ENTRIES.map(({ name }, i) => `- **${LETTERS[i]}**: ${name}`),
    '',
    '`w`: waived, with its reason below; nothing where the row cannot happen.',
    '',
    line(['', ...letters]),
    line(['---', ...letters.map(() => '---:')]),
    ...ROWS.map((row) => line([row.id, ...ENTRIES.map((entry) => cell(row, entry))])),
    line(['all', ...total]),
    '',
    '### Waived, or not built',
    '',
    ...waivers,
  ].join('\n');
}

if (import.meta.main) await writeSection('attacks', coverageTable());
