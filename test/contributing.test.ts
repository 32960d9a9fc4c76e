/** CONTRIBUTING.md is held to the tree: its lists name what is there, and what they must. */
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';

const ROOT = join(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const PAGE = read('CONTRIBUTING.md');

/** Heading to the text below it. */
const SECTIONS = new Map(
  PAGE.split(/^###? /m).map((section) => {
    const [heading = '', ...text] = section.split('\n');
    return [heading, text.join('\n')] as const;
  }),
);

const PATH = /`((?:lib|cmd|test|docs|bench|deploy|clients)\/[\w./-]+)`/g;

function named(heading: string): readonly string[] {
  return [...(SECTIONS.get(heading) ?? '').matchAll(PATH)].map(([, path = '']) => path);
}

/** Files of a folder that match, by path from the root. */
function files(folder: string, form: RegExp): readonly string[] {
  return readdirSync(join(ROOT, folder), { recursive: true })
    .map((name) => join(folder, String(name)))
    .filter((file) => form.test(file));
}

t.test('every path is there; of a new file its folder is', async (t) => {
  const paths = [...PAGE.matchAll(PATH)].map(([, path = '']) => path);
  t.ok(paths.length > 80, `${paths.length} paths`);
  for (const path of paths) {
    const there = path.includes('NAME') ? dirname(path) : path;
    t.ok(existsSync(join(ROOT, there)), path);
  }
});

t.test('every make target is there', async (t) => {
  const makefile = read('Makefile');
  for (const [, target = ''] of PAGE.matchAll(/\bmake ([a-z-]+)/g))
    t.match(makefile, new RegExp(`^${target}:`, 'm'), target);
});

t.test('the lists name what they must', async (t) => {
  const wanted: Readonly<Record<string, readonly string[]>> = {
    'A limit': ['docs/limits.md', ...files('lib', /\/limits\.ts$/)],
    'A command': files('cmd', /-commands\.ts$/),
    'A credential kind': files('lib/credentials', /\/(kinds|provider)\.ts$/),
    'An audit sink': files('lib/audit/sinks', /\/(index|sink)\.ts$/),
    'A record field': files('lib/audit', /\/record\.ts$/),
    'A protocol': files('lib', /\/(protocols\/(index|row)|protocols)\.ts$/),
    'An entry point': files('lib', /\.ts$/).filter((file) =>
      /\btype EntryPoint =/.test(read(file)),
    ),
    'A condition variable': files('lib/policy/conditions', /\/variables\.ts$/),
  };
  for (const [heading, paths] of Object.entries(wanted)) {
    t.ok(paths.length > 0, heading);
    for (const path of paths) t.ok(named(heading).includes(path), `${heading}: ${path}`);
  }
});

t.test('each kind of change has its list', async (t) => {
  for (const kind of [
    'A protocol',
    'A credential kind',
    'An audit sink',
    'A limit',
    'A record field',
    'An entry point',
    'A condition variable',
    'A command',
  ])
    t.ok(named(kind).length > 1, kind);
});
