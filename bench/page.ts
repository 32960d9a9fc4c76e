/**
 * docs/performance.md: what `make bench` writes, and below it what `make bench-rotation` and `make
 * bench-tasks` do; each leaves the others' parts as they are.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { format } from 'prettier';

const PAGE = join(import.meta.dirname, '..', 'docs', 'performance.md');
/** In the order in which they stand, behind the comparison. */
const SECTIONS = { rotation: '## Rotation under load', tasks: '## Tasks' } as const;

/**
 * From `perf record -e task-clock -g` with `--perf-basic-prof`, at 64 connections; not measured
 * anew by each run.
 */
const PROFILE = `Where the CPU of a small request goes, by a sampling profile: almost half is the
kernel's, and most of that its four system calls on sockets (the two writes alone, which run the
receiving end of loopback too, are three tenths of the whole); an eighth our JavaScript, a tenth
the engine's built-in functions (promises above all), an eighth V8's own runtime (JSON of the
records, strings), the rest collection, TLS, Node's streams and malloc. So a ratio of CPU per
request to Envoy's that is missed is not missed in one place: with no JavaScript at all, what is
left is more than haproxy takes. Of the memory, 50 MB are pages of Node's own program file, some
30 the engine's heap (more while it is loaded without a pause), some 20 what OpenSSL and Node hold
for 64 pairs of connections.`;

/** Replaces one part of the page. */
export async function writePage(
  part: 'comparison' | keyof typeof SECTIONS,
  text: string,
): Promise<void> {
  const page = await readFile(PAGE, 'utf8').catch(() => '# Performance\n');
  const headings = Object.values(SECTIONS);
  // Each part with its heading.
  const found = page.split(new RegExp(`^(?=(?:${headings.join('|')})$)`, 'm'));
  const kept = (heading: string): string =>
    found.find((one) => one.startsWith(`${heading}\n`)) ?? '';
  const parts = [
    part === 'comparison' ? text : (found[0] ?? ''),
    ...Object.entries(SECTIONS).map(([name, heading]) =>
      name === part ? `${heading}\n\n${text}` : kept(heading),
    ),
  ];
  await mkdir(dirname(PAGE), { recursive: true });
  const whole = parts.filter((one) => one !== '').join('\n\n');
  await writeFile(PAGE, await format(whole, { parser: 'markdown', printWidth: 120 }));
}

export interface About {
  readonly rounds: number;
  readonly cores: number;
  readonly model: string;
  /** Load average of the minute before. */
  readonly load: number;
}

export function page(tables: string, { rounds, cores, model, load }: About): string {
  return `# Performance

<!-- Written by \`make bench\`, \`make bench-rotation\` and \`make bench-tasks\`. Do not edit. -->

${rounds} interleaved rounds on ${cores} cores of ${model}, Node ${process.versions.node}. The
programs under test share one core and are loaded one after another; wrk, curl and the upstream
(nginx, mTLS, TLS 1.3, EC P-256) share the other. HTTP/1.1 kept alive in, pooled mTLS out, no TLS
session resumed, a body of three bytes, one worker each. All verify the upstream's certificate;
all but haproxy verify its SPIFFE ID. All judge method and path by the same few rules; Envoy (RBAC
filter) and Chaperone also write records to a file: Envoy one a request after it ended, Chaperone
one before a byte leaves and one after. haproxy and http-proxy write none. http-proxy is here to
show why Chaperone has a relay of its own. The TCP listener wraps bytes in mTLS: one connection
out for each in, and a record of each. New connections: the client opens one for each request.
Chaperone is the bundle, started by its own first line, with the embedded Workload API up already.
CPU is user and system time of the whole process. Absolute figures move with the machine; the
ratios are taken within each round, and what counts is their median.

${
  load > 1
    ? `The machine was not quiet: the load average was ${load.toFixed(1)} before the run. That
falls on all programs alike within a round, but it lengthens the tail of all of them, so p99 says
little beyond the ratio's sign.`
    : `The load average was ${load.toFixed(1)} before the run.`
}

${tables}

${PROFILE}

Run it with \`make bench\`; it needs Debian's nginx, haproxy, wrk, curl and python3-venv, and
exits with 1 when a bar is missed. \`make bench-rotation\` rotates the SVID every second under
load.
`;
}
