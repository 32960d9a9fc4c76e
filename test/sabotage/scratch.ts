/**
 * A copy of the tree outside of it, in which one text is replaced, and the tests that are run
 * there.
 */
import { spawn } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { Parser } from 'tap-parser';
import type { Sabotage } from './sabotage.ts';

export const ROOT = resolve(import.meta.dirname, '..', '..');

const COPIED = [
  'lib',
  'cmd',
  'clients',
  'examples',
  'test',
  'proto',
  'deploy',
  'docs',
  'package.json',
  'tsconfig.json',
  '.taprc',
];
/** A test file that takes longer hangs, which is red enough to be told, but no proof. */
const MAX_MS = 240_000;

export interface Scratch extends Disposable {
  readonly folder: string;
}

/**
 * A copy of the tree, or of a copy of it, so that a run does not see what is written meanwhile;
 * sabotaged where one is given.
 */
export function scratch(broken?: Sabotage, from = ROOT): Scratch {
  const folder = mkdtempSync(join(tmpdir(), 'chaperone-sabotage-'));
  for (const name of COPIED) cpSync(join(from, name), join(folder, name), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  if (broken !== undefined) writeFileSync(join(folder, broken.file), brokenText(broken, from));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

/**
 * A text as it may stand in a formatted file: line breaks and indentation do not count, nor do the
 * comma and the parentheses that a broken expression gets.
 */
function formatted(text: string): RegExp {
  const words = text.match(/\w+|[^\s\w]/g) ?? [];
  const pattern = words.map((word, i) => {
    const before = words[i - 1];
    const escaped = word.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
    if (before === undefined) return escaped;
    if (/^\w/.test(before) && /^\w/.test(word)) return `\\s+${escaped}`;
    return `\\s*${/[)\]}]/.test(word) ? ',?\\s*' : ''}${escaped}`;
  });
  return new RegExp(pattern.join(''), 'g');
}

/** The file once the check is out of the way. Throws unless the text stands there exactly once. */
export function brokenText({ check, file, find, replace }: Sabotage, from = ROOT): string {
  const text = readFileSync(join(from, file), 'utf8');
  const places = [...text.matchAll(formatted(find))].length;
  if (places !== 1)
    throw new Error(`${check}: the text stands ${places} times in ${file}: ${find}`);
  return text.replace(formatted(find), () => `${replace}${/\s$/.test(find) ? ' ' : ''}`);
}

/** What came of the tests of one file: titles that were green or red, at any depth. */
export interface Results {
  readonly green: ReadonlySet<string>;
  readonly red: ReadonlySet<string>;
  readonly hung: boolean;
}

/**
 * Runs one test file of the copy; of it one test alone where a title is given, and then no longer
 * than until that is red.
 */
export async function run({ folder }: Scratch, file: string, title?: string): Promise<Results> {
  const results = { green: new Set<string>(), red: new Set<string>(), hung: false };
  const guard = ['--import', join(folder, 'test', 'sabotage', 'only-loopback.ts')];
  const child = spawn(process.execPath, [...guard, file], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'ignore'],
    env: {
      ...process.env,
      TAP_TIMEOUT: '120',
      ...(title !== undefined && { TAP_GREP: filter(file, title) }),
    },
  });
  const parser = new Parser();
  watch(parser, results);
  child.stdout.on('data', (chunk: Buffer) => {
    parser.write(chunk);
    if (title !== undefined && results.red.has(title)) child.kill('SIGKILL');
  });
  const alarm = setTimeout(() => {
    results.hung = true;
    child.kill('SIGKILL');
  }, MAX_MS);
  await new Promise<void>((done) => child.once('close', () => done()));
  clearTimeout(alarm);
  parser.end();
  return results;
}

/** tap runs what fits the line of its depth: the corpus has its attacks below its entry points. */
function filter(file: string, title: string): string {
  const exactly = `^${title.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}$`;
  return file.startsWith('test/attacks/') ? `.\n${exactly}` : exactly;
}

function watch(
  parser: Parser,
  results: { readonly green: Set<string>; readonly red: Set<string> },
): void {
  parser.on('child', (child: Parser) => watch(child, results));
  parser.on('assert', ({ ok, name, skip }: { ok: boolean; name: string; skip?: unknown }) => {
    if (skip === undefined || skip === false) (ok ? results.green : results.red).add(name);
  });
}
