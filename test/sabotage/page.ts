/**
 * docs/assurance.md: each of its sections stands between two marks and is written by the command
 * that measures it.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
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

/** What the section holds now. */
export function readSection(name: string): string {
  const page = readFileSync(PAGE, 'utf8');
  const [begin, end] = marksOf(name);
  return page.slice(page.indexOf(begin) + begin.length, page.indexOf(end)).trim();
}

function marksOf(name: string): readonly [begin: string, end: string] {
  return [`<!-- begin ${name} -->`, `<!-- end ${name} -->`];
}
