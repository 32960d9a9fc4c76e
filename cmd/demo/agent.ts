/**
 * The demo's agent: a process of its own that knows nothing of SPIFFE, certificates or this
 * project. It has HTTP_PROXY in its environment and says http://.
 *   ask METHOD URL [BODY]      one request; prints {status, body}
 *   tool URL NAME ARGUMENTS    a conversation with an MCP server: initialize, tools/list, one
 *                              tools/call; prints {tools, result, error}
 *   api METHOD PATH [BODY]     one call of the agent API, with the credentials of its task;
 *                              prints {status, body}
 *   watch URL SECONDS          requests until the upstream has named two serials of its caller;
 *                              prints {requests, failures, serials}
 *   tunnel HOST:PORT           a CONNECT tunnel: sends a line, prints it back, then prints `cut`
 *                              once it is cut
 */
import { once } from 'node:events';
import { request } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';

const [what = '', ...rest] = process.argv.slice(2);
const print = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);

async function ask(
  method: string,
  url: string,
  body?: string,
): Promise<{ readonly status: number; readonly body: string }> {
  const headers = body === undefined ? {} : { 'content-type': 'application/json' };
  try {
    const answer = await fetch(url, { method, headers, ...(body === undefined ? {} : { body }) });
    return { status: answer.status, body: await answer.text() };
  } catch (failure) {
    // Node's fetch takes a 407 for a failure of its own, and gives the status in words alone.
    if (failure instanceof Error && /\b407\b/.test(String(failure.cause)))
      return { status: 407, body: '' };
    throw failure;
  }
}

const MCP_VERSION = '2025-11-25';

async function tool(url: string, name: string, args: string): Promise<void> {
  let id = 0;
  const message = async (
    method: string,
    params: unknown,
  ): Promise<Readonly<Record<string, unknown>>> => {
    const notification = method.startsWith('notifications/');
    const headers = {
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': MCP_VERSION,
    };
    const body = JSON.stringify({
      jsonrpc: '2.0',
      ...(notification ? {} : { id: (id += 1) }),
      method,
      params,
    });
    const answer = await fetch(url, { method: 'POST', headers, body });
    const text = await answer.text();
    return text === '' ? {} : (JSON.parse(text) as Readonly<Record<string, unknown>>);
  };
  const client = {
    protocolVersion: MCP_VERSION,
    capabilities: {},
    clientInfo: { name: 'demo-agent', version: '1' },
  };
  await message('initialize', client);
  await message('notifications/initialized', {});
  const { tools = [] } = ((await message('tools/list', {}))['result'] ?? {}) as {
    tools?: { name: string }[];
  };
  const { result, error } = await message('tools/call', {
    name,
    arguments: JSON.parse(args) as unknown,
  });
  print({ tools: tools.map((one) => one.name), result, error });
}

function api(method: string, path: string, body?: string): Promise<void> {
  const { CHAPERONE_AGENT_API: socketPath, CHAPERONE_TASK_AUTHORIZATION: authorization } =
    process.env;
  const headers = {
    'content-type': 'application/json',
    ...(authorization === undefined ? {} : { authorization }),
  };
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, method, path, headers }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('end', () => resolve(print({ status: answer.statusCode, body: text })));
    });
    asked.on('error', reject).end(body);
  });
}

async function watch(url: string, seconds: number): Promise<void> {
  const until = performance.now() + seconds * 1000;
  const serials = new Set<string>();
  let [requests, failures] = [0, 0];
  while (serials.size < 2 && performance.now() < until) {
    requests += 1;
    const { status, body } = await ask('GET', url);
    if (status === 200)
      serials.add(String((JSON.parse(body) as { readonly serial: unknown }).serial));
    else failures += 1;
    await wait(20);
  }
  print({ requests, failures, serials: [...serials] });
}

async function tunnel(authority: string): Promise<void> {
  const proxy = new URL(process.env['HTTP_PROXY'] ?? '');
  const credentials = Buffer.from(`${proxy.username}:${proxy.password}`).toString('base64');
  const headers = proxy.username === '' ? {} : { 'proxy-authorization': `Basic ${credentials}` };
  const asked = request({
    host: proxy.hostname,
    port: proxy.port,
    method: 'CONNECT',
    path: authority,
    headers,
  });
  asked.end();
  const [answer, socket] = (await once(asked, 'connect')) as [
    { readonly statusCode: number },
    Socket,
  ];
  if (answer.statusCode !== 200) return print({ status: answer.statusCode });
  socket.on('error', () => {});
  socket.write('are you there?\n');
  const [echo] = (await once(socket, 'data')) as [Buffer];
  print({ status: 200, echo: echo.toString() });
  socket.resume();
  await new Promise((closed) => socket.once('close', closed));
  print('cut');
}

if (what === 'ask') print(await ask(rest[0] ?? 'GET', rest[1] ?? '', rest[2]));
else if (what === 'tool') await tool(rest[0] ?? '', rest[1] ?? '', rest[2] ?? '{}');
else if (what === 'api') await api(rest[0] ?? 'GET', rest[1] ?? '', rest[2]);
else if (what === 'watch') await watch(rest[0] ?? '', Number(rest[1]));
else await tunnel(rest[0] ?? '');
