import { readFileSync } from 'node:fs';
import type { TestConnection } from '../../support/agent.ts';
import { until } from '../../support/until.ts';
import { rawUpstream } from '../../support/upstream.ts';
import { type SidecarProcess, testSidecarProcess, noProc } from '../../support/sidecar-process.ts';
import t from 'tap';

const SPEC = '  listeners: { maxConnections: 20000 }\n';
/** Descriptors that are needed for other things. */
const OTHERS = 500;

function database(address: string, tls: string): string {
  return `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: db }
spec:
  hosts: [db.internal]
  ports: [5432]
  protocol: tcp
  upstream: { address: '${address}' }
  tls: ${tls}
  limits: { concurrent: 10000 }
`;
}

const ROWS = [
  { kind: 'plaintext', wanted: 5000, each: 64, tls: '{ mode: plaintext }' },
  {
    kind: 'mTLS',
    wanted: 1000,
    each: 256,
    tls: "{ mode: mtls, peers: ['spiffe://example.org/db'] }",
  },
] as const;

/**
 * This process has both ends of what the sidecar has the middle of: two descriptors a tunnel in
 * each. Of the sidecar's a part is for each agent and one for what is nobody's, as these tunnels
 * are.
 */
function affordable(wanted: number): number {
  const limit =
    /Max open files\s+\d+\s+(\d+)/.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1] ?? Infinity;
  return Math.min(wanted, Math.floor((Number(limit) - OTHERS) / 16));
}

async function fill(s: SidecarProcess, lines: TestConnection[], count: number): Promise<void> {
  const connect = async (): Promise<TestConnection> => {
    const line = await s.open();
    line.write('CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n');
    await line.sees(/^HTTP\/1\.1 200 [^]*\r\n\r\n/, 30_000);
    return line;
  };
  while (lines.length < count)
    lines.push(
      ...(await Promise.all(Array.from({ length: Math.min(50, count - lines.length) }, connect))),
    );
}

t.setTimeout(180_000);

for (const { kind, wanted, each, tls } of ROWS) {
  t.test(
    `holds ${wanted} idle ${kind} tunnels in bounded memory, serves beside them, and cuts all when it is stopped (R2)`,
    { skip: noProc },
    async (t) => {
      const count = affordable(wanted);
      if (count < wanted) t.comment(`${count} tunnels alone: more files may not be open here`);
      await using plain = await rawUpstream({ raw: (socket) => void socket.resume() });
      const destinations = (_api: string, echo: string): string =>
        database(kind === 'mTLS' ? echo : plain.address, tls);
      await using s = await testSidecarProcess({ more: SPEC, destinations });
      const lines: TestConnection[] = [];
      // The first hundred pay for what is made once.
      await fill(s, lines, 100);
      const before = s.memory();
      await fill(s, lines, count);
      t.ok(s.sockets() >= 2 * count);
      const kibibytes = Math.round((s.memory() - before) / (count - 100) / 1024);
      t.ok(kibibytes < each, `${kibibytes} KiB for each of ${count} tunnels`);
      const health = await fetch(`http://127.0.0.1:${s.health}/readyz`);
      t.equal(health.status, 200);
      await health.text();
      s.sidecar.child.kill('SIGTERM');
      await until('it drains', () => s.records().some(({ event }) => event === 'draining'), 10_000);
      s.sidecar.child.kill('SIGTERM');
      await s.sidecar.ended;
      const over = ({ socket, reset }: TestConnection): boolean =>
        reset || socket.destroyed || socket.readableEnded;
      await until('every agent sees its tunnel cut', () => lines.every(over), 30_000);
      for (const { socket } of lines) socket.destroy();
    },
  );
}
