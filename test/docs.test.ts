/** The documentation is held to what the programs do. */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { draw } from '../docs/picture.ts';
import { CODES } from '../lib/base/fault.ts';
import { loadConfig } from '../lib/config/load/load.ts';
import { loadTests } from '../lib/config/load/policy-tests.ts';

const ROOT = resolve(import.meta.dirname, '..');
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
const PAGES = [
  'README.md',
  'ARCHITECTURE.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];

/** Joins an example that shows Destinations alone. */
const SIDECAR = `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: example }
spec: { defaults: { task: optional } }
`;

t.test('every YAML example of the documentation is a configuration that loads', async (t) => {
  let examples = 0;
  for (const page of PAGES) {
    for (const [, yaml = ''] of read(page).matchAll(/```yaml\n([\s\S]*?)```/g)) {
      if (!yaml.includes('apiVersion')) continue;
      examples += 1;
      const file = join(t.testdir(), 'example.yaml');
      writeFileSync(
        file,
        /kind: (Sidecar|PolicyTest)/.test(yaml) ? yaml : `${SIDECAR}---\n${yaml}`,
      );
      const loading: Promise<unknown> = yaml.includes('kind: PolicyTest')
        ? loadTests([file], [])
        : loadConfig([file], { generation: 1 });
      await t.resolves(loading, page);
    }
  }
  t.ok(examples > 0, 'there are examples');
});

t.test('every link between pages leads somewhere', async (t) => {
  for (const page of PAGES) {
    for (const [, target = ''] of read(page).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
      t.ok(existsSync(resolve(ROOT, page, '..', target)), `${page}: ${target}`);
    }
  }
});

/** What GitHub makes of a heading. */
const anchorOf = (heading: string): string =>
  heading
    .toLowerCase()
    .replaceAll(/[^\w\- ]/g, '')
    .replaceAll(' ', '-');

t.test('every link into a page leads to a heading of it', async (t) => {
  let links = 0;
  for (const page of PAGES) {
    for (const [, target = '', anchor = ''] of read(page).matchAll(/\]\(([^):#]*)#([^)]+)\)/g)) {
      links += 1;
      const text =
        target === '' ? read(page) : readFileSync(resolve(ROOT, page, '..', target), 'utf8');
      const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
        anchorOf(heading),
      );
      t.ok(headings.includes(anchor), `${page}: ${target}#${anchor}`);
    }
  }
  t.ok(links > 10, `${links} links`);
});

t.test('every make target and program that the README names is there', async (t) => {
  const makefile = read('Makefile');
  for (const [, target = ''] of read('README.md').matchAll(/make ([a-z-]+)/g))
    t.match(makefile, new RegExp(`^${target}:`, 'm'), target);
  for (const [program = ''] of read('README.md').matchAll(/deploy\/[\w./-]+\w/g))
    t.ok(existsSync(join(ROOT, program)), program);
});

t.test('every exit status of a fault is documented', async (t) => {
  const page = read('docs/operations.md');
  for (const [code, { exit }] of Object.entries(CODES))
    t.match(page, new RegExp(`\\b${exit}\\b`), `${code}: ${exit}`);
});

t.test('every dependency has its line, and no line is of one that is gone', async (t) => {
  const manifest = JSON.parse(read('package.json')) as Readonly<
    Record<string, Readonly<Record<string, string>>>
  >;
  const wanted = ['dependencies', 'devDependencies', 'optionalDependencies'].flatMap((kind) =>
    Object.keys(manifest[kind] ?? {}),
  );
  const page = read('docs/dependencies.md');
  for (const name of wanted) t.ok(page.includes(`\`${name}\``), name);
  for (const [row] of page.matchAll(/^\| `[^|]+/gm)) {
    for (const [, name = ''] of row.matchAll(/`([^`]+)`/g)) t.ok(wanted.includes(name), name);
  }
});

t.test('every test that a page names is there', async (t) => {
  let tests = 0;
  for (const page of PAGES) {
    for (const [file] of read(page).matchAll(/\btest\/[\w./-]+\.test\.ts\b/g)) {
      if (file.includes('NAME')) continue;
      tests += 1;
      t.ok(existsSync(join(ROOT, file)), `${page}: ${file}`);
    }
  }
  t.ok(tests > 300, `${tests} tests`);
});

t.test('every page of docs is in its index', async (t) => {
  const index = read('docs/README.md');
  const pages = readdirSync(join(ROOT, 'docs'), { recursive: true })
    .map(String)
    .filter((name) => /\.(md|json)$/.test(name) && name !== 'README.md');
  t.ok(pages.length > 20, `${pages.length} pages`);
  for (const page of pages) t.ok(index.includes(`](${page})`), page);
});

t.test('the picture is what its text says, and names folders that are there', async (t) => {
  const source = read('docs/picture.txt');
  const picture = draw(source);
  t.equal(picture, read('docs/request.svg'), 'make docs');
  t.ok(picture.length < 40_000, `${picture.length} characters`);
  for (const [path] of source.matchAll(/\blib\/[\w/.]*\w/g))
    t.ok(existsSync(join(ROOT, path)), path);
});
