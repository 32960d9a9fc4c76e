/**
 * Where the agent API listens: a Unix socket whose mode says who may use it, and a loopback port where that is asked for, whose callers show a token from a file.
 * A page in a browser that finds the port has no token, and is turned away for its Origin besides.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { chmod, mkdir, rm } from 'node:fs/promises';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { dirname } from 'node:path';
import type { ListenAddress } from '../policy/model.ts';
import { removeStale } from './admin.ts';
import type { Api } from './api.ts';
import { closePages, servePages } from './pages.ts';
import { readSecret } from './secret-file.ts';

export interface AgentDoorOptions {
  readonly socket: string;
  /** Of the socket. */
  readonly mode: number;
  readonly tcp: { readonly address: ListenAddress; readonly tokenFile: string } | undefined;
  readonly api: Api;
}

export interface AgentDoor extends AsyncDisposable {
  readonly address: AddressInfo | undefined;
}

/** The folder of the sockets of tasks, beside that of the API: a name that nothing else has, since it is emptied at each start. */
export function taskFolder(socket: string): string {
  return `${socket}.d`;
}

const TOKEN = 'chaperone-token';

/** Throws a Fault `listen`, or `config-unreadable` for a token file. */
export async function startAgentDoor({ socket, mode, tcp, api }: AgentDoorOptions): Promise<AgentDoor> {
  const folder = dirname(socket);
  // Whoever may use the socket must be able to reach it; a folder that is there already is the operator's.
  await mkdir(folder, {
    recursive: true,
    mode: 0o700 | ((mode & 0o060) === 0 ? 0 : 0o050) | ((mode & 0o006) === 0 ? 0 : 0o005),
  });
  await removeStale(socket);
  await emptyTaskFolder(taskFolder(socket));
  const servers: Server[] = [await servePages({ path: socket }, new Map(), api)];
  await chmod(socket, mode);
  let address: AddressInfo | undefined;
  if (tcp !== undefined) {
    const server = await servePages(tcp.address, new Map(), guarded(api, await readSecret(tcp.tokenFile)));
    servers.push(server);
    const bound = server.address();
    if (typeof bound === 'object' && bound !== null) address = bound;
  }
  return {
    address,
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map(closePages));
      await rm(taskFolder(socket), { recursive: true, force: true });
    },
  };
}

/** Whoever knows the name of a folder in it may enter that, and nobody else may list them. What is in it has the group of the API's folder, where that hands its group on. */
async function emptyTaskFolder(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  await chmod(folder, 0o2711);
}

function guarded(api: Api, token: string): Api {
  const wanted = digest(token);
  return {
    ...api,
    owns: () => true,
    answer(request, response) {
      const sent = request.headers[TOKEN];
      const known = typeof sent === 'string' && timingSafeEqual(digest(sent), wanted) && !fromBrowser(request);
      if (known) return api.answer(request, response);
      const refusal = { error: 'denied', message: `this API asks for its token in ${TOKEN}` };
      response.writeHead(403, { 'content-type': 'application/json' });
      response.end(`${JSON.stringify(refusal)}\n`);
      return Promise.resolve();
    },
  };
}

function fromBrowser({ headers }: IncomingMessage): boolean {
  return headers.origin !== undefined || headers['sec-fetch-site'] !== undefined;
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}
