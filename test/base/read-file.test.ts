/** What is named as a file and is none holds no thread, and what has no end fills no memory. */
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { readBounded, whyUnread } from '../../lib/base/read-file.ts';

/** Why it is not read. */
async function refusal(reading: Promise<Buffer>): Promise<string> {
  return await reading.then(() => 'it was read', whyUnread);
}

t.test('a file is read whole up to its bound, and refused past it', async (t) => {
  const path = join(t.testdir({ file: 'x'.repeat(200_000), empty: '' }), 'file');
  t.equal((await readBounded(path, { most: 200_000 })).length, 200_000);
  t.equal((await readBounded(join(path, '../empty'), { most: 0 })).length, 0);
  t.equal(await refusal(readBounded(path, { most: 199_999 })), 'it is larger than 199999 bytes');
  t.equal(await refusal(readBounded(`${path}s`, { most: 1 })), 'ENOENT');
});

t.test('pipes, devices and folders are refused at once, as many as there are', async (t) => {
  const folder = t.testdir();
  mkdirSync(join(folder, 'folder'));
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  // More than there are threads.
  const pipes = Array.from({ length: 20 }, () =>
    refusal(readBounded(join(folder, 'pipe'), { most: 10 })),
  );
  t.same(new Set(await Promise.all(pipes)), new Set(['it is no regular file']));
  for (const device of ['/dev/zero', '/dev/null']) {
    t.equal(await refusal(readBounded(device, { most: 10, pipes: true })), 'it is no regular file');
  }
  t.equal(await refusal(readBounded(join(folder, 'folder'), { most: 10 })), 'it is a folder');
  writeFileSync(join(folder, 'file'), 'read');
  t.equal(String(await readBounded(join(folder, 'file'), { most: 10 })), 'read');
});

t.test('a pipe that may be one is read to its end, however slow its writer', async (t) => {
  const pipe = join(t.testdir(), 'pipe');
  execFileSync('mkfifo', [pipe]);
  const writer = spawn('sh', ['-c', `exec > ${pipe}; printf one; echo >&2; sleep 0.3; printf two`]);
  await new Promise(
    (resolve) => writer.stderr.once('data', resolve).resume() && setTimeout(resolve, 100),
  );
  const reading = readBounded(pipe, { most: 6, pipes: true });
  t.equal(String(await reading), 'onetwo');
});
