/** Where the interception authority's key may live (T7). */
import { generateKeyPairSync } from 'node:crypto';
import { chmod, lstat, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { Fault } from '../../lib/base/fault.ts';
import { KEY_FILE, keyInFolder, newKeyPair } from '../../lib/interception/ca-key.ts';
import { shortFolder } from '../support/folder.ts';

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

t.test('the key is made once, is for its owner alone, and is taken up again', async (t) => {
  const folder = join(shortFolder(t), 'ca');
  const first = await keyInFolder(folder);
  t.equal((await lstat(folder)).mode & 0o777, 0o700);
  t.equal((await lstat(join(folder, KEY_FILE))).mode & 0o777, 0o600);
  t.ok(['tmpfs', 'disk'].includes(first.kept), first.kept);
  const again = await keyInFolder(folder);
  t.equal(hex(again.spki), hex(first.spki));
  t.same(await readdir(folder), [KEY_FILE], 'no draft is left');
});

t.test('a key in memory is another each time and is nowhere else', async (t) => {
  const [one, two] = [await newKeyPair(), await newKeyPair()];
  t.equal(one.kept, 'memory');
  t.not(hex(one.spki), hex(two.spki));
});

t.test('of two sidecars that start at one time both use the key of the first', async (t) => {
  const folder = join(shortFolder(t), 'ca');
  await mkdir(folder, { mode: 0o700 });
  const all = await Promise.all(Array.from({ length: 6 }, () => keyInFolder(folder)));
  t.equal(new Set(all.map(({ spki }) => hex(spki))).size, 1);
  t.same(await readdir(folder), [KEY_FILE]);
});

t.test(
  'a folder or a file that is not the sidecar’s alone is refused, and left as it is (T7)',
  async (t) => {
    const base = shortFolder(t);
    const prepared = async (name: string): Promise<string> => {
      const folder = join(base, name);
      await keyInFolder(folder);
      return folder;
    };
    const open = await prepared('open');
    await chmod(open, 0o750);
    await t.rejects(keyInFolder(open), {
      code: 'intercept-ca',
      message: /open to others \(mode 750\)/,
      hint: /chmod 700/,
    });

    const readable = await prepared('readable');
    await chmod(join(readable, KEY_FILE), 0o640);
    await t.rejects(keyInFolder(readable), {
      code: 'intercept-ca',
      message: /mode 640/,
      hint: /chmod 600/,
    });

    const linked = join(base, 'linked');
    await symlink(await prepared('real'), linked);
    await t.rejects(keyInFolder(linked), { code: 'intercept-ca', message: /is no folder/ });

    const elsewhere = join(base, 'elsewhere');
    await mkdir(elsewhere, { mode: 0o700 });
    await symlink(join(base, 'real', KEY_FILE), join(elsewhere, KEY_FILE));
    await t.rejects(keyInFolder(elsewhere), {
      code: 'intercept-ca',
      message: /cannot be opened \(ELOOP\)/,
    });

    const inside = join(base, 'file');
    await writeFile(inside, '');
    await t.rejects(keyInFolder(inside), { code: 'intercept-ca' });
  },
);

t.test('what is no EC P-256 key is refused and neither replaced nor told', async (t) => {
  const base = shortFolder(t);
  const pkcs8 = {
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    publicKeyEncoding: { type: 'spki', format: 'pem' },
  } as const;
  const rows: readonly (readonly [string, string])[] = [
    ['text', 'SECRET that is no key'],
    ['empty', ''],
    ['another curve', generateKeyPairSync('ec', { namedCurve: 'P-384', ...pkcs8 }).privateKey],
    ['ed25519', generateKeyPairSync('ed25519', pkcs8).privateKey],
    ['too long', 'x'.repeat(9000)],
  ];
  for (const [name, text] of rows) {
    const folder = join(base, name.replaceAll(' ', '-'));
    await mkdir(folder, { mode: 0o700 });
    await writeFile(join(folder, KEY_FILE), text, { mode: 0o600 });
    const failure: unknown = await keyInFolder(folder).catch((fault: unknown) => fault);
    t.ok(failure instanceof Fault && failure.code === 'intercept-ca', name);
    t.notMatch(failure instanceof Fault ? failure.describe() : '', /SECRET|BEGIN/, name);
    t.equal(await readFile(join(folder, KEY_FILE), 'utf8'), text, name);
  }
});
