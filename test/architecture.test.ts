/**
 * The shape of the tree, as programs: folders import only to their left, who may import what from
 * outside, no forbidden form anywhere.
 */
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import t from 'tap';

const ROOT = resolve(import.meta.dirname, '..');

const PAGE = readFileSync(join(ROOT, 'ARCHITECTURE.md'), 'utf8');

/**
 * Left may not import right: what ARCHITECTURE.md says. A folder with rooms of its own stands there
 * as its rooms.
 */
const ORDER: readonly string[] = (/^`base` → [^#]*?(?=\n\n)/m.exec(PAGE)?.[0] ?? '')
  .split('→')
  .map((name) => name.replaceAll(/[`\s]/g, ''));

/** Packages and built-in modules that only some folders may import. */
const OUTSIDE: readonly { readonly module: RegExp; readonly folders: readonly string[] }[] = [
  { module: /^@grpc\//, folders: ['identity', 'dev'] },
  { module: /^@bufbuild\//, folders: ['identity', 'dev'] },
  { module: /^@peculiar\/x509$/, folders: ['interception', 'tls'] },
  { module: /^yaml$/, folders: ['schema', 'config/reference'] },
  { module: /^jose$/, folders: ['spiffe', 'identity', 'dev'] },
  { module: /^pino$/, folders: ['telemetry'] },
  { module: /^prom-client$/, folders: ['telemetry'] },
  { module: /^commander$/, folders: ['cmd'] },
  { module: /^node:(http|https)$/, folders: ['api', 'dev', 'cmd'] },
  { module: /^node:http2$/, folders: ['http2', 'dev'] },
  { module: /^node:tls$/, folders: ['identity', 'tls', 'interception', 'dev'] },
  { module: /^node:dns/, folders: ['upstream'] },
  { module: /^node:child_process$/, folders: ['cmd'] },
];

/** These compute and never do I/O; node:crypto only reads certificates and hashes for them. */
const PURE = /^(spiffe|net|policy\/\w+|tasks|mcp)$/;
const PURE_MAY =
  /^(node:crypto|node:net|node:buffer|\.|@peculiar\/x509|reflect-metadata|jose|@marcbachmann\/cel-js|re2js|ipaddr\.js)/;

/** `policy/model` of `lib/policy/model/rule.ts`, `base` of `lib/base/fault.ts`. */
function roomOf([top = '', folder = '', room = '']: readonly string[]): string {
  if (top === 'cmd') return 'cmd';
  return ORDER.includes(`${folder}/${room}`) ? `${folder}/${room}` : folder;
}

interface Source {
  readonly file: string;
  readonly folder: string;
  readonly text: string;
  readonly imports: readonly string[];
}

function withoutComments(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '');
}

function sources(): readonly Source[] {
  const list: Source[] = [];
  for (const top of ['lib', 'cmd']) {
    for (const entry of readdirSync(join(ROOT, top), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !entry.name.endsWith('.ts')) continue;
      const path = join(entry.parentPath, entry.name);
      const file = relative(ROOT, path);
      const parts = file.split(sep);
      if (parts.includes('gen')) continue;
      const text = withoutComments(readFileSync(path, 'utf8'));
      const imports = [...text.matchAll(/(?:from|import)\s*\(?\s*'([^']+)'/g)].map(
        (found) => found[1] ?? '',
      );
      list.push({ file, folder: roomOf(parts), text, imports });
    }
  }
  return list;
}

const ALL = sources();

t.test('every folder of lib has a place in the import order', async (t) => {
  t.ok(ALL.length > 50, 'the tree is read');
  for (const room of new Set(ALL.map(({ folder }) => folder))) t.ok(ORDER.includes(room), room);
  const rooms = new Set(ALL.map(({ folder }) => folder));
  for (const room of ORDER) t.ok(rooms.has(room), `${room} is there`);
});

/** Files of ours that a file imports, for values and for types alike. */
function importsOf({ file, imports }: Source): readonly string[] {
  return imports
    .filter((name) => name.startsWith('.'))
    .map((name) => relative(ROOT, resolve(ROOT, dirname(file), name)));
}

t.test('a folder imports only from itself and from folders to its left', async (t) => {
  for (const source of ALL) {
    for (const wanted of importsOf(source)) {
      const place = ORDER.indexOf(roomOf(wanted.split(sep)));
      t.ok(place <= ORDER.indexOf(source.folder), `${source.file} imports ${wanted}`);
    }
  }
});

t.test('no file imports itself by way of others, types included', async (t) => {
  const imports = new Map(ALL.map((source) => [source.file, importsOf(source)]));
  const done = new Set<string>();
  const visit = (file: string, above: readonly string[]): void => {
    if (above.includes(file)) t.fail([...above.slice(above.indexOf(file)), file].join(' → '));
    if (done.has(file) || above.includes(file)) return;
    for (const next of imports.get(file) ?? []) visit(next, [...above, file]);
    done.add(file);
  };
  for (const file of imports.keys()) visit(file, []);
  t.ok(done.size >= imports.size);
});

t.test('only the folder that owns a format or a kind of I/O imports its module', async (t) => {
  for (const source of ALL) {
    for (const name of source.imports.filter((wanted) => !wanted.startsWith('.'))) {
      for (const { module, folders } of OUTSIDE) {
        if (module.test(name))
          t.ok(folders.includes(source.folder), `${source.file} imports ${name}`);
      }
    }
  }
});

t.test('what only computes does no I/O', async (t) => {
  for (const source of ALL.filter(({ folder }) => PURE.test(folder))) {
    for (const name of source.imports) t.match(name, PURE_MAY, `${source.file} imports ${name}`);
    t.notMatch(
      source.text,
      /Date\.now|setTimeout|setInterval|performance\./,
      `${source.file} has no clock of its own`,
    );
  }
});

t.test(
  'decisions are made in one place and asked for by the proxy and by what explains and ' +
    'tests policy alone',
  async (t) => {
    const callers = ALL.filter(({ text }) => /\bdecide\(/.test(text)).map(({ file }) => file);
    for (const file of callers)
      t.match(
        file,
        /^(lib\/policy\/(decision\/decide|review\/explain)|lib\/(exchange|listen)\/|cmd\/commands\/(explain|test))/,
        file,
      );
  },
);

t.test('what issues certificates is loaded when one is issued, not with the program', async (t) => {
  const loads = /^import (?!type)[^;]*'[^']*interception\/(issue|authority)\.ts'/m;
  const eager = ALL.filter(
    ({ folder, text }) => folder !== 'dev' && folder !== 'cmd' && loads.test(text),
  );
  t.same(
    eager.map(({ file }) => file),
    [],
  );
});

t.test('nothing uses a forbidden form', async (t) => {
  const forbidden: readonly (readonly [RegExp, string])[] = [
    [/\.pipe\(/, 'stream.pipe loses errors'],
    [/\.emit\(/, 'we do not emit'],
    [/extends EventEmitter/, 'we do not emit'],
    [/export default/, 'names are exported'],
    [/export \* from/, 'no barrels'],
    [/@ts-(ignore|expect-error|nocheck)/, 'types are not silenced'],
    [/AbortSignal\.any\(/, 'it keeps memory over long-lived signals; see lib/base/signal.ts'],
    [/rejectUnauthorized: false(?![\s\S]{0,400}verif)/, 'a certificate that nobody verifies'],
  ];
  for (const { file, text } of ALL) {
    for (const [form, why] of forbidden) t.notMatch(text, form, `${file}: ${why}`);
  }
});

t.test('timers are made in lib/base/clock.ts alone', async (t) => {
  for (const { file, text } of ALL.filter(
    (source) => source.file !== join('lib', 'base', 'clock.ts'),
  )) {
    t.notMatch(text, /\bset(Timeout|Interval)\((?!0|\w+\.)/, file);
  }
});

t.test('only cmd prints, and only cmd reads the command line or exits', async (t) => {
  for (const { file, text } of ALL.filter(({ folder }) => folder !== 'cmd')) {
    t.notMatch(text, /console\.|process\.exit|process\.argv/, file);
  }
});
