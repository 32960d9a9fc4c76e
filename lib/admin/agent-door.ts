/**
 * Where the API of one agent listens: a Unix socket in a folder that keeps others out, and a loopback
 * port where that is asked for, whose callers show a token from a file. A page in a browser that finds
 * the port has no token, and is turned away for its Origin besides.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { chmod } from 'node:fs/promises';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { ListenAddress } from '../policy/model.ts';
import type { Api } from './api.ts';
import { closePages, MOST_CONNECTIONS, servePages } from './pages.ts';
import { readSecret } from './secret-file.ts';

export interface AgentDoorOptions {
  readonly socket: string;
  /** Of the socket. */
  readonly mode: number;
  readonly tcp: { readonly address: ListenAddress; readonly tokenFile: string } | undefined;
  readonly api: Api;
  /** At one time; more are cut. */
  readonly connections?: number;
  /** Told of each connection that is cut because there are too many. */
  readonly onDropped?: () => void;
}

export interface AgentDoor extends AsyncDisposable {
  readonly address: AddressInfo | undefined;
}

const TOKEN = 'chaperone-token';

/** The folder is there (agent-home.ts). Throws a Fault `listen`, or `config-unreadable` for a token file. */
export async function startAgentDoor(options: AgentDoorOptions): Promise<AgentDoor> {
  const { socket, mode, tcp, api, connections = MOST_CONNECTIONS, onDropped } = options;
  const limits = { connections, onDropped };
  const servers: Server[] = [await servePages({ path: socket }, new Map(), { api, ...limits })];
  await chmod(socket, mode);
  let address: AddressInfo | undefined;
  if (tcp !== undefined) {
    const server = await servePages(tcp.address, new Map(), {
      api: guarded(api, await readSecret(tcp.tokenFile)),
      ...limits,
    });
    servers.push(server);
    const bound = server.address();
    if (typeof bound === 'object' && bound !== null) address = bound;
  }
  return {
    address,
    async [Symbol.asyncDispose]() {
      await Promise.all(servers.map(closePages));
    },
  };
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
