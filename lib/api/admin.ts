/**
 * The operator's door: a Unix socket whose folder's mode is its guard (0700, socket 0600). `GET
 * /status` says how things stand, `POST /quitquitquit` drains and ends the process, `GET /mcp/pins`
 * lists the definitions of tools that were seen, `POST /mcp/approve?destination=…&tool=…&digest=…`
 * pins the one that was seen last, and below `/v1` are the tasks (operator-api.ts). It must never
 * be mounted where the agent runs.
 */
import { chmod, lstat, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { Fault } from '../base/fault.ts';
import type { Api } from './api.ts';
import { json, type Page, type Pages, type Route, servePages, text } from './pages.ts';

export interface AdminOptions {
  /** Absolute path. */
  readonly socket: string;
  /** It, where the process was started with it. */
  readonly fd?: number | undefined;
  readonly status: () => Readonly<Record<string, unknown>>;
  readonly quit: () => void;
  readonly tools: ToolPins;
  /** Operations on tasks, below `/v1`. */
  readonly api?: Api | undefined;
}

/** Definitions of tools of MCP servers. */
export interface ToolPins {
  readonly pins: () => readonly unknown[];
  /** Throws a Fault `usage` where that is not the definition that was seen last. */
  readonly approve: (destination: string, tool: string, digest: string) => void;
}

/** Throws a Fault `listen` when the socket is in use or its folder is open to others. */
export async function startAdmin({
  socket,
  fd,
  status,
  quit,
  tools,
  api,
}: AdminOptions): Promise<Pages> {
  await guardFolder(dirname(socket));
  if (fd === undefined) await removeStale(socket);
  const serve = async (path: string, of: number | undefined): Promise<Pages> => {
    const pages = await servePages({ name: 'adminApi', path, fd: of }, routes, { api });
    await chmod(path, 0o600);
    return pages;
  };
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
    ['/mcp/pins', { method: 'GET', page: () => json(200, tools.pins()) }],
    ['/mcp/approve', { method: 'POST', page: (query) => approve(query, tools) }],
  ]);
  const shared = await serve(socket, fd);
  if (fd === undefined) return shared;
  await removeOwnOfOthers(dirname(socket));
  const own = await serve(ownSocket(socket), undefined);
  return {
    address: undefined,
    exit: () => shared.exit(),
    async [Symbol.asyncDispose]() {
      await Promise.all([shared[Symbol.asyncDispose](), own[Symbol.asyncDispose]()]);
    },
  };
}

/**
 * Beside a socket that processes share, each has its own, by which its tasks can be reached while
 * it drains.
 */
function ownSocket(socket: string): string {
  return join(dirname(socket), `${process.pid}.sock`);
}

/** Those of processes that are gone. */
async function removeOwnOfOthers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    // Another process serves one that is left.
    if (/^\d+\.sock$/.test(name)) await removeStale(join(folder, name)).catch(() => {});
  }
}

function approve(query: URLSearchParams, tools: ToolPins): Page {
  const [destination, tool, digest] = ['destination', 'tool', 'digest'].map(
    (name) => query.get(name) ?? '',
  );
  try {
    tools.approve(destination ?? '', tool ?? '', digest ?? '');
    return text(200, 'approved');
  } catch (failure) {
    return text(409, Fault.from(failure, 'internal').describe());
  }
}

/** A folder that the sidecar alone may enter; made where it is not there. @throws Fault `listen` */
export async function guardFolder(folder: string, what = 'the admin socket'): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const { mode, uid } = await stat(folder);
  const owner = process.geteuid?.() ?? uid;
  if (uid !== owner && uid !== 0) {
    throw new Fault(
      'listen',
      `cannot put ${what} into ${folder}: the folder belongs to user ${uid}`,
      {
        hint: 'give it a folder of its own, which belongs to the user that runs the sidecar',
      },
    );
  }
  if ((mode & 0o077) !== 0) {
    throw new Fault('listen', `cannot put ${what} into ${folder}: others may enter that folder`, {
      hint: `chmod 700 ${folder}, or give it a folder of its own`,
    });
  }
}

/**
 * A socket that nobody answers on is left over from a process that is gone; anything else at that
 * path is not ours to remove.
 */
export async function removeStale(socket: string): Promise<void> {
  const found = await lstat(socket).catch(() => undefined);
  if (found === undefined) return;
  if (!found.isSocket()) {
    throw new Fault(
      'listen',
      `cannot listen on ${socket}: there is something that is not a socket`,
      {
        hint: 'remove it, or use another path',
      },
    );
  }
  if (await answers(socket)) {
    throw new Fault('listen', `cannot listen on ${socket}: another process serves it`, {
      hint: 'stop it, or use another path',
    });
  }
  await rm(socket, { force: true });
}

/** Whether a process listens there. Throws a Fault `listen` when that cannot be known. */
function answers(socket: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = connect(socket);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', (cause) => {
      const code = 'code' in cause ? cause.code : undefined;
      if (code === 'ECONNREFUSED' || code === 'ENOENT') resolve(false);
      else reject(new Fault('listen', `cannot listen on ${socket}: ${cause.message}`, { cause }));
    });
  });
}
