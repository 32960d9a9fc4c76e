import { mkdirSync, renameSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { watchConfig, type ConfigWatch, type WatchOptions } from '../../lib/config/load/watch.ts';
import { folder } from './documents.ts';

interface Watched extends ConfigWatch {
  readonly count: () => number;
  readonly stop: () => void;
  /** Waits until `count` is reached, or fails. */
  reach(count: number): Promise<void>;
  /** Waits long enough for a change that should not be told to have been told. */
  quiet(): Promise<void>;
}

const wait = (ms: number): Promise<void> =>
  new Promise((resolve) => void systemClock.after(ms, resolve, true));

async function watching(
  t: Test,
  paths: readonly string[],
  options: Partial<WatchOptions> = {},
): Promise<Watched> {
  const end = new AbortController();
  const stop = (): void => end.abort(new Fault('aborted', 'the test is over'));
  t.teardown(stop);
  let count = 0;
  const onChange = async (): Promise<void> => {
    count += 1;
    await options.onChange?.();
  };
  const watch = watchConfig(paths, {
    clock: systemClock,
    pollMs: 60_000,
    settleMs: 30,
    ...options,
    signal: end.signal,
    onChange,
  });
  await watch.ready;
  return {
    ...watch,
    count: () => count,
    stop,
    async reach(wanted) {
      const deadline = systemClock.monotonic() + 5000;
      while (count < wanted && systemClock.monotonic() < deadline) await wait(5);
      t.equal(count, wanted, `${wanted} changes were told`);
    },
    quiet: () => wait(250),
  };
}

t.test(
  'a file that is written over, replaced by a rename, removed and made again is told each time',
  async (t) => {
    const path = folder(t);
    const file = join(path, 'c.yaml');
    writeFileSync(file, '1');
    const watched = await watching(t, [file]);
    writeFileSync(file, '22');
    await watched.reach(1);
    writeFileSync(`${file}.new`, '33');
    renameSync(`${file}.new`, file);
    await watched.reach(2);
    rmSync(file);
    await watched.reach(3);
    writeFileSync(file, '4');
    await watched.reach(4);
  },
);

t.test(
  'a folder tells of documents that are added, changed and removed, and of nothing else',
  async (t) => {
    const path = folder(t);
    writeFileSync(join(path, 'a.yaml'), '1');
    const watched = await watching(t, [path]);
    writeFileSync(join(path, 'b.yml'), '1');
    await watched.reach(1);
    writeFileSync(join(path, 'a.yaml'), '22');
    await watched.reach(2);
    rmSync(join(path, 'b.yml'));
    await watched.reach(3);
    writeFileSync(join(path, 'audit.jsonl'), '{}');
    writeFileSync(join(path, '.a.yaml.swp'), 'x');
    await watched.quiet();
    t.equal(watched.count(), 3);
  },
);

t.test('the swap of a mounted ConfigMap is one change', async (t) => {
  const path = folder(t);
  for (const version of ['..1', '..2']) {
    mkdirSync(join(path, version));
    writeFileSync(join(path, version, 'c.yaml'), version);
  }
  symlinkSync('..1', join(path, '..data'));
  symlinkSync('..data/c.yaml', join(path, 'c.yaml'));
  const inFolder = await watching(t, [path]);
  const asFile = await watching(t, [join(path, 'c.yaml')], { pollMs: 50 });
  symlinkSync('..2', join(path, '..tmp'));
  renameSync(join(path, '..tmp'), join(path, '..data'));
  await inFolder.reach(1);
  await asFile.reach(1);
  await inFolder.quiet();
  t.same([inFolder.count(), asFile.count()], [1, 1]);
});

t.test('a file that is written in pieces is told once, when it stands still', async (t) => {
  const file = join(folder(t), 'c.yaml');
  writeFileSync(file, '');
  const watched = await watching(t, [file], { settleMs: 150 });
  for (let i = 0; i < 8; i += 1) {
    writeFileSync(file, 'x'.repeat(i + 1));
    await wait(20);
    t.equal(watched.count(), 0, 'not while it moves');
  }
  await watched.reach(1);
  await watched.quiet();
  t.equal(watched.count(), 1);
});

t.test('without events, looking finds the change', async (t) => {
  const path = folder(t);
  const missing = join(path, 'later', 'c.yaml');
  const watched = await watching(t, [missing], { pollMs: 30 });
  mkdirSync(join(path, 'later'));
  writeFileSync(missing, '1');
  await watched.reach(1);
});

t.test('what the configuration names is looked at too; naming it is no change', async (t) => {
  const path = folder(t);
  const [file, root] = [join(path, 'c.yaml'), join(path, 'ca.pem')];
  writeFileSync(file, '1');
  writeFileSync(root, '1');
  let named: readonly string[] = [];
  const watched = await watching(t, [file], {
    pollMs: 30,
    also: () => named,
    onChange: () => void (named = [root]),
  });
  writeFileSync(file, '22');
  await watched.reach(1);
  await watched.quiet();
  t.equal(watched.count(), 1, 'looking at it for the first time is no change');
  writeFileSync(root, '22');
  await watched.reach(2);
});

t.test('a reload is told, changed or not, and never twice at a time', async (t) => {
  const file = join(folder(t), 'c.yaml');
  writeFileSync(file, '1');
  let inside = 0;
  let most = 0;
  const watched = await watching(t, [file], {
    async onChange() {
      inside += 1;
      most = Math.max(most, inside);
      await wait(60);
      inside -= 1;
    },
  });
  watched.reload();
  await watched.reach(1);
  watched.reload();
  watched.reload();
  await watched.reach(2);
  await watched.quiet();
  t.equal(watched.count(), 2, 'two calls during one run are one more run');
  t.equal(most, 1);
});

t.test('a change whose handling fails does not end the watch', async (t) => {
  const file = join(folder(t), 'c.yaml');
  writeFileSync(file, '1');
  const watched = await watching(t, [file], {
    onChange: () => Promise.reject(new Error('handling failed')),
  });
  writeFileSync(file, '22');
  await watched.reach(1);
  writeFileSync(file, '333');
  await watched.reach(2);
});

t.test('the same content with new times is told; nothing is told after the end', async (t) => {
  const file = join(folder(t), 'c.yaml');
  writeFileSync(file, '1');
  const watched = await watching(t, [file]);
  utimesSync(file, 1, 1);
  await watched.reach(1);
  watched.stop();
  writeFileSync(file, '22');
  watched.reload();
  await watched.quiet();
  t.equal(watched.count(), 1);
});
