/** What can be known of the image without building it: there is no engine here. */
import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import t from 'tap';
import { sidecarOf, workloads } from './manifests.ts';

const ROOT = resolve(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(join(ROOT, file), 'utf8');
/** Instruction and arguments, continued lines joined, comments gone. */
const steps = read('deploy/docker/Dockerfile')
  .replace(/^#.*\n/gm, '')
  .replaceAll('\\\n', ' ')
  .split('\n')
  .filter((line) => line.trim() !== '')
  .map((line) => /^(\S+)\s+(.*)$/.exec(line)?.slice(1) ?? [line, '']);
const last = (name: string): string => steps.findLast(([step]) => step === name)?.[1] ?? '';

t.test('the image starts from a pinned Node that is new enough', async (t) => {
  const image =
    steps.find(([step, argument]) => step === 'ARG' && argument?.startsWith('NODE_IMAGE='))?.[1] ??
    '';
  const [, major, minor, patch] =
    /^NODE_IMAGE=node:(\d+)\.(\d+)\.(\d+)-slim$/.exec(image)?.map(Number) ?? [];
  t.equal(major, 26);
  t.ok((minor ?? 0) * 1000 + (patch ?? 0) >= 13_001);
  t.same(
    steps.filter(([step]) => step === 'FROM').map(([, from]) => from?.includes('${NODE_IMAGE}')),
    [true, true],
    'both stages',
  );
});

t.test(
  'nothing runs in the final stage, and the program starts without a shell, as a user of no name',
  async (t) => {
    const final = steps.slice(steps.findLastIndex(([step]) => step === 'FROM'));
    t.notOk(final.some(([step]) => step === 'RUN'));
    t.same(
      final.filter(([step]) => step === 'COPY' || step === 'ADD').map(([, what]) => what),
      ['--from=build --chown=0:0 /out/ /app/'],
      'it holds the bundle alone, which the user cannot change',
    );
    t.match(last('USER'), /^[1-9]\d*:[1-9]\d*$/);
    const [, memory = '', options = ''] =
      /^#!\/usr\/bin\/env -S (\S+) node (.*)$/m.exec(
        read('cmd/chaperone.ts').split('\n')[0] ?? '',
      ) ?? [];
    t.same(
      JSON.parse(last('ENTRYPOINT')),
      ['/usr/local/bin/node', ...options.split(' '), '/app/chaperone.mjs'],
      'with the options of the program itself',
    );
    t.ok(final.some(([step, what]) => step === 'ENV' && what === memory));
    t.equal(last('STOPSIGNAL'), 'SIGTERM');
    t.notMatch(read('deploy/docker/Dockerfile'), /^(?:ARG|ENV) .*(?:TOKEN|KEY|SECRET|PASSWORD)/im);
  },
);

t.test('what the build copies is there and reaches the builder', async (t) => {
  const ignore = read('deploy/docker/Dockerfile.dockerignore').split('\n');
  t.ok(ignore.includes('*'), 'the rest stays here');
  for (const [step, what = ''] of steps) {
    if (step !== 'COPY' || what.startsWith('--from')) continue;
    for (const source of what.split(' ').slice(0, -1)) {
      t.ok(existsSync(join(ROOT, source)), source);
      t.ok(ignore.includes(`!${source}`), `${source} is let through`);
    }
  }
});

t.test('the manifests agree with the image on user and folder', async (t) => {
  const [, , folder = ''] = JSON.parse(last('CMD')) as readonly string[];
  for (const { kind, pod } of workloads()) {
    const { securityContext, volumeMounts } = sidecarOf(pod);
    t.equal(last('USER').split(':')[0], String(securityContext.runAsUser), kind);
    t.ok(
      volumeMounts.some(({ mountPath }) => mountPath === folder),
      `${kind}: documents at ${folder}`,
    );
  }
});
