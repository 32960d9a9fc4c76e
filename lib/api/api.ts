/**
 * A small JSON API over node:http: one table of operations is what is served and what its OpenAPI
 * document says. Rules:
 * - exact methods and paths, `{name}` for one segment; bodies are JSON, read whole up to a bound
 *   and decoded with line and column;
 * - a Fault becomes `{"error":"<code>","message":"<reason; what to do>"}` with the status of its
 *   code; what failed inside is not told.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { Fault } from '../base/fault.ts';
import { onAbort } from '../base/signal.ts';
import { turns } from '../base/turns.ts';
import { parseJsonTree } from '../schema/json-tree.ts';
import { problems as collector } from '../schema/problem.ts';
import type { Schema } from '../schema/schema.ts';

export interface Call {
  /** Values of the `{…}` segments. */
  readonly path: Readonly<Record<string, string>>;
  /** The body, not decoded; '' without one. */
  readonly body: string;
  readonly authorization: string | undefined;
  /** Aborts when the client goes away. */
  readonly gone: AbortSignal;
}

export interface Reply {
  readonly status: number;
  readonly body: unknown;
  /** Lines that follow the body, as JSON Lines, until it ends. */
  readonly lines?: AsyncIterable<unknown>;
}

export interface Operation {
  readonly method: 'GET' | 'POST';
  /** `/v1/tasks/{task}` */
  readonly path: string;
  readonly summary: string;
  /** Of the body; undefined: none is read. */
  readonly request?: Schema<unknown>;
  /** Waits for nothing else that is asked. */
  readonly urgent?: true;
  readonly status: number;
  answer(call: Call): Reply | Promise<Reply>;
}

export interface Api {
  readonly operations: readonly Operation[];
  /** Whether a path is one of this API. */
  owns(path: string): boolean;
  answer(request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** Bytes of a request body. */
export const MAX_BODY = 65_536;

export function api(operations: readonly Operation[]): Api {
  const table = operations.map((operation) => ({ operation, segments: operation.path.split('/') }));
  const pacing = turns();
  const find = (
    path: string,
  ): { readonly operation: Operation; readonly values: Record<string, string> }[] =>
    table.flatMap(({ operation, segments }) => {
      const values = matched(segments, path.split('/'));
      return values === undefined ? [] : [{ operation, values }];
    });
  return {
    operations,
    owns: (path) => find(path).length > 0,
    async answer(request, response) {
      try {
        const hits = find(pathOf(request));
        const hit = hits.find(({ operation }) => operation.method === request.method);
        if (hit === undefined) return wrongMethod(response, hits);
        const body = hit.operation.request === undefined ? '' : await read(request);
        const gone = new AbortController();
        response.on('close', () => gone.abort(new Fault('client-gone', 'the client went away')));
        const { authorization } = request.headers;
        // Reading a body and opening a task are work: many at once take turns, and health goes in
        // between.
        if (pacing.full && hit.operation.urgent !== true) await pacing.room();
        const call = { path: hit.values, body, authorization, gone: gone.signal };
        const reply = await pacing.counted(() => hit.operation.answer(call));
        await send(response, reply, gone.signal);
      } catch (failure) {
        sendFault(response, Fault.from(failure, 'internal'));
      }
    },
  };
}

/** @throws Fault `malformed` with line and column of each problem */
export function decodeBody<T>(schema: Schema<T>, text: string): T {
  const problems = collector();
  const outcome = schema.read(parseJsonTree('body', text), { problems, steps: [] });
  const fault = problems.fault('malformed');
  if (fault !== undefined) throw fault;
  if (outcome === undefined) throw new Fault('malformed', 'the body is not one JSON object');
  return outcome.value;
}

export function pathOf({ url = '' }: IncomingMessage): string {
  return url.split('?', 1)[0] ?? '';
}

function matched(
  segments: readonly string[],
  parts: readonly string[],
): Record<string, string> | undefined {
  if (segments.length !== parts.length) return undefined;
  const values: Record<string, string> = {};
  for (const [i, segment] of segments.entries()) {
    const part = parts[i] ?? '';
    const name = /^\{(.+)\}$/.exec(segment)?.[1];
    if (name === undefined ? segment !== part : !/^[A-Za-z0-9_-]{1,64}$/.test(part))
      return undefined;
    if (name !== undefined) values[name] = part;
  }
  return values;
}

async function read(request: IncomingMessage): Promise<string> {
  const type = request.headers['content-type']?.split(';', 1)[0]?.trim().toLowerCase();
  if (type !== undefined && type !== 'application/json')
    throw new Fault('malformed', 'the body is not JSON', {
      at: 'content-type',
      hint: 'send application/json',
    });
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request) {
    if (!Buffer.isBuffer(chunk)) throw new TypeError('node:http gives buffers');
    size += chunk.length;
    if (size > MAX_BODY) throw new Fault('body-too-large', `a body has at most ${MAX_BODY} bytes`);
    chunks.push(chunk);
  }
  const text = Buffer.concat(chunks).toString('utf8');
  if (text.includes('\ufffd')) throw new Fault('malformed', 'the body is not UTF-8');
  return text.trim() === '' ? '{}' : text;
}

function wrongMethod(
  response: ServerResponse,
  hits: readonly { readonly operation: Operation }[],
): void {
  const allow = hits.map(({ operation }) => operation.method).join(', ');
  response.setHeader('allow', allow);
  write(response, 405, { error: 'method-not-supported', message: `use ${allow}` });
}

async function send(
  response: ServerResponse,
  { status, body, lines }: Reply,
  gone: AbortSignal,
): Promise<void> {
  if (lines === undefined) {
    write(response, status, body);
    return;
  }
  response.writeHead(status, {
    'content-type': 'application/x-ndjson',
    'cache-control': 'no-store',
  });
  response.write(`${JSON.stringify(body)}\n`);
  for await (const line of lines) {
    // Where nobody reads, lines wait in the feed, which has a bound, and not here.
    if (!response.write(`${JSON.stringify(line)}\n`)) await drained(response, gone);
  }
  response.end();
}

function drained(response: ServerResponse, gone: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const off = onAbort(gone, () => resolve());
    response.once('drain', () => {
      off();
      resolve();
    });
  });
}

function sendFault(response: ServerResponse, fault: Fault): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // To a proxy 407 speaks of the proxy's own credentials; here they are the server's.
  const status = fault.http === 407 ? 401 : fault.http;
  if (status === 401) response.setHeader('www-authenticate', 'Basic realm="chaperone task"');
  if (fault.retryAfter !== undefined) response.setHeader('retry-after', String(fault.retryAfter));
  const hint = fault.hint === undefined ? '' : `; ${fault.hint}`;
  const message = fault.code === 'internal' ? 'the sidecar failed' : `${fault.message}${hint}`;
  write(response, status, { error: fault.code, message, at: fault.at });
}

function write(response: ServerResponse, status: number, body: unknown): void {
  const text = `${JSON.stringify(body)}\n`;
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    'cache-control': 'no-store',
  });
  response.end(text);
}
