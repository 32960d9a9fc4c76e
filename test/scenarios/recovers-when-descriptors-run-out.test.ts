import { spawnSync } from 'node:child_process';
import t from 'tap';
import { until } from '../fakes/until.ts';
import { apart, noProc } from './apart.ts';

const MOST = 120;
const noPrlimit = spawnSync('prlimit', ['--version']).status !== 0 && 'needs the prlimit command';

t.test(
  'when descriptors run out, connections are closed or answered 503, nothing hangs, and it serves again once there are some (R2)',
  { skip: noProc || noPrlimit },
  async (t) => {
    await using s = await apart({ under: ['prlimit', `--nofile=${MOST}:${MOST}`] });
    t.equal(await s.get('/v1/customers'), 200);
    const before = s.descriptors();
    const lines = await Promise.all(Array.from({ length: MOST + 30 }, () => s.open()));
    await until('all descriptors are taken', () => s.descriptors() >= MOST - 1, 10_000);
    const kept = lines.filter(({ socket }) => !socket.destroyed);
    for (const line of kept) line.write('GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await until(
      'each connection is answered or closed',
      () =>
        lines.every((line) => line.socket.destroyed || line.socket.readableEnded || /^HTTP\/1\.1 \d/.test(line.text)),
      20_000,
    );
    const answers = lines.filter(({ text }) => text !== '').map(({ text }) => text);
    t.ok(lines.length > answers.length, 'the kernel had more than could be accepted');
    const refused = answers.filter((text) => !text.startsWith('HTTP/1.1 200'));
    t.ok(refused.length > 0, `${refused.length} of ${answers.length}`);
    for (const text of refused) t.match(text, /^HTTP\/1\.1 503 [^]*"code":"too-many"/);
    t.ok(
      refused.some((text) => /EMFILE[^]*"hint":"raise the limit of open files/.test(text)),
      'it says what ran out',
    );
    for (const { socket } of lines) socket.destroy();
    await until('it serves again', async () => (await s.get('/v1/customers')) === 200, 20_000);
    await until('nothing is left open', () => s.descriptors() <= before + 2, 20_000);
  },
);
