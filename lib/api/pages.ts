/**
 * Small HTTP pages for operators on node:http: exact paths, exact methods, nothing else; short
 * limits, since anyone in the pod network may ask.
 */
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Server as TcpServer, type AddressInfo, type Socket } from 'node:net';
import { Fault } from '../base/fault.ts';
import type { Place } from '../listen/inherited.ts';
import { pathOf, type Api } from './api.ts';

export interface Page {
  readonly status: number;
  readonly type:
    | 'text/plain; charset=utf-8'
    | 'application/json'
    | 'text/plain; version=0.0.4; charset=utf-8'
    | 'application/x-pem-file';
  readonly body: string;
}

export interface Route {
  readonly method: 'GET' | 'POST';
  /** `query` is that of the URL. */
  page(query: URLSearchParams): Page | Promise<Page>;
}

export function text(status: number, body: string): Page {
  return { status, type: 'text/plain; charset=utf-8', body: `${body}\n` };
}

export function json(status: number, body: unknown): Page {
  return { status, type: 'application/json', body: `${JSON.stringify(body)}\n` };
}

/** More are cut, or the oldest where `limits` says so. */
export const MAX_CONNECTIONS = 256;

/**
 * In milliseconds and bytes; time-outs are looked at every second, since the engine's own interval
 * is half a minute.
 */
const LIMITS = {
  requestTimeout: 5_000,
  headersTimeout: 5_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
  maxHeaderSize: 8_192,
} as const;

export interface PagesOptions {
  readonly api?: Api | undefined;
  readonly connections?: number;
  /**
   * Where all places are taken: the newest connection is cut, or the oldest, so that who holds them
   * keeps nobody out.
   */
  readonly full?: 'cut' | 'evict';
  /** Told of each connection that is cut. */
  readonly onDropped?: (() => void) | undefined;
}

/** What listens; disposing it cuts who is connected. */
export interface Pages extends AsyncDisposable {
  /** undefined of a Unix socket. */
  readonly address: AddressInfo | undefined;
  /**
   * Where the process was started with the socket, so that another listens on: accepts no more, and
   * each answer is the last of its connection.
   */
  exit(): void;
}

/** Where to listen; `fd` of a socket that the process was started with comes first. */
export type PagesPlace = Place & { readonly fd: number | undefined };

/** Listens and answers. Throws a Fault `listen` that names the address. */
export async function servePages(
  where: PagesPlace,
  routes: ReadonlyMap<string, Route>,
  { api, connections = MAX_CONNECTIONS, full = 'cut', onDropped }: PagesOptions = {},
): Promise<Pages> {
  // Not imported: an import reads every export of node:http, WebSocket among them, and that loads
  // undici, a tenth of the start.
  const { createServer } = process.getBuiltinModule('node:http');
  let leaving = false;
  const server = createServer(LIMITS, (request, response) => {
    if (leaving) response.setHeader('connection', 'close');
    void (api?.owns(pathOf(request)) === true
      ? api.answer(request, response)
      : answer(request, response, routes));
  });
  if (full === 'cut') server.maxConnections = connections;
  else evictOldest(server, connections, onDropped);
  server.on('drop', () => onDropped?.());
  await listen(server, where);
  const address = server.address();
  return {
    address: typeof address === 'object' && address !== null ? address : undefined,
    exit() {
      if (where.fd === undefined) return;
      leaving = true;
      // That of node:http would cut connections on which a request may be under way to us.
      TcpServer.prototype.close.call(server);
    },
    [Symbol.asyncDispose]: () => closed(server),
  };
}

function listen(server: Server, { fd, ...place }: PagesPlace): Promise<void> {
  return new Promise((resolve, reject) => {
    const name = 'path' in place ? place.path : `${place.host}:${place.port}`;
    server.once('error', (cause) => {
      const code = 'code' in cause ? String(cause.code) : cause.message;
      const taken = code === 'EADDRINUSE';
      const hint = taken
        ? 'another program has it, perhaps a sidecar that runs: choose another'
        : 'look at the address';
      reject(
        new Fault('listen', `${place.name} cannot listen on ${name} (${code})`, { cause, hint }),
      );
    });
    server.listen(fd === undefined ? place : { fd }, resolve);
  });
}

async function closed(server: Server): Promise<void> {
  await new Promise((resolve) => {
    server.close(resolve);
    server.closeAllConnections();
  });
}

function evictOldest(server: Server, most: number, onDropped: (() => void) | undefined): void {
  const all = new Set<Socket>();
  const idle = new Set<Socket>();
  server.on('connection', (socket: Socket) => {
    all.add(socket);
    idle.add(socket);
    socket.once('close', () => {
      all.delete(socket);
      idle.delete(socket);
    });
    if (all.size <= most) return;
    onDropped?.();
    const [oldest = socket] = idle;
    all.delete(oldest);
    idle.delete(oldest);
    oldest.destroy();
  });
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    idle.delete(socket);
    response.once('close', () => {
      if (all.has(socket)) idle.add(socket);
    });
  });
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  routes: ReadonlyMap<string, Route>,
): Promise<void> {
  const { status, type, body, allow } = await pageFor(request, routes);
  if (allow !== undefined) response.setHeader('allow', allow);
  response.writeHead(status, {
    'content-type': type,
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  });
  response.end(request.method === 'HEAD' ? undefined : body);
}

async function pageFor(
  { method, url }: IncomingMessage,
  routes: ReadonlyMap<string, Route>,
): Promise<Page & { readonly allow?: string }> {
  const [path = '', query = ''] = (url ?? '').split('?', 2);
  const route = routes.get(path);
  if (route === undefined) return text(404, `not here; there is ${[...routes.keys()].join(' ')}`);
  const asked = method === 'HEAD' ? 'GET' : method;
  if (asked !== route.method) return { ...text(405, `use ${route.method}`), allow: route.method };
  try {
    return await route.page(new URLSearchParams(query));
  } catch (failure) {
    return text(500, Fault.from(failure, 'internal').message);
  }
}
