/**
 * Lines are at most 100 characters, so that two windows stand side by side. What cannot be broken
 * has 120: a line with a URL, a template, a string or a pattern alone, titles and texts of tests,
 * commands in shell and in fences. Tables of Markdown may be wider.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { extname, join, relative } from 'node:path';
import t from 'tap';

const ROOT = join(import.meta.dirname, '..');
const SKIPPED = /^(node_modules|dist|gen|\..*|.*lock\.json|.*\.(json|svg|sum|pem|txt|proto))$/;

/** Files that hold a line which nothing can shorten, each with what it is. */
const EXEMPT = new Map([
  ['cmd/chaperone.ts', 'its first line is read by the kernel'],
  ['lib/http2/huffman.ts', 'the code of RFC 7541, appendix B'],
]);

/** Formats in which to break a line is to change what it says. */
const VERBATIM = new Set(['', '.sh', '.yaml', '.conf', '.go', '.java', '.mod', '.toml']);
const COMMENT = /^\s*(\/\/|\/?\*|#(?!!))/;
/** A string, a pattern or a word alone. */
const ALONE = /^\s*(['"`]|\/[^/*]|\S+$)/;

function* filesOf(folder: string): Generator<string> {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (SKIPPED.test(entry.name)) continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) yield* filesOf(path);
    else if (entry.isFile()) yield relative(ROOT, path);
  }
}

function mostOf(line: string, file: string, fenced: boolean): number {
  const type = extname(file);
  if (type === '.md') {
    if (line.startsWith('|') || /^\s*\S+$/.test(line)) return Infinity;
    return fenced ? 120 : 100;
  }
  if (line.includes('://') || ALONE.test(line)) return 120;
  if (COMMENT.test(line)) return 100;
  if (line.includes('`')) return 120;
  return VERBATIM.has(type) || file.startsWith('test/') ? 120 : 100;
}

t.test('no line is wider than what two windows hold', async (t) => {
  const files = [...filesOf(ROOT)];
  t.ok(files.length > 700, `${files.length} files`);
  for (const file of files) {
    let fenced = false;
    for (const [i, line] of readFileSync(join(ROOT, file), 'utf8').split('\n').entries()) {
      if (file.endsWith('.md') && line.startsWith('```')) fenced = !fenced;
      const wide = Array.from(line).length;
      if (wide > 100 && wide > mostOf(line, file, fenced) && !EXEMPT.has(file))
        t.fail(`${file}:${i + 1} is ${wide} wide`);
    }
  }
});

t.test('what is exempt is there and needs it', async (t) => {
  for (const [file] of EXEMPT)
    t.ok(
      readFileSync(join(ROOT, file), 'utf8')
        .split('\n')
        .some((line) => line.length > 120),
      file,
    );
});
