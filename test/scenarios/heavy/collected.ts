/**
 * The sidecar as a process that collects its garbage when it is asked, and then says what it holds:
 * memory that is merely not collected yet is no leak.
 */
import { compose } from '../../../cmd/compose.ts';
import { systemClock } from '../../../lib/base/clock.ts';

const sidecar = await compose({
  paths: process.argv.slice(2),
  env: {},
  clock: systemClock,
  logger: () => ({ log: () => {} }),
});

process.on('message', () => {
  globalThis.gc?.();
  // What is freed by finalizers is freed after this turn.
  setImmediate(() => {
    globalThis.gc?.();
    const { rss, heapUsed, external } = process.memoryUsage();
    process.send?.({ resident: rss, reachable: heapUsed + external });
  });
});
process.send?.({ port: sidecar.addresses.get('forward')?.port });
