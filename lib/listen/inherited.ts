/**
 * Listening sockets that the process was started with (sd_listen_fds: LISTEN_FDS, LISTEN_PID,
 * LISTEN_FDNAMES), so that another process can take over from one that drains: the socket is the
 * supervisor's, and what connects while nobody accepts waits in it. A listener takes the one of its
 * address or path, or else of its name. Nothing is accepted from one before it is taken.
 */
import { closeSync, readFileSync, readlinkSync } from 'node:fs';
import { Fault } from '../base/fault.ts';
import type { Agent } from '../policy/model/agent.ts';
import { formatAuthority } from '../net/authority.ts';

/** Of a listener: how a supervisor may call it, and where it is to listen. */
export type Place = { readonly name: string } & (Port | { readonly path: string });

interface Port {
  readonly host: string;
  readonly port: number;
}

export interface Inherited {
  /** Number of sockets that there were. */
  readonly count: number;
  /** The descriptor for this place, to listen on; it is not given again. */
  take(place: Place): number | undefined;
  /** Closes those that nobody took; how they are called. */
  closeRest(): readonly string[];
}

/** Name by which a supervisor may call a socket of an agent: `agents.NAME.api`. */
export function agentSocketName({ name }: Agent, what: 'api' | 'forward'): string {
  return `agents.${name}.${what}`;
}

interface Held {
  readonly fd: number;
  readonly name: string;
  /** undefined: it is of another network namespace, and known by its name alone. */
  readonly at: Port | { readonly path: string } | undefined;
}

/** The first descriptor of sd_listen_fds(3). */
const FIRST = 3;
const MOST = 64;

/** Number of sockets that `env` has for process `pid`. */
function inheritedCount(
  { LISTEN_FDS: fds = '', LISTEN_PID: owner }: NodeJS.ProcessEnv,
  pid: number,
): number {
  const ours = /^\d{1,2}$/.test(fds) && (owner === undefined || owner === String(pid));
  return ours ? Math.min(Number(fds), MOST) : 0;
}

/**
 * Those that `env` names for process `pid`. Throws a Fault `listen` for a descriptor that is no
 * socket.
 */
export function openInherited(env: NodeJS.ProcessEnv, pid: number): Inherited {
  const count = inheritedCount(env, pid);
  const called = (env['LISTEN_FDNAMES'] ?? '').split(':');
  const places = count === 0 ? new Map<string, Held['at']>() : placesByInode();
  const held: Held[] = [];
  for (let i = 0; i < count; i += 1) {
    const fd = FIRST + i;
    held.push({ fd, name: called[i] ?? '', at: places.get(inodeOf(fd)) });
  }
  return {
    count,
    take(place) {
      const byPlace = held.findIndex(({ at }) => at !== undefined && isSame(at, place));
      const index = byPlace === -1 ? held.findIndex(({ name }) => name === place.name) : byPlace;
      return index === -1 ? undefined : held.splice(index, 1)[0]?.fd;
    },
    closeRest: () =>
      held.splice(0).map(({ fd, name, at }) => {
        closeSync(fd);
        const where =
          at === undefined ? [] : ['path' in at ? at.path : formatAuthority(at.host, at.port)];
        return [...(name === '' ? [] : [name]), ...where].join(' ') || `descriptor ${fd}`;
      }),
  };
}

function isSame(at: Port | { readonly path: string }, place: Place): boolean {
  if ('path' in at || 'path' in place)
    return 'path' in at && 'path' in place && at.path === place.path;
  if (at.port !== place.port) return false;
  const loopback = at.host === '127.0.0.1' || at.host === '::1';
  return place.host === at.host || (place.host === 'localhost' && loopback);
}

function inodeOf(fd: number): string {
  let target = 'nothing';
  try {
    target = readlinkSync(`/proc/self/fd/${fd}`);
  } catch {
    // Nothing is open there.
  }
  const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
  if (inode !== undefined) return inode;
  throw new Fault(
    'listen',
    `the inherited descriptor ${fd} cannot be listened on: it is no socket`,
    {
      hint: 'LISTEN_FDS counts listening sockets from descriptor 3 on (systemd: ListenStream=)',
    },
  );
}

/** State of a TCP socket that listens, in /proc/net/tcp. */
const LISTENS = '0A';

/** Every listening socket of this network namespace (proc_net(5)), by its inode. */
function placesByInode(): Map<string, Held['at']> {
  const found = new Map<string, Held['at']>();
  for (const line of linesOf('tcp').concat(linesOf('tcp6'))) {
    const [, local = '', , state, , , , , , inode] = line.trim().split(/\s+/);
    const [address = '', port = ''] = local.split(':');
    if (state === LISTENS && inode !== undefined)
      found.set(inode, { host: addressText(address), port: Number.parseInt(port, 16) });
  }
  for (const line of linesOf('unix')) {
    const [, inode, path] = /^\S+ \S+ \S+ \S+ \S+ \S+ +(\d+) (\/.*)$/.exec(line) ?? [];
    if (inode !== undefined && path !== undefined) found.set(inode, { path });
  }
  return found;
}

function linesOf(table: string): string[] {
  try {
    return readFileSync(`/proc/self/net/${table}`, 'utf8').split('\n').slice(1);
  } catch {
    // A kernel without it: names say what is what.
    return [];
  }
}

/** From words of 32 bits in the order of the machine, which is little-endian wherever this runs. */
function addressText(hex: string): string {
  const words = hex.match(/.{8}/g) ?? [];
  const bytes = words.flatMap((word) => [...Buffer.from(word, 'hex').reverse()]);
  if (bytes.length === 4) return bytes.join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return new URL(`http://[${groups.join(':')}]/`).hostname.slice(1, -1);
}
