import { spawnSync } from 'node:child_process';
import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecarProcess, noProc } from '../support/sidecar-process.ts';

const MOST = 160;
const noPrlimit = spawnSync('prlimit', ['--version']).status !== 0 && 'needs the prlimit command';

t.test(
  'with few descriptors connections are cut before they run out, health answers, and it serves again after (R2)',
  { skip: noProc || noPrlimit },
  async (t) => {
    await using s = await testSidecarProcess({ under: ['prlimit', `--nofile=${MOST}:${MOST}`] });
    t.match(
      s.sidecar.text(),
      /the limit of open files \(160\) allows 6 connections of each agent, not 4096/,
    );
    t.equal(await s.get('/v1/customers'), 200);
    const before = s.descriptors();
    const live = async (): Promise<string> =>
      (await fetch(`http://127.0.0.1:${s.health}/livez`)).text();
    const lines = await Promise.all(Array.from({ length: MOST + 30 }, () => s.open()));
    await until(
      'most are cut',
      () => lines.filter(({ socket }) => socket.destroyed).length >= MOST,
    );
    t.equal(await live(), 'live\n');
    t.ok(s.descriptors() < MOST - 16, `${s.descriptors()} descriptors`);
    const kept = lines.filter(({ socket }) => !socket.destroyed);
    for (const line of kept)
      line.write('GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
    await until(
      'each that was kept is answered',
      // Some of them are cut only now, where the machine is slow.
      () =>
        kept.every(({ socket, text }) => socket.destroyed || /^HTTP\/1\.1 (200|503)/.test(text)),
      60_000,
    );
    t.ok(kept.some(({ text }) => text.startsWith('HTTP/1.1 200')));
    t.equal(await live(), 'live\n');
    t.equal(
      await s.get('/v1/customers'),
      200,
      'a new connection takes the place of one that says nothing',
    );
    for (const { socket } of lines) socket.destroy();
    await until('nothing is left open', () => s.descriptors() <= before + 16, 20_000);
    const metrics = await (await fetch(`http://127.0.0.1:${s.health}/metrics`)).text();
    t.match(metrics, /chaperone_connections_dropped_total\{at="unknown"\} [1-9]/);
  },
);
