/**
 * HTTP through the proxy URL of one task: absolute-form for http://, a CONNECT tunnel and TLS of
 * our own for https://. Connections are kept for the next call and belong to the task. Node's fetch
 * is not used: it hides the body of a refused CONNECT and of a 407, where the sidecar says why.
 */
import {
  Agent as HttpAgent,
  request as overHttp,
  type ClientRequest,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent, request as overHttps } from 'node:https';
import type { Duplex } from 'node:stream';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { connect } from 'node:tls';
import { refusalOf, Unreachable } from './errors.ts';

/** Bytes of an answer that is read to see whether it is a refusal; those are small. */
const MAX_REFUSAL = 65_536;
/** May be asked twice (RFC 9110 section 9.2.1). */
const SAFE: ReadonlySet<string> = new Set(['GET', 'HEAD', 'OPTIONS']);
const EMPTY: ReadonlySet<number> = new Set([101, 204, 205, 304]);

export interface Through {
  /**
   * As fetch: a redirect is an answer like any other and is not followed. @throws Refused,
   * Unreachable
   */
  fetch(input: string | URL | Request, init?: RequestInit): Promise<Response>;
  /** Closes what is kept open. */
  close(): void;
}

export function through(proxyUrl: string): Through {
  const proxy = proxyOf(proxyUrl);
  const plain = new HttpAgent({ keepAlive: true });
  const tunnels = new Tunnels(proxy);
  return {
    async fetch(input, init) {
      if (init?.redirect !== undefined && init.redirect !== 'manual')
        throw new TypeError(
          "redirects are not followed here: leave `redirect` out, or say 'manual'",
        );
      const wanted = new Request(input, init);
      const url = new URL(wanted.url);
      if (url.protocol !== 'http:' && url.protocol !== 'https:')
        throw new TypeError(`${url.protocol} is not http: or https:`);
      const body = await bodyOf(wanted, init);
      const given = {
        method: wanted.method,
        headers: fieldsOf(wanted, body),
        signal: wanted.signal,
      };
      const proxied = { ...given.headers, ...proxy.fields, host: url.host };
      const send = (): ClientRequest =>
        url.protocol === 'https:'
          ? overHttps(url, { ...given, agent: tunnels })
          : overHttp({
              ...proxy.at,
              ...given,
              path: absolute(url),
              headers: proxied,
              agent: plain,
            });
      return responseOf(await answerTo(send, body, proxy.name), wanted.method);
    },
    close() {
      plain.destroy();
      tunnels.destroy();
    },
  };
}

interface Proxy {
  readonly at: { readonly host: string; readonly port: string };
  readonly name: string;
  readonly fields: Readonly<Record<string, string>>;
}

function proxyOf(text: string): Proxy {
  const { hostname, port, host, username, password } = new URL(text);
  const credentials = Buffer.from(
    `${decodeURIComponent(username)}:${decodeURIComponent(password)}`,
  ).toString('base64');
  return {
    at: { host: hostname.replace(/^\[(.*)\]$/, '$1'), port },
    name: host,
    fields: username === '' ? {} : { 'proxy-authorization': `Basic ${credentials}` },
  };
}

/** Connections of which each begins with a tunnel. */
class Tunnels extends HttpsAgent {
  readonly #proxy: Proxy;

  constructor(proxy: Proxy) {
    super({ keepAlive: true });
    this.#proxy = proxy;
  }

  override createConnection(
    options: {
      readonly host?: string | null;
      readonly port?: string | number | null;
      readonly servername?: string;
    },
    made: (failure: Error | null, stream: Duplex) => void,
  ): undefined {
    const host = options.host ?? '';
    const port = Number(options.port ?? 443);
    tunnel(this.#proxy, host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`).then(
      (socket) => made(null, connect({ ...options, host, port, socket })),
      // Node takes no stream where there is an error.
      (failure: unknown) =>
        made(failure instanceof Error ? failure : new Error(String(failure)), undefined as never),
    );
  }
}

function tunnel(proxy: Proxy, authority: string): Promise<Duplex> {
  return new Promise((resolve, reject) => {
    const headers = { ...proxy.fields, host: authority };
    const asked = overHttp({
      ...proxy.at,
      method: 'CONNECT',
      path: authority,
      headers,
      agent: false,
    });
    asked.on('error', (cause) => reject(gone(proxy.name, cause)));
    asked.on('connect', (answer, socket, head) => {
      if (answer.statusCode === 200) resolve(socket);
      else refusedTunnel(answer, socket, head).then(reject, reject);
    });
    asked.end();
  });
}

async function refusedTunnel(
  answer: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<Error> {
  const status = answer.statusCode ?? 0;
  const wanted = Math.min(Number(answer.headers['content-length'] ?? 0), MAX_REFUSAL);
  const chunks = [head];
  let size = head.length;
  if (size < wanted) {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      chunks.push(chunk);
      size += chunk.length;
      if (size >= wanted) break;
    }
  }
  socket.destroy();
  const text = Buffer.concat(chunks).subarray(0, wanted).toString();
  return (
    refusalOf({ status, text, headers: answer.headers }) ?? new Error(`the tunnel got ${status}`)
  );
}

type SentBody = Buffer | Readable | undefined;

/** Whole where it is known whole, so that its length is sent. */
async function bodyOf(wanted: Request, init: RequestInit | undefined): Promise<SentBody> {
  if (wanted.body === null) return undefined;
  if (init?.body instanceof ReadableStream) return Readable.fromWeb(wanted.body);
  return Buffer.from(await wanted.arrayBuffer());
}

function fieldsOf({ headers, method }: Request, body: SentBody): Record<string, string | number> {
  const fields: Record<string, string | number> = Object.fromEntries(headers);
  if (Buffer.isBuffer(body)) fields['content-length'] = body.length;
  else if (body === undefined && /^(?:POST|PUT|PATCH)$/.test(method)) fields['content-length'] = 0;
  return fields;
}

function absolute(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}${url.search}`;
}

function answerTo(
  send: () => ClientRequest,
  body: SentBody,
  proxy: string,
): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const asked = send();
    asked.on('response', resolve);
    asked.on('error', (cause) => {
      // A connection that was kept may be closed in the moment in which it is taken: nothing was
      // asked of anybody.
      const stale = asked.reusedSocket && 'code' in cause && cause.code === 'ECONNRESET';
      if (stale && body === undefined && SAFE.has(asked.method))
        resolve(answerTo(send, body, proxy));
      else reject(gone(proxy, cause));
    });
    if (!(body instanceof Readable)) asked.end(body);
    // The answer may come first; what became of the upload is then of no interest.
    else pipeline(body, asked).catch(reject);
  });
}

/** Only what says that nobody listens at the proxy is about the sidecar. */
function gone(proxy: string, cause: Error): Error {
  const refused = 'code' in cause && cause.code === 'ECONNREFUSED';
  return refused
    ? new Unreachable(`the sidecar's proxy ${proxy} does not answer`, { cause })
    : cause;
}

/** Of a refusal: as the request asked for it. */
const REFUSAL_TYPES: ReadonlySet<string> = new Set([
  'application/json',
  'text/plain; charset=utf-8',
]);

async function responseOf(answer: IncomingMessage, method: string): Promise<Response> {
  const status = answer.statusCode ?? 0;
  const { 'content-type': type, 'content-length': length } = answer.headers;
  const headers = new Headers();
  for (let i = 0; i < answer.rawHeaders.length; i += 2)
    headers.append(answer.rawHeaders[i] ?? '', answer.rawHeaders[i + 1] ?? '');
  const init = { status, statusText: answer.statusMessage ?? '', headers };
  if (method === 'HEAD' || EMPTY.has(status)) {
    answer.resume();
    return new Response(null, init);
  }
  if (status < 400 || !REFUSAL_TYPES.has(type ?? '') || Number(length ?? Infinity) > MAX_REFUSAL) {
    if (status !== 407)
      return new Response(Readable.toWeb(answer) as ReadableStream<Uint8Array>, init);
  }
  const chunks: Buffer[] = [];
  for await (const chunk of answer) chunks.push(chunk as Buffer);
  const bytes = Buffer.concat(chunks);
  const refusal = refusalOf({ status, text: bytes.toString(), headers: answer.headers });
  if (refusal !== undefined) throw refusal;
  return new Response(bytes, init);
}
