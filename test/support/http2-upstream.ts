/**
 * An upstream that speaks HTTP/2 alone, on node:http2: over mutual TLS by ALPN, or in the clear by
 * prior knowledge.
 */
import {
  performServerHandshake,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import {
  mtlsUpstream,
  rawUpstream,
  type MtlsUpstream,
  type MtlsUpstreamOptions,
  type RawUpstream,
} from './upstream.ts';

export type Handler = (
  stream: ServerHttp2Stream,
  headers: IncomingHttpHeaders,
  session: ServerHttp2Session,
) => void;

export interface Http2Seen {
  readonly sessions: ServerHttp2Session[];
  readonly requests: IncomingHttpHeaders[];
  /** Codes with which streams were closed, in the order in which they closed. */
  readonly codes: number[];
}

/** Serves HTTP/2 on a connection: the `raw` of an upstream. */
export function http2Server(handler: Handler, seen: Http2Seen): (socket: Duplex) => void {
  return (socket) => {
    // A bare TLSSocket of a server says that it still connects, and the engine would wait for it.
    if ('secureConnecting' in socket) socket.secureConnecting = false;
    const session = performServerHandshake(socket, { maxSessionMemory: 1000 });
    seen.sessions.push(session);
    session.on('error', () => {});
    session.on('stream', (stream, headers) => {
      seen.requests.push(headers);
      stream.on('error', () => {});
      stream.on('close', () => seen.codes.push(stream.rstCode));
      handler(stream, headers, session);
    });
  };
}

/** Answers 200 with what was asked as JSON. */
export const echo: Handler = (stream, headers) => {
  const chunks: Buffer[] = [];
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('end', () => {
    if (stream.destroyed) return;
    stream.respond({ ':status': 200, 'content-type': 'application/json' });
    stream.end(JSON.stringify({ headers, body: Buffer.concat(chunks).toString('latin1') }));
  });
};

export async function http2Upstream(
  options: Omit<MtlsUpstreamOptions, 'raw'>,
  handler: Handler = echo,
): Promise<MtlsUpstream & Http2Seen> {
  const seen: Http2Seen = { sessions: [], requests: [], codes: [] };
  const upstream = await mtlsUpstream({
    alpn: ['h2'],
    ...options,
    raw: http2Server(handler, seen),
  });
  return Object.assign(upstream, seen);
}

export async function h2cUpstream(handler: Handler = echo): Promise<RawUpstream & Http2Seen> {
  const seen: Http2Seen = { sessions: [], requests: [], codes: [] };
  const upstream = await rawUpstream({ raw: http2Server(handler, seen) });
  return Object.assign(upstream, seen);
}
