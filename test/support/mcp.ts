/**
 * An MCP destination behind a test proxy, and a server whose every word is the test's: what it
 * was asked is kept as it came.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { parseHostPattern } from '../../lib/net/host.ts';
import { parseResourcePattern } from '../../lib/net/resource.ts';
import type { Effect } from '../../lib/policy/model/rule.ts';
import type { McpDestination, McpPolicy, McpRule } from '../../lib/policy/protocols/mcp-service.ts';
import { type DestinationOptions, testDestination } from './destination.ts';
import { type TestProxy, type TestProxyOptions, testProxy } from './proxy.ts';
import { SETTINGS, mcpService } from './service.ts';
import { type RawUpstream, rawUpstream } from './upstream.ts';

interface Match {
  readonly tools?: readonly string[];
  readonly prompts?: readonly string[];
  readonly resources?: readonly string[];
  readonly methods?: readonly string[];
}

export function mcpRule(name: string, effect: Effect, match: Match, action = 'read'): McpRule {
  const { tools = [], prompts = [], resources = [], methods = [] } = match;
  return {
    name,
    effect,
    action: effect === 'allow' ? action : undefined,
    mcp: {
      tools: new Set(tools),
      prompts: new Set(prompts),
      resources: resources.map(parseResourcePattern),
      methods: new Set(methods),
    },
    when: undefined,
  };
}

export interface McpDestinationOptions extends Omit<DestinationOptions, 'protocol'> {
  readonly settings?: Partial<McpPolicy>;
  readonly elicitationHosts?: readonly string[];
}

/** http://tools.internal/mcp, where `get_ticket` may be called. */
export function mcpDestination({
  settings,
  elicitationHosts = [],
  ...given
}: McpDestinationOptions): McpDestination {
  const rules = given.rules ?? [mcpRule('read', 'allow', { tools: ['get_ticket'] })];
  const mcp = {
    ...SETTINGS,
    elicitationHosts: elicitationHosts.map(parseHostPattern),
    ...settings,
  };
  const tools = testDestination({
    name: 'tools',
    hosts: ['tools.internal'],
    mode: 'plaintext',
    ...given,
    rules,
  });
  return { ...tools, service: mcpService(rules, mcp) };
}

export interface Asked {
  readonly http: string;
  readonly headers: IncomingMessage['headers'];
  /** The body as it came. */
  readonly text: string;
  readonly body:
    | { readonly id?: unknown; readonly method?: string; readonly params?: Record<string, unknown> }
    | undefined;
}

/** Answers one request; it may write whatever it likes. */
export type Script = (asked: Asked, response: ServerResponse) => void;

export interface McpServer extends RawUpstream {
  readonly asked: readonly Asked[];
  /** Lists that the sidecar itself asked for. */
  readonly listed: readonly Asked[];
}

/**
 * @param lists what the sidecar is told when it asks for the tools itself; undefined: the script is
 *        asked
 */
export async function mcpServer(
  script: Script,
  lists: Script | undefined = result({ tools: [] }),
): Promise<McpServer> {
  const asked: Asked[] = [];
  const listed: Asked[] = [];
  const upstream = await rawUpstream({
    http(request, response) {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const text = Buffer.concat(chunks).toString();
        const one = {
          http: request.method ?? '',
          headers: request.headers,
          text,
          body: text === '' ? undefined : JSON.parse(text),
        };
        const own = typeof one.body?.id === 'string' && one.body.id.startsWith('list-');
        (own ? listed : asked).push(one);
        (own ? (lists ?? script) : script)(one, response);
      });
    },
  });
  return Object.assign(upstream, { asked, listed });
}

export function sendJson(response: ServerResponse, value: unknown, status = 200): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
}

/** Answers every request with this result. */
export const result =
  (value: unknown): Script =>
  ({ body }, response) =>
    sendJson(response, { jsonrpc: '2.0', id: body?.id, result: value });

export interface McpAnswer {
  readonly status: number;
  readonly head: string;
  readonly text: string;
  readonly body: {
    readonly id?: unknown;
    readonly result?: Record<string, unknown>;
    readonly error?: {
      readonly code: number;
      readonly message: string;
      readonly data?: Record<string, unknown>;
    };
  };
}

export const VERSION = '2025-11-25';
export const NEWEST = '2026-07-28';

export interface Sending {
  readonly fields?: Readonly<Record<string, string>>;
  readonly method?: string;
  readonly path?: string;
  readonly name?: string;
}

/** POSTs a body as it is. */
export async function post(
  proxy: TestProxy,
  body: string | Buffer,
  { fields = {}, method = 'POST', path = '/mcp', name }: Sending = {},
): Promise<McpAnswer> {
  const all = {
    host: 'tools.internal',
    connection: 'close',
    'content-type': 'application/json',
    accept: 'application/json, text/event-stream',
    'mcp-protocol-version': VERSION,
    'content-length': String(Buffer.byteLength(body)),
    ...fields,
  };
  const lines = Object.entries(all).flatMap(([field, value]) =>
    value === '' ? [] : [`${field}: ${value}\r\n`],
  );
  const target = name === undefined ? `http://tools.internal${path}` : path;
  const line = await proxy.open(name);
  line.write(
    Buffer.concat([
      Buffer.from(`${method} ${target} HTTP/1.1\r\n${lines.join('')}\r\n`),
      Buffer.from(body),
    ]),
  );
  return parseMcpAnswer(await line.ended());
}

export function parseMcpAnswer(answer: string): McpAnswer {
  const end = answer.indexOf('\r\n\r\n');
  const head = end < 0 ? answer : answer.slice(0, end);
  const bytes = Buffer.from(end < 0 ? '' : answer.slice(end + 4), 'latin1').toString('utf8');
  const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0);
  let body: McpAnswer['body'] = {};
  try {
    body = JSON.parse(bytes) as McpAnswer['body'];
  } catch {
    // A stream, or nothing.
  }
  return { status, head, text: bytes, body };
}

export function message(method: string, params: unknown = {}, id: unknown = 1): string {
  return JSON.stringify({ jsonrpc: '2.0', id, method, params });
}

export function call(name: string, args: unknown = {}, id: unknown = 1): string {
  return message('tools/call', { name, arguments: args }, id);
}

/** A message of 2026-07-28 with its fields. */
export function newest(
  method: string,
  params: Record<string, unknown> = {},
  changes: Record<string, string> = {},
): readonly [string, Sending] {
  const meta = {
    'io.modelcontextprotocol/protocolVersion': NEWEST,
    'io.modelcontextprotocol/clientCapabilities': { sampling: {}, roots: {} },
  };
  const name = params['name'] ?? params['uri'];
  const fields = {
    'mcp-protocol-version': NEWEST,
    'mcp-method': method,
    ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
    ...changes,
  };
  return [message(method, { ...params, _meta: meta }), { fields }];
}

export interface TestMcpProxy extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly server: McpServer;
}

/** A server and a proxy in front of it. */
export async function testMcpProxy(
  script: Script,
  given: McpDestinationOptions & { readonly lists?: Script } = {},
  options: Partial<TestProxyOptions> = {},
): Promise<TestMcpProxy> {
  const server = await mcpServer(script, given.lists);
  const proxy = await testProxy({
    ...options,
    destinations: [
      mcpDestination({ upstream: { host: '127.0.0.1', port: server.port }, ...given }),
    ],
  });
  return {
    proxy,
    server,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

export const TOOLS = [
  {
    name: 'get_ticket',
    description: 'Reads one.',
    inputSchema: { type: 'object' },
    annotations: { readOnlyHint: true },
  },
  {
    name: 'delete_ticket',
    inputSchema: { type: 'object' },
    annotations: { destructiveHint: true },
  },
  { name: 'get_tick\u0435t', inputSchema: { type: 'object' } },
  'get_ticket',
];

export const events = (response: ServerResponse, ...parts: readonly (string | Buffer)[]): void => {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (const part of parts) response.write(part);
  response.end();
};

export const event = (value: unknown): string =>
  `event: message\ndata: ${JSON.stringify(value)}\n\n`;
export const rpc = (id: unknown, value: unknown): unknown => ({
  jsonrpc: '2.0',
  id,
  result: value,
});

/** The data of the events in an answer that may be chunked. */
export function dataOf(text: string): readonly Record<string, unknown>[] {
  return [...text.matchAll(/^data: (\{.*\})$/gm)].map(
    ([, json = '']) => JSON.parse(json) as Record<string, unknown>,
  );
}
