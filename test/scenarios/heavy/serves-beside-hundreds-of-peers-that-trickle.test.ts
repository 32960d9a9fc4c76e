import t from 'tap';
import { until } from '../../support/until.ts';
import { testSidecarProcess, noProc } from '../../support/sidecar-process.ts';

const PEERS = 300;
const SPEC = '  listeners: { headersTimeout: 2s, idleTimeout: 2s, maxConnections: 2000 }\n';

t.setTimeout(120_000);

t.test(
  `${PEERS} agents that trickle are answered 408 in time and cut, silent ones closed, others served meanwhile (R1)`,
  { skip: noProc },
  async (t) => {
    await using s = await testSidecarProcess({ more: SPEC });
    t.equal(await s.get('/v1/customers'), 200);
    const before = s.sockets();
    const heads = await Promise.all(Array.from({ length: PEERS }, () => s.open()));
    const silent = await Promise.all(Array.from({ length: PEERS }, () => s.open()));
    const text = 'GET http://crm.internal/v1/customers HTTP/1.1\r\nX-Slow: '.padEnd(4000, 'x');
    let at = 0;
    const trickle = setInterval(() => {
      for (const { socket } of heads) if (socket.writable) socket.write(text[at] ?? 'x');
      at++;
    }, 50);
    t.teardown(() => clearInterval(trickle));
    const statuses = new Set<number>();
    const over = heads.concat(silent);
    while (!over.every(({ socket }) => socket.destroyed || socket.readableEnded)) {
      statuses.add(await s.get('/v1/customers'));
      if (at > 1200) throw new Error('they are still open after a minute');
    }
    clearInterval(trickle);
    t.ok(
      heads.every((line) => line.text.startsWith('HTTP/1.1 408')),
      'each slow head is answered 408',
    );
    t.ok(
      silent.every((line) => line.text === ''),
      'a silent connection is closed without a word',
    );
    for (const { socket } of over) socket.destroy();
    await until('no socket is left of them', () => s.sockets() <= before + 2, 20_000);
  },
);
