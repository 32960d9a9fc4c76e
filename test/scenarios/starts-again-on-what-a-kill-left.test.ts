import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecarProcess, noProc } from '../support/sidecar-process.ts';

t.test(
  'killed at its work it starts again on what it left: sockets, and a log of which every line parses (invariant 6)',
  { skip: noProc },
  async (t) => {
    await using s = await testSidecarProcess();
    const tunnel = await s.tunnel();
    let running = true;
    const workers = Array.from({ length: 4 }, async () => {
      while (running) await s.get('/v1/customers').catch(() => 0);
    });
    await until('work is under way', () => s.records().length > 50, 20_000);
    s.sidecar.child.kill('SIGKILL');
    await s.sidecar.ended;
    running = false;
    await Promise.all(workers);
    await until('the tunnel is cut', () => tunnel.socket.destroyed || tunnel.reset, 10_000);
    // What a kill in the middle of a write leaves.
    appendFileSync(
      join(s.folder, 'audit.jsonl'),
      '{"time":"2026-01-01T00:00:00.000Z","kind":"deci',
    );
    await s.restart();
    t.equal(await s.get('/v1/customers'), 200);
    const started = s.records().findLast(({ event }) => event === 'started');
    t.match(started, { detail: { truncatedBytes: 47 } });
    t.match(s.sidecar.text(), /an incomplete record of 47 bytes/);
    const decided = new Set(
      s.records().flatMap(({ kind, exchange }) => (kind === 'decided' ? [exchange] : [])),
    );
    const ended = s.records().filter(({ kind }) => kind === 'ended');
    t.ok(
      ended.every(({ exchange }) => decided.has(exchange)),
      'only `ended` records may be lost',
    );
  },
);
