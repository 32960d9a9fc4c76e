/**
 * Unix sockets in the folder of an agent. Those of one task are for programs that know nothing of
 * proxies: one for each destination of its grant that has a local listener. Rules:
 * - what comes in by one is of that agent, and of that task, without any word of the agent's;
 * - the kernel lists paths to everybody, so none is a secret: the mode and the group of the folder
 *   keep others out (lib/api/agent-folder.ts), and what is made in it inherits both;
 * - those of a task go with it, and so do the connections that came through them.
 */
import { chmod, mkdir, rm } from 'node:fs/promises';
import { type Server, type Socket, createServer } from 'node:net';
import { join } from 'node:path';
import { Fault } from '../base/fault.ts';
import { abortSocket } from '../http1/sockets.ts';
import type { Task } from '../tasks/task.ts';
import type { Bound } from './bound.ts';

export interface TaskSockets {
  readonly folder: string;
  readonly servers: readonly Server[];
  readonly stop: AbortController;
  readonly sockets: ReadonlySet<Socket>;
  /** Destination to path. */
  readonly paths: Readonly<Record<string, string>>;
}

/** The folder of the sockets of tasks, which holds one folder a task. */
export interface SocketFolder {
  readonly folder: string;
  /** Of the sockets. */
  readonly mode: number;
}

/**
 * Of a folder whose sockets have this mode: who may use them may enter, and what is made inside has
 * its group.
 */
export function folderMode(mode: number): number {
  return 0o2700 | ((mode & 0o060) === 0 ? 0 : 0o050) | ((mode & 0o006) === 0 ? 0 : 0o005);
}

let tasks = 0;

/** Length of `sun_path` on Linux, less its closing NUL. */
const LONGEST = 107;

/** Throws a Fault `listen`, with nothing left behind. */
export async function openTaskSockets(
  task: Task,
  { folder, mode, names }: SocketFolder & { readonly names: readonly string[] },
  accept: (socket: Socket, bound: Bound) => void,
): Promise<TaskSockets> {
  const own = join(folder, (tasks += 1).toString(36));
  const stop = new AbortController();
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  const paths: Record<string, string> = {};
  const opened: TaskSockets = { folder: own, servers, stop, sockets, paths };
  try {
    await mkdir(own);
    await chmod(own, folderMode(mode));
    for (const name of names) {
      const path = join(own, `${name}.sock`);
      if (Buffer.byteLength(path) > LONGEST)
        throw new Fault('listen', `the path ${path} is too long for a Unix socket`);
      const bound: Bound = {
        name,
        forward: false,
        agent: task.agent,
        task,
        closing: stop.signal,
        lastCall: stop.signal,
      };
      servers.push(
        await listenAt({ path, mode }, (socket) =>
          keep(sockets, socket, () => accept(socket, bound)),
        ),
      );
      paths[name] = path;
    }
    return opened;
  } catch (failure) {
    await closeTaskSockets(opened);
    throw Fault.from(failure, 'listen', `the sockets of task ${task.id} cannot be opened`);
  }
}

export async function closeTaskSockets({
  folder,
  servers,
  stop,
  sockets,
}: TaskSockets): Promise<void> {
  for (const server of servers) server.close();
  stop.abort(new Fault('task-ended', 'the task of this socket has ended'));
  for (const socket of sockets) abortSocket(socket);
  await rm(folder, { recursive: true, force: true });
}

function keep(sockets: Set<Socket>, socket: Socket, accept: () => void): void {
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
  accept();
}

export interface UnixPlace {
  readonly path: string;
  readonly mode: number;
  /** The socket, where the process was started with it. */
  readonly fd?: number | undefined;
}

/** Listens on a Unix socket of this mode. */
export async function listenAt(
  { path, mode, fd }: UnixPlace,
  accept: (socket: Socket) => void,
): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, accept);
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(fd === undefined ? { path } : { fd }, resolve);
  });
  await chmod(path, mode);
  return server;
}
