/**
 * How long a reload of ten thousand destinations keeps the event loop from everybody else, in a
 * sidecar as `chaperone run` puts it together.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { compose } from '../cmd/compose.ts';
import { systemClock } from '../lib/base/clock.ts';
import type { Stall } from './bars.ts';

const RULES = 10;

/** One file with so many destinations of ten rules each, loaded, changed and loaded again. */
export async function reloadStall(
  folder: string,
  endpoint: string,
  destinations: number,
): Promise<Stall> {
  const file = join(folder, `reload-${destinations}.yaml`);
  const documents = Array.from({ length: destinations }, (_, n) => destination(n));
  const write = (allowed: string): Promise<void> =>
    writeFile(
      file,
      [sidecar(folder, endpoint), ...documents].join('---\n').replaceAll('/changes/', allowed),
    );
  await write('/a/');
  await using running = await compose({
    paths: [file],
    env: {},
    clock: systemClock,
    logger: () => ({
      log: (level, _, text) => void (level === 'error' && process.stderr.write(`${text}\n`)),
    }),
  });
  await write('/b/');
  const watch = watchTurns();
  const began = performance.now();
  await running.reload();
  const whole = performance.now() - began;
  return { ...watch.stop(), whole, destinations };
}

/** Looks at the clock and at this thread's CPU in each turn of the event loop. */
function watchTurns(): { stop(): { readonly cpu: number; readonly wall: number } } {
  let over = false;
  let longest = { cpu: 0, wall: 0 };
  let at = performance.now();
  let used = cpuMs();
  const look = (): void => {
    const [now, cpu] = [performance.now(), cpuMs()];
    longest = { cpu: Math.max(longest.cpu, cpu - used), wall: Math.max(longest.wall, now - at) };
    [at, used] = [now, cpu];
    if (!over) setImmediate(look);
  };
  setImmediate(look);
  return {
    stop() {
      over = true;
      look();
      return longest;
    },
  };
}

function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

const sidecar = (folder: string, endpoint: string): string => `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: bench }
spec:
  identity: { workloadApi: '${endpoint}' }
  forward: { address: 127.0.0.1:0 }
  audit: { sinks: [{ file: ${join(folder, 'reload.jsonl')} }] }
  defaults: { task: optional }
`;

const ruleOf = (rule: number): string => `    - name: use-${rule}
      effect: allow
      action: read
      http: { methods: [GET], paths: [/v${rule}/changes/**] }
`;

const destination = (n: number): string => `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: d${n} }
spec:
  hosts: [d${n}.internal]
  ports: [80]
  upstream: { address: 127.0.0.1:8443 }
  tls: { mode: mtls, peers: ['spiffe://bench.local/upstream'] }
  rules:
${Array.from({ length: RULES }, (_, rule) => ruleOf(rule)).join('')}`;
