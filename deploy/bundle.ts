/**
 * `npm run bundle [-- folder]`: what a host without this checkout needs to run Chaperone, by
 * default in `dist`: the programs and the chunks they share, with every package in them; the
 * launcher `bin/chaperone`; the client for agents, `chaperone/client`, and its types; a manifest
 * whose only dependency is the Node to run on, optional, so that the tarball of `npm pack ./dist`
 * works on every host Node and installs offline where that is 26; the licences. The image holds
 * these files and Node, no more. Node strips no types below node_modules, which is why sources are
 * not what is packed.
 */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { build, type Metafile } from 'esbuild';

const ROOT = resolve(import.meta.dirname, '..');
const CLIENT = 'clients/typescript/client.ts';
const LICENCE = /^(?:licen[cs]e|notice|copying)(?:[.-].*)?$/i;
/** Packages in CommonJS ask for Node's modules with `require`, which a module does not have. */
const REQUIRE =
  `import { createRequire as _createRequire } from 'node:module'; ` +
  'const require = _createRequire(import.meta.url);';

type Manifest = Readonly<Record<string, unknown>>;

/**
 * Writes the bundle into a folder, over what an earlier one left; returns the names of the packages
 * in it. Throws when a package has no licence to pass on.
 */
export async function bundle(folder: string): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true });
  // Named by what is in them: those of an earlier bundle would stay.
  await rm(join(folder, 'chunks'), { recursive: true, force: true });
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: { chaperone: 'cmd/chaperone.ts', agent: 'cmd/demo/agent.ts' },
    outdir: resolve(folder),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    splitting: true,
    chunkNames: 'chunks/[name]-[hash]',
    target: 'node26',
    banner: { js: REQUIRE },
    define: { CHAPERONE_COMMIT: JSON.stringify(await commit()) },
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  // It runs in the programs of others, on the Node that they have, and its lines stand in their
  // stack traces.
  await build({
    absWorkingDir: ROOT,
    entryPoints: { client: CLIENT },
    outdir: resolve(folder),
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    legalComments: 'none',
    logLevel: 'warning',
  });
  await declare(join(folder, 'types'));
  const packages = packagesOf(metafile);
  await writeFile(join(folder, 'THIRD-PARTY-LICENSES.txt'), await licences(packages));
  await writeFile(
    join(folder, 'package.json'),
    `${JSON.stringify(await manifest(), undefined, 2)}\n`,
  );
  await mkdir(join(folder, 'bin'), { recursive: true });
  for (const name of ['LICENSE', 'README.md', 'bin/chaperone', 'bin/package.json'])
    await copyFile(join(ROOT, name), join(folder, name));
  return packages.map(nameOf);
}

/**
 * For `chaperone version`: $CHAPERONE_COMMIT where there is no repository, as in an image's build;
 * '' where neither is.
 */
async function commit(): Promise<string> {
  const given = process.env['CHAPERONE_COMMIT'] ?? '';
  if (given !== '') return given;
  const asked = promisify(execFile)('git', ['-C', ROOT, 'rev-parse', '--short=12', 'HEAD']);
  return asked.then(
    ({ stdout }) => stdout.trim(),
    () => '',
  );
}

/** What programs in TypeScript need to know of the client. */
async function declare(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  const project = ['--project', join(ROOT, 'clients/typescript'), '--outDir', resolve(folder)];
  await promisify(execFile)(process.execPath, [
    join(ROOT, 'node_modules/typescript/lib/tsc.js'),
    ...project,
  ]);
}

/** Folders of packages, relative to the root; a nested copy counts for itself. */
function packagesOf({ inputs }: Metafile): readonly string[] {
  const folders = Object.keys(inputs).map(
    (file) => /^(?:.*\/)?node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file)?.[0],
  );
  return [...new Set(folders.filter((folder) => folder !== undefined))].toSorted();
}

const nameOf = (folder: string): string =>
  folder.slice(folder.lastIndexOf('node_modules/') + 'node_modules/'.length);

async function licences(packages: readonly string[]): Promise<string> {
  const texts = packages.map(async (folder) => {
    const { version, license } = await readManifest(join(ROOT, folder));
    const files = (await readdir(join(ROOT, folder))).filter((name) => LICENCE.test(name));
    if (files.length === 0 && typeof license !== 'string')
      throw new Error(`${folder} says nothing about its licence`);
    const parts = await Promise.all(
      files.map((name) => readFile(join(ROOT, folder, name), 'utf8')),
    );
    return [
      `${nameOf(folder)} ${String(version)} (${String(license)})`,
      ...parts.map((text) => text.trim()),
    ].join('\n\n');
  });
  return `${(await Promise.all(texts)).join(`\n\n${'-'.repeat(80)}\n\n`)}\n`;
}

async function manifest(): Promise<Manifest> {
  const {
    name,
    version,
    description,
    license,
    private: unpublished,
    type,
    optionalDependencies,
  } = await readManifest(ROOT);
  // Of the launcher, which finds the Node that runs the program, and of the client.
  const engines = { node: '>=18' };
  const bin = { chaperone: 'bin/chaperone' };
  const exports = {
    './client': { types: './types/client.d.ts', default: './client.mjs' },
    './package.json': './package.json',
  };
  return {
    name,
    version,
    description,
    license,
    private: unpublished,
    type,
    engines,
    bin,
    exports,
    optionalDependencies,
  };
}

async function readManifest(folder: string): Promise<Manifest> {
  return JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as Manifest;
}

if (import.meta.main) await bundle(process.argv[2] ?? join(ROOT, 'dist'));
