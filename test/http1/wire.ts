/**
 * Messages as bytes for the tests: read with our parser in any split, and conversations over real
 * sockets. Nothing here is a stand-in: the code under test is the one the connections use, and
 * sockets are TCP on loopback.
 */
import net from 'node:net';
import { PassThrough } from 'node:stream';
import { type Clock, systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import { REQUEST, RESPONSE, tooLarge } from '../../lib/http/field-lines.ts';
import { type HttpLimits, httpLimits } from '../../lib/http/limits.ts';
import type { Body, Fields, RequestHead, ResponseHead } from '../../lib/http/message.ts';
import type { Connection, ServerExchange } from '../../lib/http/server-exchange.ts';
import { IncomingBody, hasBody } from '../../lib/http1/body.ts';
import { parseRequestHead, parseResponseHead } from '../../lib/http1/head.ts';
import { ReadBuffer } from '../../lib/http1/read-buffer.ts';
import { serveConnection } from '../../lib/http1/server.ts';

export type Outcome =
  | {
      readonly head: RequestHead | ResponseHead;
      readonly body: string;
      readonly trailers: Fields;
      readonly rest: string;
    }
  | { readonly fault: string; readonly message: string }
  | 'incomplete';

export interface Reading {
  readonly limits?: HttpLimits;
  /** Set for a response: the method that asked for it. */
  readonly to?: string;
  /** Whether the peer ends after the bytes. */
  readonly end?: boolean;
}

/** What our reader makes of these chunks, arriving one after the other. */
export function read(
  chunks: readonly Buffer[],
  { limits = httpLimits(), to, end = false }: Reading = {},
): Outcome {
  const input = new ReadBuffer(new PassThrough());
  const rules = to === undefined ? REQUEST : RESPONSE;
  const owner = {
    side: to === undefined ? 'request' : 'response',
    bodyEnded() {},
    bodyRefused() {},
    bodyWaiting() {},
  } as const;
  let head: RequestHead | ResponseHead | undefined;
  let body: IncomingBody | undefined;
  let complete = false;
  const pieces: Buffer[] = [];
  const parse = (text: string) =>
    to === undefined ? parseRequestHead(text, limits) : parseResponseHead(text, to, limits);
  const step = (): void => {
    if (head === undefined) {
      head = input.takeBlock<RequestHead | ResponseHead>(parse, limits.headBytes, (most) =>
        tooLarge(rules, `${most}`),
      );
      if (head === undefined) return;
      if (hasBody(head.framing)) body = new IncomingBody(head.framing, input, owner, limits);
    }
    if (complete) return;
    for (let piece = body?.poll() ?? 'end'; piece !== 'later'; piece = body?.poll() ?? 'end') {
      if (piece === 'end') {
        complete = true;
        return;
      }
      pieces.push(piece);
    }
  };
  try {
    for (const chunk of chunks) {
      // A copy, as bodies may move data within what they were given; pieces are kept as they are,
      // so that one written to later would show.
      input.give(Buffer.from(chunk));
      step();
    }
    input.ended = end;
    if (end) step();
  } catch (failure) {
    if (!(failure instanceof Fault)) throw failure;
    return { fault: failure.code, message: failure.message };
  }
  if (head === undefined || !complete) return 'incomplete';
  return {
    head,
    body: Buffer.concat(pieces).toString('latin1'),
    trailers: body?.trailers() ?? [],
    rest: input.takeAll().toString('latin1'),
  };
}

/** As one buffer, one byte at a time, and cut in two at every position. */
export function splits(bytes: Buffer): (readonly Buffer[])[] {
  const ways: (readonly Buffer[])[] = [
    [bytes],
    Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)),
  ];
  for (let at = 1; at < bytes.length; at++) ways.push([bytes.subarray(0, at), bytes.subarray(at)]);
  return ways;
}

/** The one outcome of all splits; throws where two differ. */
export function readEveryWay(text: string, reading: Reading = {}): Outcome {
  const ways = splits(Buffer.from(text, 'latin1'));
  const [whole, ...others] = ways.map((chunks) => read(chunks, reading));
  const wanted = JSON.stringify(whole);
  for (const [at, other] of others.entries()) {
    if (JSON.stringify(other) !== wanted)
      throw new Error(`split ${at} gives ${JSON.stringify(other)}, not ${wanted}`);
  }
  return whole ?? 'incomplete';
}

/** Lines ended by CRLF, an empty one at the end. */
export function head(...lines: readonly string[]): string {
  return [...lines, '', ''].join('\r\n');
}

export interface Serving {
  readonly limits?: HttpLimits;
  readonly clock?: Clock;
  readonly draining?: AbortSignal;
}

export interface TestServer extends AsyncDisposable {
  readonly port: number;
  readonly connections: Set<net.Socket>;
  /** Settles when no connection is left. */
  empty(): Promise<void>;
}

/** A TCP server whose connections are served by our code. */
export async function serve(
  handle: (exchange: ServerExchange) => Promise<void>,
  serving: Serving = {},
): Promise<TestServer> {
  const {
    limits = httpLimits(),
    clock = systemClock,
    draining = new AbortController().signal,
  } = serving;
  const refuse = (fault: Fault, _connection: Connection) => ({
    head: { status: fault.http, fields: ['content-type', 'text/plain'], length: undefined },
    body: Buffer.from(`${fault.code}: ${fault.message}`),
  });
  return await accept(
    (socket) => void serveConnection(socket, { limits, clock, draining, handle, refuse }),
  );
}

/** A TCP server whose connections are handed out raw. */
export async function accept(use: (socket: net.Socket) => void): Promise<TestServer> {
  const connections = new Set<net.Socket>();
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    connections.add(socket);
    socket.once('close', () => connections.delete(socket));
    use(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return {
    port: address.port,
    connections,
    empty: () => until(() => connections.size === 0, 'connections are left'),
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** A raw TCP client that keeps all it is sent. */
export interface Raw extends AsyncDisposable {
  readonly socket: net.Socket;
  readonly text: string;
  readonly ended: boolean;
  readonly closed: boolean;
  readonly error: NodeJS.ErrnoException | undefined;
  send(text: string | Buffer): void;
  /** Settles when what was received matches. */
  sees(pattern: RegExp | string): Promise<string>;
  /** Settles when the server has closed; the text. */
  over(): Promise<string>;
}

export async function dial(port: number): Promise<Raw> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
  let text = '';
  let ended = false;
  let error: NodeJS.ErrnoException | undefined;
  socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')));
  socket.on('end', () => (ended = true));
  socket.on('error', (failure) => (error = failure));
  await new Promise((resolve) => socket.once('connect', resolve));
  return {
    socket,
    get text() {
      return text;
    },
    get ended() {
      return ended;
    },
    get closed() {
      return ended || socket.destroyed;
    },
    get error() {
      return error;
    },
    send: (bytes) => void socket.write(bytes, 'latin1'),
    async sees(pattern) {
      await until(
        () => (typeof pattern === 'string' ? text.includes(pattern) : pattern.test(text)),
        () => `${String(pattern)} in ${JSON.stringify(text)}`,
      );
      return text;
    },
    async over() {
      await until(
        () => ended || socket.destroyed,
        () => `the end after ${JSON.stringify(text)}`,
      );
      socket.destroy();
      return text;
    },
    async [Symbol.asyncDispose]() {
      socket.destroy();
    },
  };
}

/** Waits for a condition, ten seconds at most. */
export async function until(holds: () => boolean, what: string | (() => string)): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!holds()) {
    if (performance.now() > deadline)
      throw new Error(`waited in vain for ${typeof what === 'string' ? what : what()}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** All of a body, joined. */
export async function collect(body: Body): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for (;;) {
    const piece = body.poll();
    if (piece === 'end') return Buffer.concat(pieces);
    if (piece === 'later') await body.ready();
    else pieces.push(piece);
  }
}

/** A clock that stands until it is moved. */
export interface ManualClock extends Clock {
  advance(ms: number): void;
  readonly timers: number;
}

export function manualClock(): ManualClock {
  let now = 0;
  const timers = new Set<{ at: number; act: () => void }>();
  return {
    now: () => now,
    monotonic: () => now,
    after(ms, act) {
      const timer = { at: now + ms, act };
      timers.add(timer);
      return () => void timers.delete(timer);
    },
    get timers() {
      return timers.size;
    },
    advance(ms) {
      const end = now + ms;
      for (;;) {
        const [next] = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
        if (next === undefined) break;
        timers.delete(next);
        now = Math.max(now, next.at);
        next.act();
      }
      now = end;
    },
  };
}

export const HOST = 'Host: a.example';

export const get = (path = '/', ...lines: readonly string[]): string =>
  head(`GET ${path} HTTP/1.1`, HOST, ...lines);

export const post = (body: string, ...lines: readonly string[]): string =>
  head('POST / HTTP/1.1', HOST, `Content-Length: ${body.length}`, ...lines) + body;

/** Answers with what was asked, the body included. */
export async function echo(x: ServerExchange): Promise<void> {
  const body = await collect(x.body);
  await x.respond({ status: 200, fields: ['x-target', x.head.target], length: undefined }, body);
}
