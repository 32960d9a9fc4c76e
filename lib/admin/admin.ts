/**
 * The operator's door: a Unix socket whose folder's mode is its guard (0700, socket 0600). `GET /status` says how things stand, `POST /quitquitquit` drains
 * and ends the process. It must never be mounted where the agent runs.
 */
import { chmod, mkdir, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname } from 'node:path';
import { Fault } from '../base/fault.ts';
import { closePages, json, type Route, servePages, text } from './pages.ts';

export interface AdminOptions {
  /** Absolute path. */
  readonly socket: string;
  readonly status: () => Readonly<Record<string, unknown>>;
  readonly quit: () => void;
}

/** Throws a Fault `listen` when the socket is in use or its folder is open to others. */
export async function startAdmin({ socket, status, quit }: AdminOptions): Promise<AsyncDisposable> {
  await guardFolder(dirname(socket));
  await removeStale(socket);
  const routes = new Map<string, Route>([
    ['/status', { method: 'GET', page: () => json(200, status()) }],
    [
      '/quitquitquit',
      {
        method: 'POST',
        page() {
          quit();
          return text(200, 'draining');
        },
      },
    ],
  ]);
  const server = await servePages({ path: socket }, routes);
  await chmod(socket, 0o600);
  return { [Symbol.asyncDispose]: () => closePages(server) };
}

async function guardFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { mode } = await stat(folder);
  if ((mode & 0o077) !== 0) {
    throw new Fault('listen', `cannot put the admin socket into ${folder}: others may enter that folder`, {
      hint: `chmod 700 ${folder}, or give the socket a folder of its own`,
    });
  }
}

/** A socket that nobody answers on is left over from a process that is gone. */
async function removeStale(socket: string): Promise<void> {
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(socket);
    probe.once('connect', () => (probe.destroy(), resolve(true)));
    probe.once('error', () => resolve(false));
  });
  if (alive)
    throw new Fault('listen', `cannot listen on ${socket}: another process serves it`, {
      hint: 'stop it, or use another path',
    });
  await rm(socket, { force: true });
}
