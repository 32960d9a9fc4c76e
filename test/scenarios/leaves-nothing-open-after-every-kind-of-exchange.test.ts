import t from 'tap';
import { until } from '../support/until.ts';
import { testSidecarProcess, noProc, type SidecarProcess } from '../support/sidecar-process.ts';

const ROUNDS = 60;
const CRM = 'Host: crm.internal\r\n';

/** Each ends its connection in a way of its own. */
const KINDS: readonly ((s: SidecarProcess) => Promise<unknown>)[] = [
  (s) => s.get('/v1/customers'),
  (s) => s.get('/v1/customers/export/all'),
  (s) => s.get('/', 'unknown.internal'),
  (s) => said(s, 'GET / HTTP/1.1\r\n\r\n'),
  (s) => said(s, 'no http at all\r\n\r\n'),
  (s) => said(s, `CONNECT x.test:1 HTTP/1.1\r\nHost: x.test:1\r\n\r\n`),
  (s) => gone(s, 'GET http://crm.internal/v1/cust'),
  (s) => gone(s, `GET http://crm.internal/v1/customers HTTP/1.1\r\n${CRM}\r\n`),
  (s) =>
    gone(
      s,
      `POST http://crm.internal/v1/customers HTTP/1.1\r\n${CRM}Content-Length: 100\r\n\r\nabc`,
    ),
  (s) => gone(s, 'CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n'),
  async (s) => (await s.tunnel()).socket.resetAndDestroy(),
  async (s) => (await s.tunnel()).socket.end(),
];

async function said(s: SidecarProcess, text: string): Promise<void> {
  const line = await s.open();
  line.write(text);
  await line.ended();
  line.socket.destroy();
}

/** Sends and is gone at once, by a reset. */
async function gone(s: SidecarProcess, text: string): Promise<void> {
  const line = await s.open();
  await new Promise<void>((resolve) => line.socket.write(text, () => resolve()));
  line.socket.resetAndDestroy();
}

t.test(
  'leaves nothing open after every kind of exchange: descriptors are as before, each has its two records (invariant 6)',
  { skip: noProc },
  async (t) => {
    await using s = await testSidecarProcess();
    for (const kind of KINDS) await kind(s);
    await s.workload.rotate();
    await until('the first ones are over', () => s.sockets() < 15, 10_000);
    const before = s.descriptors();
    for (let left = ROUNDS; left > 0; left--) await Promise.all(KINDS.map((kind) => kind(s)));
    // Pooled connections are kept for as long as their identity is current.
    await s.workload.rotate();
    await until('all of it is closed', () => s.descriptors() <= before + 2, 20_000).catch(() =>
      t.fail(`${s.descriptors()} descriptors are open, ${before} were`),
    );
    const counts = new Map<unknown, string>();
    for (const { kind, exchange } of s.records())
      if (exchange !== undefined && kind !== 'redecided')
        counts.set(exchange, (counts.get(exchange) ?? '') + (kind === 'ended' ? 'E' : 'D'));
    t.same(
      [...counts.values()].filter((kinds) => kinds !== 'DE'),
      [],
    );
    t.ok(counts.size > ROUNDS * 8, `${counts.size} exchanges`);
  },
);
