/** A sidecar as a process of its own, so that it can be killed, starved and measured. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { disposer } from '../../lib/base/dispose.ts';
import { eventually, start, type Running } from '../cmd/cli.ts';
import { agentOf, world, type Stack, type World, type WorldOptions } from './stack.ts';

export interface Apart extends World, Pick<Stack, 'get' | 'open' | 'tunnel'> {
  readonly sidecar: Running;
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

export interface ApartOptions extends WorldOptions {
  /** A command to run it under. */
  readonly under?: readonly string[];
}

/** Started and ready. */
export async function apart(options: ApartOptions = {}): Promise<Apart> {
  const opened = disposer();
  const around = opened.use(await world(options));
  const run = (): Running => start(['run', '-c', around.folder], {}, options.under);
  let sidecar = run();
  opened.defer(() => sidecar[Symbol.asyncDispose]());
  let ports = await readyPorts(sidecar);
  const files = (): readonly string[] => readdirSync(`/proc/${sidecar.child.pid}/fd`);
  return {
    ...around,
    ...agentOf(() => ports['forward'] ?? 0),
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

async function readyPorts(sidecar: Running): Promise<Readonly<Record<string, number>>> {
  const line = await eventually('it listens', () => {
    if (sidecar.child.exitCode !== null) throw new Error(`it ended: ${sidecar.text()}`);
    return /listening: ([^"\n]*)/.exec(sidecar.text())?.[1];
  });
  const ports = Object.fromEntries(
    line.split(', ').map((one) => [one.split(' ')[0] ?? '', Number(one.split(':').at(-1))]),
  );
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
