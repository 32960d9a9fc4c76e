/**
 * How a fake upstream answers on a connection that it accepted: bytes said as they are, a function
 * that owns the socket, or HTTP by node:http.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';

export interface Answers<Seen> {
  /** Said once, after the first bytes have arrived; then the upstream ends its side. */
  readonly bytes?: string | Buffer;
  /** Owns the socket from the first moment. */
  readonly raw?: (socket: Duplex, seen: Seen) => void | Promise<void>;
  /** Answers requests; the default when nothing else is given is `echo`. */
  readonly http?: (
    request: IncomingMessage,
    response: ServerResponse,
    seen: Seen,
  ) => void | Promise<void>;
}

/** One request as the upstream read it; also the body of the default answer. */
export interface Echo {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly string[];
  readonly body: string;
}

/** The answer to every connection of one upstream. */
export interface Answerer<Seen> {
  /** `seen` is what was noted of this connection. The socket must not have been read from. */
  serve(socket: Duplex, seen: Seen): void;
  close(): void;
}

export function answerer<Seen>(answers: Answers<Seen>): Answerer<Seen> {
  const { bytes, raw } = answers;
  if (raw !== undefined)
    return { serve: (socket, seen) => guard(socket, raw(socket, seen)), close: () => {} };
  if (bytes !== undefined)
    return {
      serve: (socket) => void socket.once('data', () => socket.end(bytes)),
      close: () => {},
    };
  const { http = echo } = answers;
  const seenBy = new WeakMap<Duplex, Seen>();
  const server: Server = createServer((request, response) => {
    const seen = seenBy.get(request.socket);
    if (seen !== undefined) guard(request.socket, http(request, response, seen));
  });
  server.keepAliveTimeout = 0;
  return {
    serve(socket, seen) {
      seenBy.set(socket, seen);
      server.emit('connection', socket);
      socket.on(
        'data',
        () => 'keeps node:http from reading past the stream, where nobody could write it down',
      );
    },
    close: () => server.closeAllConnections(),
  };
}

/** A handler may fail because its client has gone; any other failure is the test's. */
function guard(socket: Duplex, handling: void | Promise<void>): void {
  Promise.resolve(handling).catch((failure: unknown) => {
    if (!socket.destroyed) throw failure;
  });
}

/** Answers 200 with the request as JSON. */
export async function echo(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  const { method = '', url = '', rawHeaders: headers } = request;
  const said: Echo = { method, url, headers, body: Buffer.concat(chunks).toString('latin1') };
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(said));
}
