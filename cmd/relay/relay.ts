/**
 * A forward proxy on loopback for programs that send no credentials to a proxy: it passes each
 * request on to the sidecar's with those of the task, and judges nothing. It takes the connections
 * of processes below one alone. To a process that is not shown to be one of them it says so, and
 * passes nothing on.
 */
import { once } from 'node:events';
import {
  Agent,
  createServer,
  request,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { systemClock } from '../../lib/base/clock.ts';
import { ignore } from '../../lib/base/signal.ts';
import { heldBelow } from './owner.ts';

export interface RelayOptions {
  /** URL of the forward proxy, with the credential of the task as its user information. */
  readonly proxy: string;
  /** Those below this process may use it. */
  readonly root: number;
  /** Told of each connection that was not taken. */
  readonly refused: () => void;
}

export interface Relay extends AsyncDisposable {
  /** Without user information. */
  readonly url: string;
}

/** The longest head that the sidecar can be told to take. */
const MAX_HEAD_BYTES = 131_072;
const LINGER_MS = 1000;

/** The sidecar's forward proxy, and what it is shown. */
interface Sidecar {
  readonly host: string;
  readonly port: number;
  readonly credential: string;
}

export async function startRelay({ proxy, root, refused }: RelayOptions): Promise<Relay> {
  const { hostname, port, username, password } = new URL(proxy);
  const user = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const credential = `Basic ${Buffer.from(user).toString('base64')}`;
  const sidecar = {
    host: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: Number(port || 80),
    credential,
  };
  const open = new Set<Socket>();
  const agents = new Map<Duplex, Agent>();
  const server = serving(sidecar, agents);
  server.prependListener('connection', (socket: Socket) => {
    open.add(socket.on('error', () => socket.destroy()));
    socket.once('close', () => {
      open.delete(socket);
      agents.get(socket)?.destroy();
      agents.delete(socket);
    });
    // As many connections as the program makes, so that each ends as it would without a relay.
    if (heldBelow(root, socket)) agents.set(socket, new Agent({ keepAlive: true, maxSockets: 1 }));
    else {
      refused();
      turnAway(socket);
    }
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    async [Symbol.asyncDispose]() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

/** What a process that is none of the task's reads. */
function turnAway(socket: Socket): void {
  const why =
    'this proxy serves the programs that one `chaperone task run` started, and yours is ' +
    'not shown to be one\n';
  const fields = `content-type: text/plain\r\ncontent-length: ${why.length}\r\nconnection: close`;
  socket.end(`HTTP/1.1 403 chaperone: not a program of this task\r\n${fields}\r\n\r\n${why}`);
  systemClock.after(LINGER_MS, () => socket.destroy());
}

/** Passes on what comes by the connections that have an agent, and nothing else. */
function serving(sidecar: Sidecar, agents: ReadonlyMap<Duplex, Agent>): Server {
  const http = createServer({
    requireHostHeader: false,
    maxHeaderSize: MAX_HEAD_BYTES,
    requestTimeout: 0,
    keepAliveTimeout: 0,
    // Java offers HTTP/2 by an upgrade, which the sidecar declines and so is one request of
    // several.
    shouldUpgradeCallback: ({ headers }) => /\bwebsocket\b/i.test(headers.upgrade ?? ''),
  });
  const pass = (asked: IncomingMessage, answer: ServerResponse): void => {
    const agent = agents.get(asked.socket);
    if (agent !== undefined) passOn(asked, answer, { ...sidecar, agent });
  };
  const through =
    (last: boolean) =>
    (asked: IncomingMessage, socket: Duplex, head: Buffer): void => {
      if (agents.has(socket)) tunnel(asked, socket, { ...sidecar, head, last });
    };
  http.on('request', pass).on('checkContinue', pass);
  return http.on('connect', through(true)).on('upgrade', through(false));
}

/** With the credential of the task where the program sends none of its own. */
function fieldsOf({ rawHeaders, headers }: IncomingMessage, credential: string): readonly string[] {
  const own = headers['proxy-authorization'] !== undefined;
  return own ? rawHeaders : [...rawHeaders, 'Proxy-Authorization', credential];
}

function passOn(
  asked: IncomingMessage,
  answer: ServerResponse,
  { host, port, credential, agent }: Sidecar & { readonly agent: Agent },
): void {
  const { method, url: path, socket } = asked;
  const headers = fieldsOf(asked, credential);
  const onward = request({
    host,
    port,
    method,
    path,
    headers,
    agent,
    maxHeaderSize: MAX_HEAD_BYTES,
  });
  const framed = 'content-length' in asked.headers || 'transfer-encoding' in asked.headers;
  if (!framed) onward.useChunkedEncodingByDefault = false;
  answer.sendDate = false;
  onward.on('continue', () => answer.writeContinue());
  onward.on('response', (said) => {
    answer.writeHead(said.statusCode ?? 502, said.statusMessage, said.rawHeaders);
    answer.flushHeaders();
    said.once('end', () => answer.addTrailers(pairs(said.rawTrailers)));
    // Cut short there is cut short here.
    ignore(pipeline(said, answer), 'both are destroyed then');
  });
  onward.on('error', (cause) => {
    if (!('code' in cause) || cause.code !== 'ECONNREFUSED') socket.destroy();
    else
      answer
        .writeHead(502, 'chaperone: the sidecar does not answer', ['Connection', 'close'])
        .end();
  });
  answer.once('close', () => answer.writableFinished || onward.destroy());
  ignore(pipeline(asked, onward), 'what the answer says counts');
  onward.flushHeaders();
}

function pairs(flat: readonly string[]): [string, string][] {
  return flat.flatMap((name, i) =>
    i % 2 === 0 ? [[name, flat[i + 1] ?? ''] as [string, string]] : [],
  );
}

/**
 * What becomes a connection of bytes. A refused CONNECT is the last answer of its connection, as
 * what follows would be bytes too.
 */
function tunnel(
  asked: IncomingMessage,
  socket: Duplex,
  {
    host,
    port,
    credential,
    head,
    last,
  }: Sidecar & { readonly head: Buffer; readonly last: boolean },
): void {
  const all = pairs(fieldsOf(asked, credential));
  const kept = last ? all.filter(([name]) => !/^(?:proxy-)?connection$/i.test(name)) : all;
  const lines = [...kept, ...(last ? [['Connection', 'close'] as const] : [])].map(
    ([name, value]) => `${name}: ${value}`,
  );
  const onward = connect({ host, port, allowHalfOpen: true, noDelay: true });
  onward.write(`${asked.method} ${asked.url} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  if (head.length > 0) onward.write(head);
  ignore(pipeline(onward, socket), 'both are destroyed then');
  ignore(pipeline(socket, onward), 'both are destroyed then');
}
