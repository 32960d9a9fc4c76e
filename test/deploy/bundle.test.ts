/**
 * What `npm run bundle` writes runs where nothing else is: a temporary folder above which there is
 * no node_modules, as in the image. The identity comes from the embedded Workload API of the same
 * bundle.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import t from 'tap';
import { bundle } from '../../deploy/bundle.ts';
import { type TestProgram, eventually, startProgram } from '../support/program.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const folder = mkdtempSync(join(tmpdir(), 'chaperone-image-'));
t.teardown(() => rmSync(folder, { recursive: true }));
const packages = await bundle(join(folder, 'app'));
const program = join(folder, 'app', 'chaperone.mjs');
/**
 * Node in a folder of its own with the environment of an image: nothing of this checkout is in
 * reach.
 */
const startIn = (cwd: string, args: readonly string[]): TestProgram =>
  startProgram([process.execPath, ...args], { cwd, env: { NODE_ENV: 'production' } });
const chaperone = (...args: readonly string[]): TestProgram => startIn(folder, [program, ...args]);
const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as Readonly<
  Record<string, unknown>
>;

const DOCUMENTS = `
apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: image }
spec:
  identity: { workloadApi: 'unix://${folder}/dev/workload.sock' }
  forward: { address: 127.0.0.1:0 }
  health: { address: 127.0.0.1:0 }
  audit: { sinks: [{ stdout: true }] }
  defaults: { task: optional }
`;

t.test('the bundle holds the programs, the licences and a manifest, no more', async (t) => {
  t.strictSame(readdirSync(join(folder, 'app')).toSorted(), [
    'LICENSE',
    'README.md',
    'THIRD-PARTY-LICENSES.txt',
    'agent.mjs',
    'bin',
    'chaperone.mjs',
    'chunks',
    'client.mjs',
    'package.json',
    'types',
  ]);
  const packed = JSON.parse(readFileSync(join(folder, 'app', 'package.json'), 'utf8')) as Readonly<
    Record<string, unknown>
  >;
  t.equal(packed['dependencies'], undefined, 'nothing is left to install');
  t.same(
    packed['optionalDependencies'],
    manifest['optionalDependencies'],
    'but the Node that it is tested on',
  );
  t.equal(packed['version'], manifest['version']);
});

t.test('every package in the bundle passes its licence on', async (t) => {
  const text = readFileSync(join(folder, 'app', 'THIRD-PARTY-LICENSES.txt'), 'utf8');
  for (const name of [...Object.keys(manifest['dependencies'] as object), 'protobufjs'])
    t.ok(packages.includes(name), `${name} is in the bundle`);
  for (const name of packages)
    t.ok(text.includes(`\n${name} `) || text.startsWith(`${name} `), name);
  for (const tool of ['esbuild', 'typescript', 'tap'])
    t.notOk(packages.includes(tool), `${tool} is not`);
});

t.test('chaperone --version says what package.json says', async (t) => {
  const { status, out, err } = await chaperone('--version').ended;
  t.same({ status, out: out.trim(), err }, { status: 0, out: manifest['version'], err: '' });
});

t.test('chaperone version says which commit was bundled', async (t) => {
  const { out } = await chaperone('version', '--json').ended;
  const asked = spawnSync('git', ['-C', ROOT, 'rev-parse', '--short=12', 'HEAD'], {
    encoding: 'utf8',
  });
  const commit = asked.status === 0 ? asked.stdout.trim() : undefined;
  t.match(JSON.parse(out), {
    version: manifest['version'],
    node: process.version,
    ...(commit && { commit }),
  });
});

t.test('chaperone check passes a good configuration and refuses a bad one', async (t) => {
  writeFileSync(join(folder, 'good.yaml'), DOCUMENTS);
  writeFileSync(join(folder, 'bad.yaml'), DOCUMENTS.replace('audit:', 'audits:'));
  t.equal((await chaperone('check', '-c', 'good.yaml').ended).status, 0);
  const bad = await chaperone('check', '-c', 'bad.yaml').ended;
  t.not(bad.status, 0);
  t.match(bad.err, /bad\.yaml:\d+:\d+ .*audits/);
});

t.test(
  'chaperone run gets its identity, turns ready, refuses what no document lists, and ends at SIGTERM',
  async (t) => {
    await using dev = chaperone(
      'dev',
      '--socket',
      join(folder, 'dev', 'workload.sock'),
      '--trust-domain',
      'image.test',
    );
    writeFileSync(join(folder, 'run.yaml'), DOCUMENTS);
    await using sidecar = chaperone('run', '-c', 'run.yaml');
    const health = await eventually(
      'addresses',
      () => /health 127\.0\.0\.1:(\d+)/.exec(sidecar.text())?.[1],
    );
    const forward = Number(/forward 127\.0\.0\.1:(\d+)/.exec(sidecar.text())?.[1]);
    await eventually(
      'ready',
      async () => (await fetch(`http://127.0.0.1:${health}/readyz`)).status === 200,
    );
    t.equal(await askThrough(forward, 'http://nowhere.test/'), 403);
    t.match(sidecar.text(), /"kind":"(?:decided|refused)"/, 'the record is on stdout');
    sidecar.child.kill('SIGTERM');
    t.equal((await sidecar.ended).status, 0);
    dev.child.kill('SIGTERM');
    t.equal((await dev.ended).status, 0);
  },
);

t.test('the packed tarball installs without a registry and runs', async (t) => {
  const packed = npm(folder, 'pack', './app', '--pack-destination', folder);
  t.equal((await packed).status, 0);
  const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz'));
  t.equal(tarball, `chaperone-${String(manifest['version'])}.tgz`);
  const elsewhere = mkdtempSync(join(tmpdir(), 'chaperone-elsewhere-'));
  t.teardown(() => rmSync(elsewhere, { recursive: true }));
  const installed = await npm(
    elsewhere,
    'install',
    '--offline',
    '--ignore-scripts',
    join(folder, tarball ?? ''),
  );
  t.equal(installed.status, 0, installed.err);
  const { status, out } = await startIn(elsewhere, [
    join(elsewhere, 'node_modules/.bin/chaperone'),
    '--version',
  ]).ended;
  t.same({ status, out: out.trim() }, { status: 0, out: manifest['version'] });
});

t.test(
  'the tarball has the client for agents, with types that hold for a program elsewhere',
  async (t) => {
    const elsewhere = mkdtempSync(join(tmpdir(), 'chaperone-elsewhere-'));
    t.teardown(() => rmSync(elsewhere, { recursive: true }));
    const tarball = readdirSync(folder).find((name) => name.endsWith('.tgz')) ?? '';
    t.equal(
      (await npm(elsewhere, 'install', '--offline', '--ignore-scripts', join(folder, tarball)))
        .status,
      0,
    );
    const called = (
      body: string,
    ): string => `import { openTask, Refused, type Task } from 'chaperone/client';
try {
  await using task: Task = await openTask(${body}, { socket: '/nowhere/api.sock' });
  console.log((await task.fetch('http://crm.internal/')).status);
} catch (failure) {
  console.log(failure instanceof Refused ? failure.code : String(failure));
}
`;
    const good = `{ purpose: 'p', owner: 'o', targets: ['crm'], actions: ['read'] }`;
    writeFileSync(join(elsewhere, 'good.mts'), called(good));
    writeFileSync(join(elsewhere, 'bad.mts'), called(good.replace("['crm']", '7')));
    const { status, out } = await startIn(elsewhere, ['good.mts']).ended;
    t.match([status, out], [0, /Unreachable: \/nowhere\/api\.sock does not answer/]);
    const compile = (file: string): ReturnType<typeof startIn> =>
      startIn(elsewhere, [
        join(ROOT, 'node_modules/typescript/lib/tsc.js'),
        ...`--noEmit --strict --module nodenext --target esnext --types node --typeRoots
          ${ROOT}/node_modules/@types`.split(/\s+/),
        file,
      ]);
    const checked = await compile('good.mts').ended;
    t.equal(checked.status, 0, checked.out);
    const wrong = await compile('bad.mts').ended;
    t.match(
      [wrong.status === 0, wrong.out],
      [false, /number.*not assignable to type 'readonly string\[\]'/],
    );
  },
);

/** The status of a GET sent through the forward proxy. */
function askThrough(port: number, url: string): Promise<number | undefined> {
  return new Promise((settle, fail) => {
    const asked = request({
      host: '127.0.0.1',
      port,
      path: url,
      headers: { host: new URL(url).host },
      agent: false,
    });
    asked.on('response', (response) => {
      response.resume();
      response.on('end', () => settle(response.statusCode));
    });
    asked.on('error', fail);
    asked.end();
  });
}

function npm(
  cwd: string,
  ...args: readonly string[]
): Promise<{ readonly status: number | null; readonly err: string }> {
  const child = spawn('npm', args, { cwd, stdio: ['ignore', 'ignore', 'pipe'] });
  let err = '';
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  return new Promise((settle) => child.on('close', (status) => settle({ status, err })));
}
