/**
 * docs/assurance.md: each of its sections stands between two marks and is written by the command
 * that measures it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { format, resolveConfig } from 'prettier';

const PAGE = join(resolve(import.meta.dirname, '..', '..'), 'docs', 'assurance.md');

/**
 * Puts `text`, Markdown, between the marks of the section `name`. Throws when the page has no such
 * section.
 */
export async function writeSection(name: string, text: string): Promise<void> {
  const page = readFileSync(PAGE, 'utf8');
  const [begin, end] = marksOf(name);
  const from = page.indexOf(begin);
  const to = page.indexOf(end);
  if (from < 0 || to < from)
    throw new Error(`docs/assurance.md has no section between ${begin} and ${end}`);
  const section = await format(text, { ...(await resolveConfig(PAGE)), parser: 'markdown' });
  writeFileSync(
    PAGE,
    `${page.slice(0, from + begin.length)}\n\n${section.trim()}\n\n${page.slice(to)}`,
  );
}

export interface Found {
  readonly check: string;
  readonly file: string;
  /** The test that turned red, and its file; or what became of it. */
  readonly by: string;
}

/** The checks as lists, one for each folder of lib and cmd. */
export function sabotageList(found: readonly Found[]): string {
  const folders = Map.groupBy(found, ({ file }) => dirname(file));
  const lists = [...folders]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([folder, checks]) => [
      '',
      `### Checks of ${folder}`,
      '',
      ...checks.map(({ check, file, by }) => `- **${check}** (${basename(file)}). Found by: ${by}`),
    ]);
  return [
    `${found.length} checks, each taken out alone, and the test that found it.`,
    ...lists,
  ].join('\n');
}

function marksOf(name: string): readonly [begin: string, end: string] {
  return [`<!-- begin ${name} -->`, `<!-- end ${name} -->`];
}
