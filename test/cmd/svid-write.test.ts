/** `chaperone svid write` as a process, against the development Workload API. */
import { X509Certificate, createPrivateKey } from 'node:crypto';
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  realpathSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { startDevWorkloadApi } from '../../lib/dev/workload-api.ts';
import { shortFolder } from '../support/folder.ts';
import { chaperone, eventually, startChaperone, type TestProgram } from '../support/program.ts';

t.setTimeout(600_000);

async function world(t: Test) {
  const folder = shortFolder(t);
  const api = await startDevWorkloadApi({
    socket: join(folder, 'identity', 'w.sock'),
    domain: await createDevTrustDomain({ name: 'example.org', clock: systemClock }),
    identities: [
      { id: '/agent', hint: 'one' },
      { id: '/other', hint: 'two' },
    ],
  });
  t.teardown(() => api[Symbol.asyncDispose]());
  const dir = join(folder, 'mirror');
  const args = (...more: readonly string[]) => [
    'svid',
    'write',
    '--workload-api',
    api.endpoint,
    '--dir',
    dir,
    ...more,
  ];
  return { api, folder, dir, args };
}

const serial = (dir: string): string =>
  new X509Certificate(readFileSync(join(dir, 'svid.pem'))).serialNumber;
const keyThere = (dir: string): boolean => existsSync(join(dir, 'key.pem'));

/** Runs until the files are there; killed at the end. */
async function keepUp(args: readonly string[], dir: string): Promise<TestProgram> {
  const running = startChaperone(args);
  await eventually('the files', () => keyThere(dir));
  return running;
}

/** A program that adds a line to a file each time it runs, then does `then`. */
function script(folder: string, then = ''): string {
  const file = join(folder, 'on-update.sh');
  writeFileSync(file, `#!/bin/sh\necho "told $@" >> ${join(folder, 'told')}\n${then}\n`, {
    mode: 0o755,
  });
  return file;
}

const told = (folder: string): readonly string[] => {
  const file = join(folder, 'told');
  return existsSync(file) ? readFileSync(file, 'utf8').trimEnd().split('\n') : [];
};

t.test('--once writes the first SVID, tells its reader and ends with 0', async (t) => {
  const { args, dir, folder } = await world(t);
  const { status, out, err } = await chaperone(
    args('--once', '--on-update-command', script(folder), '--', 'a b', '$(id)', '-x'),
  );
  t.equal(status, 0, err);
  t.match(out, /mirror: spiffe:\/\/example\.org\/agent, serial [0-9A-F]+, valid until /);
  t.notMatch(out + err, /PRIVATE KEY/);
  const leaf = new X509Certificate(readFileSync(join(dir, 'svid.pem')));
  t.ok(leaf.checkPrivateKey(createPrivateKey(readFileSync(join(dir, 'key.pem')))));
  t.same(told(folder), ['told a b $(id) -x'], 'arguments as given, no shell in between');
});

t.test('the SVID is chosen by its hint or its SPIFFE ID', async (t) => {
  const { args } = await world(t);
  t.match((await chaperone(args('--once', '--hint', 'two'))).out, /example\.org\/other,/);
  t.match(
    (await chaperone(args('--once', '--spiffe-id', 'spiffe://example.org/other'))).out,
    /example\.org\/other,/,
  );
});

t.test('--once without an SVID in time ends with 75, says why, and writes nothing', async (t) => {
  const { args, dir } = await world(t);
  const { status, err } = await chaperone(args('--once', '--timeout', '500ms', '--hint', 'three'));
  t.equal(status, 75);
  t.match(err, /no SVID came within 500ms: .*hint "three".*issued were .*\(hint "one"\)/);
  t.notOk(existsSync(dir));
});

t.test('without --once too, no first SVID in time ends with 75', async (t) => {
  const { args } = await world(t);
  const { status, err } = await chaperone([
    ...args('--timeout', '500ms'),
    '--workload-api',
    'unix:///nowhere/w.sock',
  ]);
  t.equal(status, 75);
  t.match(err, /no SVID came within 500ms: .*nowhere/);
});

t.test('--once whose reader cannot be told ends with 71, with the files written', async (t) => {
  const { args, dir, folder } = await world(t);
  const failing = await chaperone(args('--once', '--on-update-command', script(folder, 'exit 3')));
  t.equal(failing.status, 71);
  t.match(
    failing.err,
    /the files are written, but their reader could not be told: .*on-update\.sh ended with status 3/,
  );
  t.ok(keyThere(dir));
  const none = await chaperone(args('--once', '--on-update-command', '/nowhere/at/all'));
  t.equal(none.status, 71);
  t.match(none.err, /could not be told: .*\/nowhere\/at\/all/);
});

t.test('a wrong use is refused before anything is written', async (t) => {
  const { args, dir, folder } = await world(t);
  const wrong: readonly (readonly [readonly string[], RegExp])[] = [
    [['--', 'x'], /arguments without --on-update-command/],
    [['--on-update-signal', 'HUP'], /go together/],
    [['--pid-file', join(folder, 'pid')], /go together/],
    [['--on-update-signal', 'SHOUT', '--pid-file', 'pid'], /no signal "SHOUT"/],
    [['--spiffe-id', 'https://example.org'], /SPIFFE ID/],
  ];
  for (const [more, problem] of wrong) {
    const { status, err } = await chaperone(args('--once', ...more));
    t.ok(status === 64 || status === 65, `${more.join(' ')}: ${status}`);
    t.match(err, problem);
  }
  t.notOk(existsSync(dir));
});

t.test('a folder that cannot be written ends with 74 and names it', async (t) => {
  const { args, folder } = await world(t);
  writeFileSync(join(folder, 'file'), '');
  const { status, err } = await chaperone([...args(), '--dir', join(folder, 'file', 'mirror')]);
  t.equal(status, 74);
  t.match(err, /file\/mirror cannot be brought up to date: .*writable/);
});

t.test(
  'each rotation replaces the files, and a reader that resolves ..data once always has a pair',
  async (t) => {
    const { api, args, dir, folder } = await world(t);
    await using running = await keepUp(args('--on-update-command', script(folder)), dir);
    const serials = new Set<string>();
    let pairs = 0;
    for (let turn = 0; turn < 10; turn += 1) {
      const before = serial(dir);
      serials.add(before);
      await api.rotate();
      await eventually('another serial', () => {
        try {
          const set = realpathSync(join(dir, '..data'));
          const leaf = new X509Certificate(readFileSync(join(set, 'svid.pem')));
          if (!leaf.checkPrivateKey(createPrivateKey(readFileSync(join(set, 'key.pem')))))
            throw new Error('certificate and key of two sets');
          pairs += 1;
          return leaf.serialNumber !== before;
        } catch (failure) {
          if (failure instanceof Error && 'code' in failure && failure.code === 'ENOENT')
            return false;
          throw failure;
        }
      });
    }
    t.equal(serials.size, 10);
    t.ok(pairs >= 10);
    t.equal(
      readdirSync(dir).filter((name) => name.startsWith('..set-')).length <= 2,
      true,
      'old keys do not stay',
    );
    await eventually('told of each', () => told(folder).length >= 11);
    t.equal(running.child.exitCode, null);
  },
);

t.test('a withdrawn SVID takes the files away, and they come back with it', async (t) => {
  const { api, args, dir } = await world(t);
  await using running = await keepUp(args('--timeout', '2s'), dir);
  await api.setIdentities([]);
  await eventually(
    'gone, and nothing is left of the set',
    () => !readdirSync(dir).some((name) => /^\.\.|\.pem$/.test(name)),
  );
  await eventually('said', () =>
    /error: the SVID was withdrawn: .*are removed/.test(running.text()),
  );
  await api.setIdentities([{ id: '/agent' }]);
  await eventually('back', () => keyThere(dir));
  t.pass();
});

t.test(
  'an SVID that expires takes the files away; a Workload API that is merely away does not',
  async (t) => {
    const { api, args, dir } = await world(t);
    await api.setRotation(false);
    await api.setTtl(6_000);
    await using running = await keepUp(args(), dir);
    await api.stop();
    await eventually('the trouble is told', () => /warn: .*X\.509-SVIDs/.test(running.text()));
    t.ok(keyThere(dir), 'still there while valid');
    await eventually('expired', () => !keyThere(dir));
    await eventually('said', () => /error: the SVID expired at .*are removed/.test(running.text()));
  },
);

t.test('--keep keeps them', async (t) => {
  const { api, args, dir } = await world(t);
  await using running = await keepUp(args('--keep'), dir);
  await api.setIdentities([]);
  await eventually('said', () => /withdrawn: .*are kept \(--keep\)/.test(running.text()));
  t.ok(keyThere(dir));
});

t.test('a reader’s program that fails is told and does not stop the mirror', async (t) => {
  const { api, args, dir, folder } = await world(t);
  await using running = await keepUp(args('--on-update-command', script(folder, 'exit 1')), dir);
  await eventually('told', () => /error: .*ended with status 1/.test(running.text()));
  const before = serial(dir);
  await api.rotate();
  await eventually('the next', () => told(folder).length >= 2 && serial(dir) !== before);
  t.equal(running.child.exitCode, null);
});

t.test('a reader’s program that hangs is killed when its time is over', async (t) => {
  const { args, folder } = await world(t);
  const { status, err } = await chaperone(
    args(
      '--once',
      '--on-update-timeout',
      '300ms',
      '--on-update-command',
      script(folder, 'exec sleep 600'),
    ),
  );
  t.equal(status, 71);
  t.match(err, /still running after 0\.3 s and was killed/);
});

t.test(
  'SIGTERM ends at once with 0, also while the reader’s program runs, and leaves the files',
  async (t) => {
    const { args, dir, folder } = await world(t);
    await using running = await keepUp(
      args('--on-update-command', script(folder, 'exec sleep 600')),
      dir,
    );
    await eventually('it runs', () => told(folder).length === 1);
    running.child.kill('SIGTERM');
    t.equal((await running.ended).status, 0);
    t.ok(keyThere(dir));
  },
);

t.test('SIGTERM ends the wait for the first SVID', async (t) => {
  const { api, args } = await world(t);
  await api.setIdentities([]);
  await using running = startChaperone(args('--timeout', '1h'));
  await eventually('it asks', () => api.calls('FetchX509SVID') > 0);
  running.child.kill('SIGTERM');
  t.equal((await running.ended).status, 0);
});

t.test('a signal goes to the process of the pid file, which is read anew each time', async (t) => {
  const { api, args, dir, folder } = await world(t);
  const pidFile = join(folder, 'pid');
  writeFileSync(pidFile, '0\n');
  await using running = await keepUp(
    args('--on-update-signal', 'SIGUSR2', '--pid-file', pidFile),
    dir,
  );
  await eventually('a group of processes is refused', () =>
    /does not hold one process id/.test(running.text()),
  );
  let signals = 0;
  const count = (): void => void (signals += 1);
  process.on('SIGUSR2', count);
  t.teardown(() => process.off('SIGUSR2', count));
  writeFileSync(pidFile, `${process.pid}\n`);
  await api.rotate();
  await eventually('the signal', () => signals >= 1);
  t.equal(running.child.exitCode, null);
});

t.test(
  'a later set that cannot be written leaves the one before, is told once, and tried until it works',
  async (t) => {
    const { api, args, dir } = await world(t);
    await using running = await keepUp(args(), dir);
    const before = serial(dir);
    const inTheWay = join(dir, 'bundle.third.test.pem');
    mkdirSync(inTheWay);
    await api.federate(await createDevTrustDomain({ name: 'third.test', clock: systemClock }));
    await eventually('told', () => /error: .*cannot be brought up to date/.test(running.text()));
    t.equal(serial(dir), before);
    rmdirSync(inTheWay);
    await eventually('written', () => existsSync(inTheWay));
    t.equal(running.text().match(/cannot be brought up to date/g)?.length, 1);
  },
);

t.test(
  'a reader that comes late, or whose pid file is still the old one, is told when it is there',
  async (t) => {
    const { args, dir, folder } = await world(t);
    const pidFile = join(folder, 'late.pid');
    await using running = await keepUp(
      args('--on-update-signal', 'HUP', '--pid-file', pidFile),
      dir,
    );
    await eventually('it says so', () => running.text().includes('their reader could not be told'));
    const wait = 'trap "echo told; exit 0" HUP; echo ready; while :; do sleep 0.1; done';
    const reader = spawn('sh', ['-c', wait], { stdio: ['ignore', 'pipe', 'ignore'] });
    t.teardown(() => reader.kill('SIGKILL'));
    let said = '';
    reader.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    await eventually('it is ready', () => said.includes('ready'));
    writeFileSync(pidFile, String(reader.pid));
    await eventually('it is told', () => said.includes('told'));
  },
);

t.test('with --once a reader that comes within seconds is told', async (t) => {
  const { args, folder } = await world(t);
  const file = join(folder, 'late.sh');
  setTimeout(() => writeFileSync(file, '#!/bin/sh\nexit 0\n', { mode: 0o755 }), 2500);
  const { status, err } = await chaperone(args('--once', '--on-update-command', file));
  t.equal(status, 0, err);
});
