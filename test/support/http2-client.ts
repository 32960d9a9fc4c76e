/**
 * A client of HTTP/2 in the clear by prior knowledge, on node:http2: one session, answers as
 * values.
 */
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type OutgoingHttpHeaders,
  connect,
} from 'node:http2';
import type { Duplex } from 'node:stream';
import { type ReadRefusal, refusalIn } from './agent.ts';
import { until } from './until.ts';

export interface Http2Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly trailers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  /** Code of the reset that ended the stream; 0 for an orderly end. */
  readonly code: number;
}

export interface Http2Stream {
  readonly stream: ClientHttp2Stream;
  /** What was received so far. */
  readonly text: string;
  readonly status: number | undefined;
  readonly informs: readonly number[];
  sees(what: string): Promise<void>;
  answer(): Promise<Http2Answer>;
}

export interface Http2Client extends AsyncDisposable {
  readonly session: ClientHttp2Session;
  /** Code of the GOAWAY that was received. */
  readonly goaway: number | undefined;
  open(headers: OutgoingHttpHeaders, end?: boolean): Http2Stream;
  /** GET unless `:method` says otherwise; with `body` POST. */
  ask(path: string, headers?: OutgoingHttpHeaders, body?: string | Buffer): Promise<Http2Answer>;
}

export function http2Client(port: number, authority = 'crm.internal', over?: Duplex): Http2Client {
  const session = connect(
    `http://127.0.0.1:${port}`,
    over === undefined ? {} : { createConnection: () => over },
  );
  let goaway: number | undefined;
  session.on('error', () => {});
  session.on('goaway', (code: number) => (goaway = code));
  const open = (headers: OutgoingHttpHeaders, end = true): Http2Stream =>
    opened(session.request({ ':authority': authority, ...headers }, { endStream: end }));
  return {
    session,
    get goaway() {
      return goaway;
    },
    open,
    ask(path, headers = {}, body) {
      const method = body === undefined ? 'GET' : 'POST';
      const one = open({ ':method': method, ':path': path, ...headers }, body === undefined);
      if (body !== undefined) one.stream.end(body);
      return one.answer();
    },
    [Symbol.asyncDispose]: async () => {
      session.destroy();
      await until('the client session is closed', () => session.destroyed);
    },
  };
}

function opened(stream: ClientHttp2Stream): Http2Stream {
  const chunks: Buffer[] = [];
  const informs: number[] = [];
  let headers: Http2Answer['headers'] = {};
  let trailers: Http2Answer['trailers'] = {};
  let status: number | undefined;
  let closed = false;
  stream.on('headers', (interim) => informs.push(Number(interim[':status'])));
  stream.on('response', (head) => {
    status = Number(head[':status']);
    headers = head as Http2Answer['headers'];
  });
  stream.on('trailers', (fields) => (trailers = fields as Http2Answer['trailers']));
  stream.on('data', (chunk: Buffer) => chunks.push(chunk));
  stream.on('error', () => {});
  stream.on('close', () => (closed = true));
  const text = (): string => Buffer.concat(chunks).toString('latin1');
  return {
    stream,
    get text() {
      return text();
    },
    get status() {
      return status;
    },
    informs,
    sees: async (what) => {
      await until(`${what} in ${text()}`, () => text().includes(what));
    },
    answer: async () => {
      await until('the stream is closed', () => closed, 20_000);
      return { status: status ?? 0, headers, trailers, body: text(), code: stream.rstCode };
    },
  };
}

/** A refusal as its reader has it. */
export function refusalOf({ body }: Http2Answer): ReadRefusal {
  return refusalIn(body);
}
