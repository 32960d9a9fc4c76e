/**
 * Compares Chaperone with Envoy and haproxy at the same job, on this machine, in one run. The programs are measured in turn, round after round, so that what
 * else the machine does falls on all of them. Prints the tables, writes docs/performance.md and exits with 1 when a bar is missed.
 * BENCH_QUICK=1 makes one short round and leaves the page alone.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { format } from 'prettier';
import { bars, holds, median, type Name, type Results, type Round, tables } from './bars.ts';
import { decisionCost } from './decision.ts';
import { cpuPerGigabyte, cpuPerRequest, residentOfStreaming, wrk } from './load.ts';
import { freePort, residentMegabytes, run, TESTED_CORE, untilOk } from './machine.ts';
import { chaperone, envoy, haproxy, launchUpstream, type Program } from './programs.ts';
import { setStage } from './stage.ts';

const QUICK = process.env['BENCH_QUICK'] === '1';
const ROUNDS = QUICK ? 1 : 5;
const SECONDS = QUICK ? 2 : 4;
const BODIES = QUICK ? 3 : 5;
/** Of 100 MB, each way. */
const STREAMED = 20;
const PAGE = join(import.meta.dirname, '..', 'docs', 'performance.md');

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function measure(program: Program, folder: string): Promise<Round> {
  const began = performance.now();
  await using running = program.launch();
  await untilOk(program.ready, running);
  const ready = performance.now() - began;
  const idle = await residentMegabytes(running.pid);
  // Just-in-time compilers and pools: all of them get the same time to warm up.
  await wrk(program, folder, 64, SECONDS / 2);
  const [cpu1, one] = await cpuPerRequest(program, running, () => wrk(program, folder, 1, SECONDS / 2));
  const [cpu64, many] = await cpuPerRequest(program, running, () => wrk(program, folder, 64, SECONDS));
  const loaded = await residentMegabytes(running.pid);
  const bulk = await cpuPerGigabyte(program, running, BODIES);
  const round: Round = {
    cpu64,
    cpu1,
    p50of1: one.p50,
    p99of1: one.p99,
    p50of64: many.p50,
    p99of64: many.p99,
    rate: many.perSecond,
    bulk,
    idle,
    loaded,
    ready,
  };
  say(
    `${program.name}: ${Object.entries(round)
      .map(([key, value]) => `${key} ${value.toPrecision(3)}`)
      .join(', ')}`,
  );
  return round;
}

async function emptyNode(): Promise<number> {
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const began = performance.now();
    await run(TESTED_CORE, [process.execPath, '-e', '0']);
    times.push(performance.now() - began);
  }
  return median(times);
}

async function streaming(program: Program, folder: string): Promise<[number, number]> {
  await using running = program.launch();
  await untilOk(program.ready, running);
  return residentOfStreaming(program, running, folder, STREAMED);
}

async function all(): Promise<Results> {
  await using stage = await setStage('bench');
  const { places } = stage;
  await using upstream = await launchUpstream(places);
  const programs: Record<Name, Program> = {
    chaperone: await chaperone(places, await freePort(), await freePort()),
    envoy: await envoy(places, await freePort()),
    haproxy: await haproxy(places, await freePort()),
  };
  say(`upstream: process ${upstream.pid}`);
  const rounds: Record<Name, Round[]> = { chaperone: [], envoy: [], haproxy: [] };
  for (let i = 0; i < ROUNDS; i++) {
    for (const name of ['envoy', 'chaperone', 'haproxy'] as const)
      rounds[name].push(await measure(programs[name], places.folder));
  }
  return {
    rounds,
    emptyNode: await emptyNode(),
    decision: [await decisionCost(places.folder, 10), await decisionCost(places.folder, QUICK ? 1000 : 10_000)],
    streaming: QUICK ? undefined : await streaming(programs.chaperone, places.folder),
  };
}

function page(text: string): string {
  return `# Performance

<!-- Written by \`make bench\`. Do not edit. -->

${ROUNDS} interleaved rounds on ${cpus().length} cores of ${cpus()[0]?.model.trim() ?? 'an unknown processor'}, Node ${process.versions.node}. The program under test has one
core to itself; wrk, curl and the upstream (nginx, mTLS, TLS 1.3, EC P-256) share the other. HTTP/1.1 kept alive in, pooled mTLS out, no TLS session resumed, a body of three bytes,
one worker each. All verify the upstream's certificate; Envoy and Chaperone verify its SPIFFE ID. All judge method and path by two rules; Envoy (RBAC filter) and Chaperone also write
records to a file: Envoy one a request after it ended, Chaperone one before a byte leaves and one after. haproxy writes none. CPU is user and system time of the whole process.
Absolute figures move with the machine; the ratios are taken within each round.

${text}

Run it with \`make bench\`; it needs Debian's nginx, haproxy, wrk, curl and python3-venv, and exits with 1 when a bar is missed. \`make bench-rotation\` rotates the SVID every second under load.
`;
}

const results = await all();
const text = tables(results);
say(`\n${text}`);
if (!QUICK) {
  await mkdir(join(PAGE, '..'), { recursive: true });
  await writeFile(PAGE, await format(page(text), { parser: 'markdown', printWidth: 120 }));
}
const missed = bars(results).filter((bar) => !holds(bar));
for (const { text: bar, measured, most } of missed) say(`missed: ${bar}: ${measured.toFixed(2)}, at most ${most}`);
process.exitCode = missed.length === 0 ? 0 : 1;
