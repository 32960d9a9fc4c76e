/**
 * Where the API of one agent listens: a Unix socket in a folder that keeps others out, and a
 * loopback port where that is asked for, whose callers show a token from a file. A page in a
 * browser that finds the port has no token, and is turned away for its Origin besides.
 */
import { createHash, timingSafeEqual } from 'node:crypto';
import { chmod } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import type { ListenAddress } from '../policy/model/destination.ts';
import type { Api } from './api.ts';
import { MAX_CONNECTIONS, servePages, type Pages } from './pages.ts';
import { readSecret } from './secret-file.ts';

export interface AgentDoorOptions {
  readonly socket: string;
  /** It, where the process was started with it. */
  readonly fd?: number | undefined;
  /** Of the socket. */
  readonly mode: number;
  readonly tcp: AgentTcp | undefined;
  readonly api: Api;
  /** At one time; more are cut. */
  readonly connections?: number;
  /** Told of each connection that is cut because there are too many. */
  readonly onDropped?: () => void;
}

interface AgentTcp {
  readonly address: ListenAddress;
  readonly fd?: number | undefined;
  readonly tokenFile: string;
}

/** How a supervisor may call that port. */
export const AGENT_TCP = 'agentApi.tcp';

const TOKEN = 'chaperone-token';

/**
 * The folder is there (agent-home.ts). Throws a Fault `listen`, or `config-unreadable` for a token
 * file.
 */
export async function startAgentApi(options: AgentDoorOptions): Promise<Pages> {
  const { socket, fd, mode, tcp, api, connections = MAX_CONNECTIONS, onDropped } = options;
  const limits = { connections, onDropped };
  const all = [
    await servePages({ name: 'agentApi', path: socket, fd }, new Map(), { api, ...limits }),
  ];
  await chmod(socket, mode);
  if (tcp !== undefined) {
    const place = { name: AGENT_TCP, ...tcp.address, fd: tcp.fd };
    const token = await readSecret(tcp.tokenFile);
    all.push(await servePages(place, new Map(), { api: guarded(api, token), ...limits }));
  }
  return {
    address: all[1]?.address,
    exit() {
      for (const pages of all) pages.exit();
    },
    async [Symbol.asyncDispose]() {
      await Promise.all(all.map((one) => one[Symbol.asyncDispose]()));
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
      const known =
        typeof sent === 'string' && timingSafeEqual(digest(sent), wanted) && !fromBrowser(request);
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
