import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecar } from '../support/sidecar.ts';

t.test(
  'loses no request when identities rotate: agent and upstreams get new SVIDs while requests run (invariant 8)',
  async (t) => {
    await using s = await testSidecar();
    const statuses: number[] = [];
    let running = true;
    let asked = 0;
    const workers = Array.from({ length: 8 }, async () => {
      // Each keeps its connection, as clients do.
      while (running) {
        const line = await s.open();
        for (let i = 1; running && i <= 50; i += 1) {
          line.write('GET http://crm.internal/v1/customers HTTP/1.1\r\nHost: crm.internal\r\n\r\n');
          const wanted = i;
          asked += 1;
          await until(
            'the answer',
            () =>
              (line.text.match(/^HTTP\/1\.1 /gm)?.length ?? 0) >= wanted || line.socket.destroyed,
          );
        }
        statuses.push(
          ...[...line.text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(([, status]) => Number(status)),
        );
        line.socket.destroy();
      }
    });
    const tunnel = await s.tunnel();
    const serials = new Set<string>();
    for (let round = 0; round < 12; round += 1) {
      const before = s.api.requests().at(-1)?.peer.serial;
      await s.workload.rotate();
      const serial = await until('the upstream sees the new SVID', () => {
        const now = s.api.requests().at(-1)?.peer.serial;
        return now === before ? undefined : now;
      });
      serials.add(serial);
    }
    running = false;
    await Promise.all(workers);
    t.equal(serials.size, 12);
    t.ok(asked > 100, `${asked} requests`);
    t.equal(statuses.length, asked, 'each was answered');
    t.same(
      statuses.filter((status) => status !== 200),
      [],
    );
    tunnel.write('pong');
    await tunnel.sees('pong');
    t.notOk(tunnel.reset, 'an open tunnel outlives its SVID');
    t.same(s.api.refused(), []);
  },
);
