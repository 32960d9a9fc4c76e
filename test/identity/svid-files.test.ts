import { X509Certificate, createPrivateKey } from 'node:crypto';
import {
  lstatSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  realpathSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { removeSvidFiles, writeSvidFiles } from '../../lib/identity/svid-files.ts';
import { follow, folder, trustDomain, workloadApiServer } from './fixture.ts';

async function world(t: Test) {
  const federated = await trustDomain('other.test');
  const api = await workloadApiServer(t, { federated: [federated] });
  const source = follow(t, api.endpoint);
  await source.ready();
  const rotated = async () => {
    const before = source.current().generation;
    await api.rotate();
    await source.reaches(
      'the next',
      (state) => state.kind === 'current' && state.identity.generation > before,
    );
    return source.current();
  };
  return { api, source, federated, rotated, dir: join(await folder(t), 'mirror') };
}

const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);
const names = (dir: string): readonly string[] => readdirSync(dir).toSorted();

/** Certificate and key as a careful reader takes them: `..data` resolved once. */
function pair(dir: string): boolean {
  const set = realpathSync(join(dir, '..data'));
  const leaf = new X509Certificate(readFileSync(join(set, 'svid.pem')));
  return leaf.checkPrivateKey(createPrivateKey(readFileSync(join(set, 'key.pem'))));
}

t.test('leaf, key and one bundle per trust domain, as PEM', async (t) => {
  const { source, dir } = await world(t);
  const identity = source.current();
  await writeSvidFiles(dir, identity);
  const links = ['bundle.example.org.pem', 'bundle.other.test.pem', 'key.pem', 'svid.pem'];
  t.same(
    names(dir).filter((name) => !name.startsWith('..')),
    links,
  );
  for (const name of links) t.equal(readlinkSync(join(dir, name)), `..data/${name}`);
  t.equal(
    new X509Certificate(readFileSync(join(dir, 'svid.pem'))).serialNumber,
    identity.svid.serial,
  );
  t.ok(pair(dir));
  t.match(
    readFileSync(join(dir, 'key.pem'), 'utf8'),
    /^-----BEGIN PRIVATE KEY-----\n[^-]+-----END PRIVATE KEY-----\n$/,
  );
  for (const { trustDomain, anchors } of identity.bundles.values()) {
    const text = readFileSync(join(dir, `bundle.${trustDomain}.pem`), 'utf8');
    t.equal(text, anchors.map(String).join(''), trustDomain);
    t.match(text, /-----END CERTIFICATE-----\n$/);
  }
});

t.test(
  'modes are set on every write, whatever the umask and whatever they were made into',
  async (t) => {
    const { source, dir, rotated } = await world(t);
    for (const umask of [0o000, 0o077, 0o777]) {
      const before = process.umask(umask);
      try {
        await writeSvidFiles(dir, source.current());
      } finally {
        process.umask(before);
      }
      t.equal(mode(join(dir, 'key.pem')), '600', umask.toString(8));
      t.equal(mode(join(dir, 'svid.pem')), '644');
      t.equal(mode(join(dir, 'bundle.example.org.pem')), '644');
      t.equal(mode(join(dir, '..data')), '755');
      await rotated();
    }
  },
);

t.test(
  'a new folder is for us alone, and the mode of one that was there is its owner’s',
  async (t) => {
    const { source, dir } = await world(t);
    await writeSvidFiles(dir, source.current());
    t.equal(mode(dir), '700');
    const shared = join(dir, '..', 'shared');
    mkdirSync(shared, { mode: 0o750 });
    await writeSvidFiles(shared, source.current());
    t.equal(mode(shared), '750');
  },
);

t.test(
  'the set before is gone once the next is in force, and so is what a crash left',
  async (t) => {
    const { source, dir, rotated } = await world(t);
    await writeSvidFiles(dir, source.current());
    const first = readlinkSync(join(dir, '..data'));
    mkdirSync(join(dir, '..set-crash'));
    writeFileSync(join(dir, '..set-crash', 'key.pem'), 'old secret');
    symlinkSync('..data/svid.pem', join(dir, '..set-crash', '.link'));
    await writeSvidFiles(dir, await rotated());
    const second = readlinkSync(join(dir, '..data'));
    t.not(second, first);
    t.same(
      names(dir).filter((name) => name.startsWith('..')),
      ['..data', second],
    );
  },
);

t.test('a trust domain that is no longer federated leaves with its bundle', async (t) => {
  const { api, source, dir, federated } = await world(t);
  await writeSvidFiles(dir, source.current());
  await api.unfederate(federated.name);
  await source.reaches(
    'one bundle',
    (state) => state.kind === 'current' && state.identity.bundles.size === 1,
  );
  await writeSvidFiles(dir, source.current());
  t.notOk(names(dir).includes('bundle.other.test.pem'));
  t.ok(names(dir).includes('bundle.example.org.pem'));
});

t.test('what is not ours is left alone, and taking away takes only what is ours', async (t) => {
  const { source, dir, rotated } = await world(t);
  mkdirSync(dir);
  writeFileSync(join(dir, 'notes.txt'), 'mine');
  writeFileSync(join(dir, 'bundle.corporate.pem'), 'a file of that form, but not our link');
  symlinkSync('/elsewhere', join(dir, 'bundle.linked.pem'));
  writeFileSync(join(dir, 'svid.pem'), 'a file by the name of one of the set is replaced');
  await writeSvidFiles(dir, source.current());
  t.ok(lstatSync(join(dir, 'svid.pem')).isSymbolicLink());
  await writeSvidFiles(dir, await rotated());
  await removeSvidFiles(dir);
  t.same(names(dir), ['bundle.corporate.pem', 'bundle.linked.pem', 'notes.txt']);
  t.equal(readFileSync(join(dir, 'notes.txt'), 'utf8'), 'mine');
  await removeSvidFiles(dir);
  await t.resolves(removeSvidFiles(join(dir, 'never')), 'a folder that is not there is fine');
});

t.test(
  'a write that fails keeps the set before in force and leaves nothing of its own',
  async (t) => {
    const { api, source, dir } = await world(t);
    await writeSvidFiles(dir, source.current());
    const before = readlinkSync(join(dir, '..data'));
    const third = await trustDomain('third.test');
    mkdirSync(join(dir, 'bundle.third.test.pem'));
    await api.federate(third);
    await source.reaches(
      'three',
      (state) => state.kind === 'current' && state.identity.bundles.size === 3,
    );
    await t.rejects(writeSvidFiles(dir, source.current()), {
      code: 'mirror',
      message: /bundle\.third\.test\.pem/,
    });
    t.equal(readlinkSync(join(dir, '..data')), before);
    t.ok(pair(dir));
    t.equal(names(dir).filter((name) => name.startsWith('..set-')).length, 1);
  },
);

t.test('a folder that cannot be written is named, with what it must be', async (t) => {
  const { source, dir } = await world(t);
  mkdirSync(dir);
  const file = join(dir, 'file');
  writeFileSync(file, '');
  const closed = join(dir, 'closed');
  mkdirSync(closed, { mode: 0o500 });
  const root = process.getuid?.() === 0;
  for (const place of [file, join(file, 'under-a-file'), ...(root ? [] : [closed])]) {
    await t.rejects(writeSvidFiles(place, source.current()), {
      code: 'mirror',
      message: new RegExp(`^${place} cannot be brought up to date: `),
      hint: /writable/,
    });
  }
});

t.test('a reader never sees certificate and key of two sets while sets change', async (t) => {
  const { source, dir, rotated } = await world(t);
  await writeSvidFiles(dir, source.current());
  const done = new AbortController();
  const seen = new Set<string>();
  const reading = (async () => {
    let [pairs, away] = [0, 0];
    while (!done.signal.aborted) {
      try {
        t.ok(pair(dir), 'certificate and key fit');
        seen.add(readlinkSync(join(dir, '..data')));
        pairs += 1;
      } catch (failure) {
        if (!(failure instanceof Error && 'code' in failure && failure.code === 'ENOENT'))
          throw failure;
        away += 1;
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { pairs, away };
  })();
  for (let turn = 0; turn < 20; turn += 1) await writeSvidFiles(dir, await rotated());
  done.abort();
  const { pairs } = await reading;
  t.ok(pairs > 20, `${pairs} pairs were read`);
  t.ok(seen.size > 5, `of ${seen.size} sets`);
});
