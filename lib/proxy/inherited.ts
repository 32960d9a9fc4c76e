/**
 * Listening sockets that the process was started with (sd_listen_fds: LISTEN_FDS, LISTEN_PID,
 * LISTEN_FDNAMES), so that another process can take over from one that drains: the socket is the
 * supervisor's, and what connects while nobody accepts waits in it. A listener takes the one of its
 * address, or of its name.
 */
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { Fault } from '../base/fault.ts';
import { formatAuthority } from '../policy/authority.ts';

/** Of a listener: `forward`, or the name of a destination; and where it is to listen. */
export interface Place {
  readonly name: string;
  readonly host: string;
  readonly port: number;
}

export interface Inherited {
  /** How many there were. */
  readonly count: number;
  /** The socket for this place; what has connected already is given to `accept`, as is what will. */
  take(place: Place, accept: (socket: Socket) => void): Server | undefined;
  /** Closes those that nobody took; how they are called. */
  closeRest(): readonly string[];
}

interface Held {
  readonly name: string;
  readonly address: AddressInfo;
  readonly server: Server;
  /** Connected before anybody took the socket. */
  readonly waiting: Socket[];
  readonly wait: (socket: Socket) => void;
}

/** The first descriptor of sd_listen_fds(3). */
const FIRST = 3;
const MOST = 64;

/** How many sockets `env` has for process `pid`. */
export function inheritedCount({ LISTEN_FDS: fds = '', LISTEN_PID: owner }: NodeJS.ProcessEnv, pid: number): number {
  const ours = /^\d{1,2}$/.test(fds) && (owner === undefined || owner === String(pid));
  return ours ? Math.min(Number(fds), MOST) : 0;
}

/** Those that `env` names for process `pid`. Throws a Fault `listen` for a descriptor that is no listening TCP socket. */
export async function openInherited(env: NodeJS.ProcessEnv, pid: number): Promise<Inherited> {
  const count = inheritedCount(env, pid);
  const called = (env['LISTEN_FDNAMES'] ?? '').split(':');
  const held: Held[] = [];
  for (let at = 0; at < count; at += 1) held.push(await hold(FIRST + at, called[at] ?? ''));
  return {
    count,
    take(place, accept) {
      const at = held.findIndex((one) => suits(one, place));
      const found = held[at];
      if (found === undefined) return undefined;
      held.splice(at, 1);
      found.server.off('connection', found.wait).on('connection', accept);
      for (const socket of found.waiting) accept(socket);
      return found.server;
    },
    closeRest: () =>
      held.splice(0).map(({ server, waiting, name, address }) => {
        server.close();
        for (const socket of waiting) socket.destroy();
        return `${name === '' ? '' : `${name} `}${formatAuthority(address.address, address.port)}`;
      }),
  };
}

function suits({ name, address }: Held, place: Place): boolean {
  if (name === place.name) return true;
  if (address.port !== place.port) return false;
  const loopback = address.address === '127.0.0.1' || address.address === '::1';
  return place.host === address.address || (place.host === 'localhost' && loopback);
}

async function hold(fd: number, name: string): Promise<Held> {
  const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true });
  const waiting: Socket[] = [];
  const wait = (socket: Socket): void => {
    socket.on('error', () => {});
    waiting.push(socket);
  };
  server.on('connection', wait);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => reject(unusable(fd, cause.message, cause)));
    server.listen({ fd }, resolve);
  });
  const address = server.address();
  if (address !== null && typeof address === 'object') return { name, address, server, waiting, wait };
  server.close();
  throw unusable(fd, 'it is no TCP socket');
}

function unusable(fd: number, problem: string, cause?: unknown): Fault {
  return new Fault('listen', `the inherited descriptor ${fd} cannot be listened on: ${problem}`, {
    hint: 'LISTEN_FDS counts listening TCP sockets from descriptor 3 on (systemd: ListenStream=)',
    cause,
  });
}
