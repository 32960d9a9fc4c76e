/** Load from the other core: wrk for small requests, curl for bodies. */
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { cpuSeconds, OTHER_CORE, residentMegabytes, run, type Running } from './machine.ts';
import { type Program, SIZE_OF_BULK, TOOLS_HOST } from './programs.ts';

export interface Load {
  readonly requests: number;
  /** Answers other than 2xx and 3xx, and errors of sockets. */
  readonly failures: number;
  /** Milliseconds. */
  readonly p50: number;
  readonly p99: number;
  readonly perSecond: number;
}

export interface LoadOptions {
  readonly connections: number;
  readonly seconds: number;
  /**
   * `http` by default; through the TCP listener; a connection for each request; calls of an MCP
   * tool.
   */
  readonly kind?: 'http' | 'tcp' | 'closing' | 'tool';
}

/** A call of an MCP tool with 4 KB of arguments, as a script of wrk. */
function toolCall(program: Pick<Program, 'absolute'>): string {
  const params = {
    name: 'search',
    arguments: { query: 'x'.repeat(3950), limit: 10, deep: { nested: [1, 2, 3] } },
  };
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params });
  const fields = {
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': '2025-11-25',
  };
  const path = program.absolute === undefined ? '/v1/mcp' : `http://${TOOLS_HOST}/v1/mcp`;
  const headers = Object.entries(fields).map(
    ([name, value]) => `wrk.headers["${name}"] = "${value}"`,
  );
  return [
    `wrk.method = "POST"`,
    `wrk.path = "${path}"`,
    `wrk.body = [[${body}]]`,
    ...headers,
    '',
  ].join('\n');
}

/** Requests of GET /v1/small, or calls of the tool. */
export async function wrk(
  { absolute, http, tcp }: Pick<Program, 'absolute' | 'http' | 'tcp'>,
  folder: string,
  { connections, seconds, kind = 'http' }: LoadOptions,
): Promise<Load> {
  const raw = kind === 'tcp';
  const tool = kind === 'tool';
  const host = tool ? TOOLS_HOST : ((raw ? undefined : absolute) ?? 'upstream.internal');
  const headers = [`Host: ${host}`, ...(kind === 'closing' ? ['Connection: close'] : [])].map(
    (field) => ['-H', field],
  );
  const options = [
    '-t1',
    `-c${connections}`,
    `-d${seconds}s`,
    '--timeout',
    '10s',
    '--latency',
    ...headers.flat(),
  ];
  if (tool || (!raw && absolute !== undefined)) {
    const script = join(folder, 'wrk.lua');
    await writeFile(
      script,
      tool ? toolCall({ absolute }) : `wrk.path = "http://${absolute}/v1/small"\n`,
    );
    options.push('-s', script);
  }
  return parse(
    await run(OTHER_CORE, ['wrk', ...options, `http://127.0.0.1:${raw ? tcp : http}/v1/small`]),
  );
}

function parse(text: string): Load {
  const number = (pattern: RegExp): number => Number(pattern.exec(text)?.[1] ?? 0);
  const sockets =
    /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(text)?.slice(1) ??
    [];
  return {
    requests: number(/(\d+) requests in/),
    failures: sockets.reduce(
      (sum, count) => sum + Number(count),
      number(/Non-2xx or 3xx responses: (\d+)/),
    ),
    p50: milliseconds(/^\s+50%\s+([\d.]+)(us|ms|s|m)$/m.exec(text)),
    p99: milliseconds(/^\s+99%\s+([\d.]+)(us|ms|s|m)$/m.exec(text)),
    perSecond: number(/Requests\/sec:\s+([\d.]+)/),
  };
}

function milliseconds(found: RegExpExecArray | null): number {
  return (
    Number(found?.[1]) *
    { us: 0.001, ms: 1, s: 1000, m: 60_000 }[(found?.[2] ?? 's') as 'us' | 'ms' | 's' | 'm']
  );
}

/** Microseconds of CPU a request at so many connections, and the load itself. */
export async function cpuPerRequest(
  program: Program,
  running: Running,
  load: () => Promise<Load>,
): Promise<[number, Load]> {
  const before = await cpuSeconds(running.pid);
  const seen = await load();
  const used = (await cpuSeconds(running.pid)) - before;
  if (seen.requests === 0 || seen.failures > 0)
    throw new Error(
      `${program.name}: ${seen.failures} of ${seen.requests} requests failed: ${running.output()}`,
    );
  return [(used * 1e6) / seen.requests, seen];
}

/** CPU seconds a GB of downloads, over `count` of them one after another. */
export async function cpuPerGigabyte(
  program: Program,
  running: Running,
  count: number,
): Promise<number> {
  const before = await cpuSeconds(running.pid);
  await curl(
    program,
    Array.from({ length: count }, () => ['-o', '/dev/null', target(program, '/v1/bulk')]).flat(),
  );
  return ((await cpuSeconds(running.pid)) - before) / ((count * SIZE_OF_BULK) / 1e9);
}

/** Resident MB after so many bodies of 1 MB, and after so many of 100 MB, each way. */
export async function residentOfStreaming(
  program: Program,
  running: Running,
  folder: string,
  count: number,
): Promise<[number, number]> {
  const small = join(folder, 'megabyte');
  await writeFile(small, Buffer.alloc(1_000_000));
  const both = async (file: string, range: readonly string[]): Promise<void> => {
    await curl(program, [...range, '-o', '/dev/null', target(program, '/v1/bulk')]);
    await curl(program, ['-T', file, target(program, '/v1/sink')]);
  };
  for (let i = 0; i < 3; i++) await both(small, ['-r', '0-999999']);
  const before = await residentMegabytes(running.pid);
  for (let i = 0; i < count; i++) await both(join(folder, 'www', 'v1', 'bulk'), []);
  return [before, await residentMegabytes(running.pid)];
}

function target({ absolute, http }: Program, path: string): string {
  return `http://${absolute ?? `127.0.0.1:${http}`}${path}`;
}

async function curl({ absolute, http }: Program, rest: readonly string[]): Promise<void> {
  const through = absolute === undefined ? [] : ['-x', `http://127.0.0.1:${http}`];
  await run(OTHER_CORE, ['curl', '-sSf', '-H', 'Expect:', ...through, ...rest]);
}
