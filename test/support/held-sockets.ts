/** Listening sockets that nobody accepts on in this process, as a supervisor holds them. */
import { spawnSync } from 'node:child_process';
import * as net from 'node:net';

export interface HeldSocket {
  readonly fd: number;
  /** 0 of a Unix socket. */
  readonly port: number;
}

interface Handle {
  readonly fd: number;
  getsockname?(out: { port?: number }): number;
}

/** On a free port of 127.0.0.1, or at this path. It is there until the process ends. */
export function heldSocket(path?: string): HeldSocket {
  const make: unknown = Reflect.get(net, '_createServerHandle');
  if (typeof make !== 'function') throw new TypeError('the engine makes no handles');
  const made: unknown = path === undefined ? make('127.0.0.1', 0, 4, -1) : make(path, -1, -1);
  const handle = made as Handle;
  const { fd } = handle;
  if (typeof fd !== 'number' || fd < 0) throw new TypeError('nothing was bound');
  const name: { port?: number } = {};
  if (path === undefined) handle.getsockname?.(name);
  // Whoever listens by the engine accepts too, so another process makes it listen, and ends.
  const listen = 'require("net").createServer().listen({ fd: 3 }, () => process.exit())';
  spawnSync(process.execPath, ['-e', listen], { stdio: ['ignore', 'ignore', 'inherit', fd] });
  held.add(made);
  return { fd, port: name.port ?? 0 };
}

/** Kept from the collector, which would close them. */
const held = new Set<unknown>();
