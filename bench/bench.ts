/**
 * Compares Chaperone with Envoy, haproxy and http-proxy at the same job, on this machine, in one
 * run. All of them run all the time and are loaded in turn, one short load after another, so that
 * what else the machine does falls on all of them. Prints the tables, writes docs/performance.md
 * and exits with 1 when a bar is missed. BENCH_QUICK=1 makes two short rounds and leaves the page
 * alone.
 */
import { cpus, loadavg } from 'node:os';
import { bundle } from '../deploy/bundle.ts';
import { bars, holds, type Name, NAMES, type Results, type Round, type Sizes } from './bars.ts';
import { decisionCost } from './decision.ts';
import { envoy } from './envoy.ts';
import { residentOfStreaming } from './load.ts';
import { freePort, run, TESTED_CORE, untilOk } from './machine.ts';
import { loadUp, measureRound, start, type Subject, warmUp } from './measure.ts';
import { page, writePage } from './page.ts';
import {
  chaperone,
  DIST,
  haproxy,
  httpProxy,
  launchUpstream,
  type Places,
  type Ports,
  type Program,
} from './programs.ts';
import { reloadStall } from './reload.ts';
import { setStage, type Stage } from './stage.ts';
import { tables } from './tables.ts';

const QUICK = process.env['BENCH_QUICK'] === '1';
const ROUNDS = QUICK ? 2 : 5;
const SECONDS = 2;
const WARM_SECONDS = 2;
const BODIES = 3;
const STARTS = QUICK ? 3 : 7;
/** Of 100 MB, each way. */
const STREAMED = QUICK ? 3 : 20;
const REQUESTS = QUICK ? 20_000 : 1_000_000;
/** However slow a program is. */
const LOAD_SECONDS = QUICK ? 5 : 20;
const DESTINATIONS = 10_000;
const CONDITION =
  "request.method == 'GET' && request.path.startsWith('/v1/') && destination.dataClass != " +
  "'restricted'";

const say = (line: string): void => void process.stdout.write(`${line}\n`);

async function ports(): Promise<Ports> {
  return { http: await freePort(), tcp: await freePort() };
}

async function allPrograms(places: Places): Promise<Readonly<Record<Name, Program>>> {
  return {
    chaperone: await chaperone(places, { ...(await ports()), health: await freePort() }),
    envoy: await envoy(places, await ports()),
    haproxy: await haproxy(places, await ports()),
    'http-proxy': httpProxy(places, await ports()),
  };
}

/** Starts of each program in turn, with an empty Node process beside them. */
async function starts(
  programs: Readonly<Record<Name, Program>>,
): Promise<readonly [Results['emptyNode'], Starts]> {
  const empty: number[] = [];
  const all: Record<Name, { ready: number[]; idle: number }> = eachName(() => ({
    ready: [],
    idle: 0,
  }));
  for (let i = 0; i < STARTS; i++) {
    for (const name of NAMES) {
      const [ready, idle] = await start(programs[name]);
      all[name].ready.push(ready);
      all[name].idle = idle;
    }
    const began = performance.now();
    await run(TESTED_CORE, [process.execPath, '-e', '0']);
    empty.push(performance.now() - began);
  }
  return [empty, all];
}

type Starts = Readonly<Record<Name, Pick<Sizes, 'ready' | 'idle'>>>;

function eachName<T>(make: (name: Name) => T): Record<Name, T> {
  return {
    chaperone: make('chaperone'),
    envoy: make('envoy'),
    haproxy: make('haproxy'),
    'http-proxy': make('http-proxy'),
  };
}

async function rounds(
  subjects: Readonly<Record<Name, Subject>>,
  folder: string,
): Promise<Record<Name, Round[]>> {
  const all: Record<Name, Round[]> = eachName(() => []);
  for (const name of NAMES) await warmUp(subjects[name], folder, WARM_SECONDS);
  for (let i = 0; i < ROUNDS; i++) {
    for (const name of NAMES) {
      const round = await measureRound(subjects[name], folder, {
        seconds: SECONDS,
        bodies: BODIES,
      });
      all[name].push(round);
      const figures = Object.entries(round).map(
        ([key, value]) => `${key} ${Number(value).toPrecision(3)}`,
      );
      say(`${i + 1} ${name}: ${figures.join(', ')}`);
    }
  }
  return all;
}

async function sizes(
  subjects: Readonly<Record<Name, Subject>>,
  folder: string,
  begun: Starts,
): Promise<Results['sizes']> {
  const all = eachName((name): Sizes => ({ ...begun[name], loaded: 0, requests: 0 }));
  for (const name of NAMES) {
    const [requests, loaded] = await loadUp(subjects[name], folder, {
      requests: REQUESTS,
      seconds: LOAD_SECONDS,
    });
    all[name] = { ...begun[name], loaded, requests };
    say(`${name}: ${loaded.toFixed(0)} MB after ${requests} requests`);
  }
  return all;
}

async function compare({ places }: Stage): Promise<Omit<Results, 'decision' | 'reload'>> {
  const { folder } = places;
  const programs = await allPrograms(places);
  const [emptyNode, begun] = await starts(programs);
  await using running = new AsyncDisposableStack();
  const subjects = eachName((name): Subject => ({
    program: programs[name],
    running: running.use(programs[name].launch()),
  }));
  for (const { program, running: process } of Object.values(subjects))
    await untilOk(program.ready, process);
  // First, so that it is the memory after requests and not after whatever else is measured.
  const ofAll = await sizes(subjects, folder, begun);
  const inRounds = await rounds(subjects, folder);
  const { program, running: process } = subjects.chaperone;
  const streaming = await residentOfStreaming(program, process, folder, STREAMED);
  return { rounds: inRounds, sizes: ofAll, emptyNode, streaming };
}

async function all(): Promise<Results> {
  await bundle(DIST);
  await using stage = await setStage('bench');
  const { folder, endpoint } = stage.places;
  const decision = {
    few: await decisionCost(folder, 10),
    many: await decisionCost(folder, DESTINATIONS),
    condition: await decisionCost(folder, 10, CONDITION),
  };
  const reload = await reloadStall(folder, endpoint, QUICK ? DESTINATIONS / 10 : DESTINATIONS);
  await using _upstream = await launchUpstream(stage.places);
  return { ...(await compare(stage)), decision, reload };
}

const before = loadavg()[0] ?? 0;
const results = await all();
const text = tables(results);
say(`\n${text}`);
if (!QUICK) {
  const about = {
    rounds: ROUNDS,
    cores: cpus().length,
    model: cpus()[0]?.model.trim() ?? 'an unknown processor',
    load: before,
  };
  await writePage('comparison', page(text, about));
}
const missed = bars(results).filter((bar) => !holds(bar));
for (const { text: bar, measured, most } of missed)
  say(`missed: ${bar}: ${measured.toFixed(2)}, at most ${most}`);
process.exitCode = missed.length === 0 ? 0 : 1;
