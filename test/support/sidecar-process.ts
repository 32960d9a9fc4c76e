/** A sidecar as a process of its own, so that it can be killed, starved and measured. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Test } from 'tap';
import { disposer } from '../../lib/base/dispose.ts';
import type { HeldSocket } from './held-sockets.ts';
import {
  CHAPERONE,
  eventually,
  portsOf,
  startChaperone,
  startProgram,
  type TestProgram,
} from './program.ts';
import {
  sidecarAgent,
  sidecarSetup,
  type SidecarAgent,
  type SidecarSetup,
  type SidecarOptions,
} from './sidecar.ts';

export interface SidecarProcess extends SidecarSetup, SidecarAgent {
  readonly sidecar: TestProgram;
  readonly health: number;
  /** Descriptors that are open in it. */
  descriptors(): number;
  /** Of those, sockets. */
  sockets(): number;
  /** Resident memory in bytes. */
  memory(): number;
  /** A new process on the same documents, once the one before has ended. */
  restart(): Promise<void>;
}

export interface SidecarProcessOptions extends SidecarOptions {
  /** A command to run it under. */
  readonly under?: readonly string[];
}

/** Started and ready. */
export async function testSidecarProcess(
  options: SidecarProcessOptions = {},
): Promise<SidecarProcess> {
  const opened = disposer();
  const around = opened.use(await sidecarSetup(options));
  const run = (): TestProgram => startChaperone(['run', '-c', around.folder], {}, options.under);
  let sidecar = run();
  opened.defer(() => sidecar[Symbol.asyncDispose]());
  let ports = await readyPorts(sidecar);
  const files = (): readonly string[] => readdirSync(`/proc/${sidecar.child.pid}/fd`);
  return {
    ...around,
    ...sidecarAgent(() => ports['forward'] ?? 0),
    get sidecar() {
      return sidecar;
    },
    get health() {
      return ports['health'] ?? 0;
    },
    descriptors: () => files().length,
    sockets: () => files().filter((fd) => isSocket(`/proc/${sidecar.child.pid}/fd/${fd}`)).length,
    memory: () =>
      Number(
        /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${sidecar.child.pid}/status`, 'utf8'))?.[1],
      ) * 1024,
    async restart() {
      await sidecar.ended;
      sidecar = run();
      ports = await readyPorts(sidecar);
    },
    [Symbol.asyncDispose]: () => opened[Symbol.asyncDispose](),
  };
}

async function readyPorts(sidecar: TestProgram): Promise<Readonly<Record<string, number>>> {
  const ports = await portsOf(sidecar);
  await eventually('it is ready', async () => {
    const answer = await fetch(`http://127.0.0.1:${ports['health']}/readyz`).catch(() => undefined);
    await answer?.text();
    return answer?.status === 200;
  });
  return ports;
}

/** A descriptor may be gone by now. */
function isSocket(path: string): boolean {
  try {
    return readlinkSync(path).startsWith('socket:');
  } catch {
    return false;
  }
}

/** Why the scenarios that look into /proc cannot run here. */
export const noProc: string | false = process.platform === 'linux' ? false : 'needs /proc of Linux';

/** One that is started with listening sockets, as a supervisor starts it. */
export function startInheriting(
  t: Test,
  folder: string,
  sockets: readonly HeldSocket[],
  env: Readonly<Record<string, string>> = {},
): TestProgram {
  // LISTEN_PID is known to the process alone, so a shell says it and becomes it.
  const command = `LISTEN_PID=$$ exec "${process.execPath}" "${CHAPERONE}" run -c "${folder}"`;
  const own = { PATH: process.env['PATH'] ?? '', LISTEN_FDS: String(sockets.length) };
  const program = startProgram(['sh', '-c', command], {
    env: { ...own, ...env },
    descriptors: sockets.map(({ fd }) => fd),
  });
  t.teardown(() => program[Symbol.asyncDispose]());
  return program;
}
