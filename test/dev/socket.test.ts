import { chmodSync, existsSync, mkdirSync, renameSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { once } from 'node:events';
import t from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { createDevTrustDomain } from '../../lib/dev/domain.ts';
import { socketPath } from '../../lib/dev/socket.ts';
import { shortFolder } from '../support/folder.ts';
import { ATTESTS_NOBODY, startDevWorkloadApi } from '../../lib/dev/workload-api.ts';

const domain = await createDevTrustDomain({ name: 'example.org', clock: systemClock });
const identities = [{ id: '/agent' }];

t.test('listens on a Unix socket alone (S-01, S-02)', async (t) => {
  for (const good of ['/run/a.sock', 'unix:/run/a.sock', 'unix:///run/a.sock'])
    t.equal(socketPath(good), '/run/a.sock');
  const bad = [
    'tcp://127.0.0.1:8000',
    '127.0.0.1:8000',
    'localhost:1',
    'unix://run/a.sock',
    'a.sock',
    '',
    'unix:',
    '/run/',
  ];
  for (const text of bad)
    t.throws(() => socketPath(text), { code: 'listen', hint: /Unix|TCP/ }, text);
  t.throws(() => socketPath(`/${'x'.repeat(107)}`), { code: 'listen', message: /107 bytes/ });
});

t.test(
  'folder 0700, socket 0600, said that nobody is attested, gone after disposal (S-22)',
  async (t) => {
    const folder = `${shortFolder(t)}/made/private`;
    const notes: string[] = [];
    const socket = `${folder}/api.sock`;
    const api = await startDevWorkloadApi({
      socket,
      domain,
      identities,
      onNote: (text) => notes.push(text),
    });
    t.equal(statSync(folder).mode & 0o777, 0o700);
    t.equal(statSync(socket).mode & 0o777, 0o600);
    t.same(notes, [ATTESTS_NOBODY]);
    t.match(ATTESTS_NOBODY, /attests nobody/);
    await api[Symbol.asyncDispose]();
    t.notOk(existsSync(socket));
  },
);

t.test(
  'refuses a folder open to others, a file in its place, a living server; takes over a dead socket (S-22)',
  async (t) => {
    const root = shortFolder(t);
    const start = (socket: string) => startDevWorkloadApi({ socket, domain, identities });
    mkdirSync(`${root}/open`);
    chmodSync(`${root}/open`, 0o755);
    await t.rejects(start(`${root}/open/api.sock`), {
      code: 'listen',
      message: /open to others \(mode 755\)/,
    });
    mkdirSync(`${root}/mine`, { mode: 0o700 });
    writeFileSync(`${root}/mine/file`, '');
    await t.rejects(start(`${root}/mine/file`), { code: 'listen', message: /no socket/ });
    const first = await start(`${root}/mine/api.sock`);
    await t.rejects(start(`${root}/mine/api.sock`), { code: 'listen', message: /another server/ });
    await first[Symbol.asyncDispose]();
    const dead = createServer().listen(`${root}/mine/bound.sock`);
    await once(dead, 'listening');
    renameSync(`${root}/mine/bound.sock`, `${root}/mine/dead.sock`);
    dead.close();
    await using second = await start(`${root}/mine/dead.sock`);
    t.ok(second.endpoint.startsWith('unix:///'));
  },
);

t.test('an identity of another trust domain or without a path is refused', async (t) => {
  const socket = `${shortFolder(t)}/private/api.sock`;
  for (const id of ['spiffe://other.test/a', 'spiffe://example.org', 'nonsense']) {
    await t.rejects(
      startDevWorkloadApi({ socket, domain, identities: [{ id }] }),
      { code: 'bad-spiffe-id' },
      id,
    );
  }
});
