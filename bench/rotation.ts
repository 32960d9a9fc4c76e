/**
 * SVIDs rotate every second while requests keep coming: none may fail, and the upstream must see
 * every new serial. BENCH_SECONDS sets how long, 60 by default. Exits with 1 otherwise.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle } from '../deploy/bundle.ts';
import type { DevWorkloadApi } from '../lib/dev/workload-api.ts';
import { wrk } from './load.ts';
import { freePort, untilOk } from './machine.ts';
import { writePage } from './page.ts';
import { chaperone, DIST, launchUpstream } from './programs.ts';
import { setStage } from './stage.ts';

const SECONDS = Number(process.env['BENCH_SECONDS'] ?? 60);
const EVERY_MS = 1000;

const say = (line: string): void => void process.stdout.write(`${line}\n`);

/** Rotates once a second until the promise is settled. */
async function rotate(workloadApi: DevWorkloadApi, until: Promise<unknown>): Promise<void> {
  let over = false;
  void until.finally(() => (over = true));
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
    if (over) return;
    await workloadApi.rotate();
  }
}

async function main(): Promise<boolean> {
  await bundle(DIST);
  await using stage = await setStage('rotation');
  const { places, workloadApi, serials: issued } = stage;
  const log = join(places.folder, 'serials.log');
  await using upstream = await launchUpstream(places, log);
  const program = await chaperone(places, {
    http: await freePort(),
    tcp: await freePort(),
    health: await freePort(),
  });
  await using sidecar = program.launch();
  await untilOk(program.ready, sidecar);
  say(`sidecar: process ${sidecar.pid}, upstream: process ${upstream.pid}, ${SECONDS} s`);
  const load = wrk(program, places.folder, { connections: 64, seconds: SECONDS });
  await rotate(workloadApi, load);
  // The last one may have come with the end of the load.
  const serials = issued.slice(0, -1);
  const { requests, failures, p99 } = await load;
  const seen = new Set((await readFile(log, 'utf8')).split('\n'));
  const unseen = serials.filter((serial) => !seen.has(serial));
  say(`${requests} requests, ${failures} failed, p99 ${p99.toFixed(1)} ms`);
  say(`${serials.length} serials, ${unseen.length} of them never seen by the upstream`);
  await writePage(
    'rotation',
    `SVIDs rotated every second for ${SECONDS} s while 64 connections kept asking: ${requests}
requests, ${failures} of them failed; of ${serials.length} new serials the upstream saw all but
${unseen.length}; p99 ${p99.toFixed(1)} ms.`,
  );
  return failures === 0 && unseen.length === 0 && serials.length > 0 && requests > 0;
}

process.exitCode = (await main()) ? 0 : 1;
