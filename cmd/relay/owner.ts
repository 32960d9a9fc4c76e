/**
 * Who is at the other end of a TCP connection over loopback, by what Linux shows of sockets and
 * processes (proc_pid_net(5), proc_pid_fd(5), proc_pid_stat(5)). What cannot be read is no proof.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { Socket } from 'node:net';
import { endianness } from 'node:os';

const LITTLE = endianness() === 'LE';
/**
 * 127.0.0.1 as a table of IPv4 sockets has it, and as one of IPv6 has it (Java connects by those).
 */
const LOOPBACK = LITTLE ? '0100007F' : '7F000001';
const MAPPED = `${'0'.repeat(16)}${LITTLE ? 'FFFF0000' : '0000FFFF'}${LOOPBACK}`;
const ESTABLISHED = '01';

/** Whether a process below `root`, which itself does not count, holds the other end of `socket`. */
export function heldBelow(root: number, socket: Socket): boolean {
  const inode = otherEnd(socket);
  return inode !== undefined && descendants(root).some((pid) => holds(pid, inode));
}

/** Inode of the other end, while both ends are connected to each other. */
function otherEnd(socket: Socket): string | undefined {
  const { localPort = 0, remotePort = 0 } = socket;
  const [here, there] = [port(localPort), port(remotePort)];
  const ends = table('tcp');
  // A connection that was reset leaves its port to the next process, so this end has to be in the
  // table too.
  const own = ends.find(
    ({ local, remote }) => local === LOOPBACK + here && remote === LOOPBACK + there,
  );
  if (own === undefined || !isOf(socket, own.inode)) return undefined;
  const other =
    ends.find(({ local, remote }) => local === LOOPBACK + there && remote === LOOPBACK + here) ??
    table('tcp6').find(({ local, remote }) => local === MAPPED + there && remote === MAPPED + here);
  return other?.inode === '0' ? undefined : other?.inode;
}

function port(number: number): string {
  return `:${number.toString(16).toUpperCase().padStart(4, '0')}`;
}

interface End {
  readonly local: string;
  readonly remote: string;
  readonly inode: string;
}

function table(name: 'tcp' | 'tcp6'): readonly End[] {
  const [, ...lines] = (read(`/proc/self/net/${name}`) ?? '').trimEnd().split('\n');
  return lines.flatMap((line) => {
    const [, local = '', remote = '', state, , , , , , inode = '0'] = line.trim().split(/\s+/);
    return state === ESTABLISHED ? [{ local, remote, inode }] : [];
  });
}

function isOf(socket: Socket, inode: string): boolean {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown =
    typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  return typeof fd === 'number' && fd >= 0 && link(`/proc/self/fd/${fd}`) === `socket:[${inode}]`;
}

function descendants(root: number): readonly number[] {
  const children = new Map<number, number[]>();
  for (const name of list('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = read(`/proc/${name}/stat`) ?? '';
    // The name of the program, in parentheses, may hold anything.
    const [, parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const known = children.get(Number(parent));
    if (known === undefined) children.set(Number(parent), [Number(name)]);
    else known.push(Number(name));
  }
  const found = [...(children.get(root) ?? [])];
  for (const pid of found) found.push(...(children.get(pid) ?? []));
  return found;
}

function holds(pid: number, inode: string): boolean {
  return list(`/proc/${pid}/fd`).some(
    (fd) => link(`/proc/${pid}/fd/${fd}`) === `socket:[${inode}]`,
  );
}

function list(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return undefined;
  }
}

function link(path: string): string | undefined {
  try {
    return readlinkSync(path);
  } catch {
    return undefined;
  }
}
