/** A large configuration is loaded beside live traffic, in turns. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { loadConfig } from '../../lib/config/load/load.ts';

const SIDECAR = `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: many }
spec: { defaults: { task: optional }, audit: { sinks: [{ stdout: true }] }, forward: { address: 127.0.0.1:15001 } }
`;
const destination = (n: number): string => `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: d${n} }
spec:
  hosts: [d${n}.internal]
  ports: [80]
  upstream: { address: 127.0.0.1:8443 }
  tls: { mode: mtls, peers: ['spiffe://example.org/upstream'] }
  rules:
    - { name: read, effect: allow, action: read, http: { methods: [GET], paths: [/v1/**] } }
    - { name: write, effect: allow, action: write, http: { methods: [POST], paths: [/v2/**] } }
`;

t.test(
  'no turn of the event loop belongs to the loader for long, however many documents one file holds',
  async (t) => {
    const file = join(t.testdir(), 'many.yaml');
    writeFileSync(
      file,
      [SIDECAR, ...Array.from({ length: 1000 }, (_, n) => destination(n))].join('---\n'),
    );
    const before = cpuMs();
    let longest = 0;
    let turns = 0;
    let over = false;
    let last = before;
    const look = (): void => {
      const now = cpuMs();
      longest = Math.max(longest, now - last);
      last = now;
      turns += 1;
      if (!over) setImmediate(look);
    };
    setImmediate(look);
    t.teardown(() => (over = true));
    const { policy } = await loadConfig([file], { generation: 1 });
    over = true;
    const all = cpuMs() - before;
    t.equal(policy.destinations.length, 1000);
    t.ok(turns > 10, `${turns} turns`);
    t.ok(longest < all / 2, `the longest turn took ${longest.toFixed(0)} of ${all.toFixed(0)} ms`);
  },
);

/** Of this thread: other programs on the machine do not count. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}
