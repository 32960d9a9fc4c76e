/**
 * The folder of one agent, made ready at start. The kernel lists the paths of Unix sockets to
 * everybody in a network namespace, so a path is never what keeps others out: the folder is, by
 * its mode and group, and by being mounted where its agent runs and nowhere else.
 */
import { chmod, chown, lstat, mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Fault } from '../base/fault.ts';
import type { AgentHome } from '../config/load/agents.ts';
import { folderMode } from '../listen/task-sockets.ts';
import { removeStale } from './admin.ts';

export interface Home extends AsyncDisposable {
  /** Path for the forward proxy. */
  readonly forward: string;
  /** Holds one folder a task. */
  readonly tasks: string;
}

/** Where the forward proxy of the agent listens. */
export function forwardSocket({ folder }: AgentHome): string {
  return join(folder, 'forward.sock');
}

/** Which of its sockets the process was started with. */
export interface SharedSockets {
  readonly api: boolean;
  readonly forward: boolean;
}

/**
 * What a process that is gone has left behind there is removed. Where another process may serve
 * the same agent, the sockets of tasks lie in a folder of each process.
 * @throws Fault `listen` where the folder is open to others, or another process serves a socket
 *         there
 */
export async function agentHome(
  home: AgentHome,
  shared: SharedSockets = NONE_SHARED,
): Promise<Home> {
  const { socket, folder, mode } = home;
  const [forward, all] = [forwardSocket(home), join(folder, 'tasks')];
  const beside = dirname(socket) !== folder;
  const alone = !shared.api && !shared.forward;
  // Whoever may use the socket must be able to reach it; a folder that is there is the operator's.
  if (beside) await mkdir(dirname(socket), { recursive: true, mode: folderMode(mode) & 0o777 });
  if (!shared.api) await removeStale(socket);
  if (beside && alone) await rm(folder, { recursive: true, force: true });
  await close(home);
  if (!shared.forward) await removeStale(forward);
  if (alone) await rm(all, { recursive: true, force: true });
  await mkdir(all, { recursive: true });
  await chmod(all, folderMode(mode));
  if (alone) return homeOf({ forward, tasks: all }, beside ? folder : all);
  await removeOfTheGone(all);
  const tasks = join(all, String(process.pid));
  await mkdir(tasks);
  await chmod(tasks, folderMode(mode));
  return homeOf({ forward, tasks }, tasks);
}

const NONE_SHARED: SharedSockets = { api: false, forward: false };

function homeOf(paths: { readonly forward: string; readonly tasks: string }, own: string): Home {
  return { ...paths, [Symbol.asyncDispose]: () => rm(own, { recursive: true, force: true }) };
}

/** Folders of processes that are gone, or that had our number before us. */
async function removeOfTheGone(tasks: string): Promise<void> {
  for (const name of await readdir(tasks)) {
    const pid = Number(name);
    if (pid !== process.pid && isRunning(pid)) continue;
    await rm(join(tasks, name), { recursive: true, force: true });
  }
}

function isRunning(pid: number): boolean {
  try {
    return Number.isSafeInteger(pid) && process.kill(pid, 0);
  } catch (failure) {
    return failure instanceof Error && 'code' in failure && failure.code === 'EPERM';
  }
}

/** Makes the folder, for its group alone. */
async function close({ folder, mode, group }: AgentHome): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const found = await lstat(folder);
  const owner = process.geteuid?.() ?? found.uid;
  if (!found.isDirectory() || found.uid !== owner) {
    const what = found.isDirectory() ? `belongs to user ${found.uid}` : 'is no folder';
    const hint = 'name a folder that is not there yet: the sidecar makes it, for this agent alone';
    throw new Fault('listen', `${folder} cannot hold the sockets of an agent: it ${what}`, {
      hint,
    });
  }
  if (group !== undefined) await give(folder, owner, group);
  // Of the group last: a change of group takes the bit off that hands it on to what is made inside.
  await chmod(folder, folderMode(mode));
}

async function give(folder: string, owner: number, group: string): Promise<void> {
  const number = /^\d+$/.test(group) ? Number(group) : await groupNumber(group);
  try {
    await chown(folder, owner, number);
  } catch (cause) {
    const hint = 'the sidecar must be a member of that group: supplementalGroups, or usermod -aG';
    throw new Fault('listen', `${folder} cannot be given to group ${group}`, { cause, hint });
  }
}

async function groupNumber(name: string): Promise<number> {
  const lines = (await readFile('/etc/group', 'utf8').catch(() => '')).split('\n');
  const found = lines.map((line) => line.split(':')).find(([one]) => one === name)?.[2];
  if (found !== undefined && /^\d+$/.test(found)) return Number(found);
  throw new Fault('listen', `there is no group ${name} in /etc/group`, {
    hint: 'write its number, in quotes',
  });
}
