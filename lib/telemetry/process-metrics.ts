/** What the process itself uses, by the names that Prometheus' client libraries have for it. */
import { readdirSync, readFileSync } from 'node:fs';
import { Counter, Gauge, type Registry } from 'prom-client';

/** Read at each scrape; what cannot be read is not shown. */
const GAUGES: readonly (readonly [string, string, () => number | undefined])[] = [
  ['process_resident_memory_bytes', 'Resident memory', () => process.memoryUsage.rss()],
  [
    'process_start_time_seconds',
    'Start of the process, seconds since the epoch',
    () => performance.timeOrigin / 1000,
  ],
  ['process_open_fds', 'Open file descriptors', openDescriptors],
  ['process_max_fds', 'How many descriptors may be open', mostDescriptors],
];

export function processMetrics(registry: Registry): void {
  const registers = [registry];
  new Counter({
    name: 'process_cpu_seconds_total',
    help: 'User and system time spent',
    registers,
    collect() {
      const { user, system } = process.cpuUsage();
      this.reset();
      this.inc((user + system) / 1_000_000);
    },
  });
  for (const [name, help, read] of GAUGES) {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        const value = read();
        if (value === undefined) this.remove();
        else this.set(value);
      },
    });
  }
}

/** Without the one that this takes to read. */
function openDescriptors(): number | undefined {
  return tried(() => readdirSync('/proc/self/fd').length - 1);
}

function mostDescriptors(): number | undefined {
  const [, soft] =
    /^Max open files +(\d+)/m.exec(tried(() => readFileSync('/proc/self/limits', 'utf8')) ?? '') ??
    [];
  return soft === undefined ? undefined : Number(soft);
}

function tried<T>(act: () => T): T | undefined {
  try {
    return act();
  } catch {
    return undefined;
  }
}
