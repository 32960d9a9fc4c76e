/**
 * Unix sockets of one task, for programs that know nothing of proxies: one for each destination of its grant that has a local listener. What comes in there is of that
 * task, without any word of the agent's. Rules:
 * - the path is the secret: a folder with 128 random bits for a name, in one that nobody else can list; the mode is that of the agent API's socket;
 * - they go with the task, and so do the connections that came through them.
 */
import { randomBytes } from 'node:crypto';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { Fault } from '../base/fault.ts';
import type { Task } from '../tasks/task.ts';
import { cut } from './copy.ts';
import type { Bound } from './listeners.ts';

export interface TaskDoors {
  readonly folder: string;
  readonly servers: readonly Server[];
  readonly stop: AbortController;
  readonly sockets: ReadonlySet<Socket>;
  /** Destination to path. */
  readonly paths: Readonly<Record<string, string>>;
}

/** Where the sockets of tasks are, and who may use one: its folder holds one folder a task. */
export interface DoorFolder {
  readonly folder: string;
  readonly mode: number;
}

/** Length of `sun_path` on Linux, less its closing NUL. */
const LONGEST = 107;

/** Throws a Fault `listen`, with nothing left behind. */
export async function openTaskDoors(
  task: Task,
  { folder, mode, names }: DoorFolder & { readonly names: readonly string[] },
  accept: (socket: Socket, bound: Bound) => void,
): Promise<TaskDoors> {
  const own = join(folder, randomBytes(16).toString('base64url'));
  const stop = new AbortController();
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  const paths: Record<string, string> = {};
  const doors: TaskDoors = { folder: own, servers, stop, sockets, paths };
  try {
    await mkdir(own);
    await chmod(own, 0o2711);
    for (const name of names) {
      const path = join(own, `${name}.sock`);
      if (Buffer.byteLength(path) > LONGEST)
        throw new Fault('listen', `the path ${path} is too long for a Unix socket`);
      const bound: Bound = { name, forward: false, task, closing: stop.signal };
      servers.push(await listen(path, (socket) => keep(sockets, socket, () => accept(socket, bound))));
      await chmod(path, mode);
      paths[name] = path;
    }
    return doors;
  } catch (failure) {
    await closeTaskDoors(doors);
    throw Fault.from(failure, 'listen', `the sockets of task ${task.id} cannot be opened`);
  }
}

export async function closeTaskDoors({ folder, servers, stop, sockets }: TaskDoors): Promise<void> {
  for (const server of servers) server.close();
  stop.abort(new Fault('task-ended', 'the task of this socket has ended'));
  for (const socket of sockets) cut(socket);
  await rm(folder, { recursive: true, force: true });
}

function keep(sockets: Set<Socket>, socket: Socket, accept: () => void): void {
  sockets.add(socket);
  socket.once('close', () => sockets.delete(socket));
  accept();
}

function listen(path: string, accept: (socket: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, accept);
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen({ path }, () => resolve(server));
  });
}
