/**
 * The costliest things that can be sent, many at once, by every way in, under conditions of forty
 * kinds; meanwhile health is asked, and tasks are revoked. What each of those waits for is counted
 * in CPU time of the sidecar's process, as others use the machine too.
 */
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { connect as tlsConnect } from 'node:tls';
import { apiClient } from '../../cmd/api-client.ts';
import { HTTP_CONDITIONS, MCP_CONDITIONS, worstArguments } from '../policy/plausible.ts';
import { type TestConnection, testConnection, testConnectionOver } from '../support/agent.ts';
import { shortFolder } from '../support/folder.ts';
import { http2Client } from '../support/http2-client.ts';
import { rawUpstream } from '../support/upstream.ts';
import { type SidecarProcess, testSidecarProcess } from '../support/sidecar-process.ts';
import t, { type Test } from 'tap';

/** Milliseconds of CPU that may pass in the process before health or a revocation is answered. */
const MOST = 250;
const BYTES = 1_000_000;
/** Of each shape by each way. */
const AT_ONCE = 3;

const rules = (conditions: readonly string[], match: string): string =>
  conditions
    .map(
      (when, i) =>
        `    - { name: r${i}, effect: allow, action: read, ${match}, when: ` +
        `${JSON.stringify(when)} }\n`,
    )
    .join('');

const destination = (
  name: string,
  port: number,
  more: string,
): string => `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: ${name} }
spec:
  hosts: [${name}.internal]
  ports: [${port}]
${more}---
`;

const tools = (upstream: string): string =>
  `  protocol: mcp\n  mcp: { endpoints: [/mcp] }\n${upstream}  ` +
  `rules:\n${rules(MCP_CONDITIONS, 'mcp: { tools: [pay] }')}`;

function documents(api: string, server: string): string {
  const mtls = (more = ''): string =>
    `  upstream: { address: '${api}' }\n  tls: { mode: mtls, peers: ` +
    `['spiffe://example.org/crm']${more} }\n`;
  return [
    destination(
      'crm',
      80,
      `${mtls()}  rules:\n${rules(HTTP_CONDITIONS, 'http: { paths: [/**] }')}`,
    ),
    destination('tools', 80, `  listen: '127.0.0.1:0'\n${tools(mtls())}`),
    destination('inside', 443, tools(mtls(', intercept: true'))),
    destination(
      'server',
      80,
      `  protocol: mcp\n  mcp: { endpoints: [/mcp] }\n  upstream: { address: '${server}' ` +
        `}\n  tls: { mode: plaintext }\n  rules:\n    - { name: all, effect: allow, action: ` +
        `read, mcp: { tools: ['*'] } }\n`,
    ),
    `apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: support }
spec: { purposes: [support], destinations: [crm, tools, inside, server], actions: [read], dataClasses: [restricted] }
`,
  ].join('');
}

const FIELDS = {
  'content-type': 'application/json',
  accept: 'application/json, text/event-stream',
  'mcp-protocol-version': '2025-11-25',
};

const call = (args: unknown): string =>
  JSON.stringify({
    jsonrpc: '2.0',
    id: 1,
    method: 'tools/call',
    params: { name: 'pay', arguments: args },
  });

function post(host: string, body: string, target = '/mcp'): string {
  const fields = Object.entries(FIELDS).map(([name, value]) => `${name}: ${value}\r\n`);
  return (
    `POST ${target} HTTP/1.1\r\nHost: ${host}\r\n${fields.join('')}Content-Length: ` +
    `${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`
  );
}

/** JSON that is costly to read, and no call at all or one without arguments that matter. */
const TEXTS: readonly string[] = [
  `[${'[],'.repeat(BYTES / 3)}[]]`,
  `{"a":${'['.repeat(60)}${'0,'.repeat(BYTES / 2)}0${']'.repeat(60)}}`,
  `{${Array.from({ length: 60_000 }, (_, i) => `"\u212a${i}":0`).join()}}`,
  call({ text: '\u00e9\n'.repeat(BYTES / 3) }),
];

const MESSAGES: readonly string[] = [...Object.values(worstArguments(BYTES)).map(call), ...TEXTS];
const BODIES: readonly string[] = [
  '['.repeat(65_000),
  '{a: '.repeat(16_000),
  `{${Array.from({ length: 5000 }, (_, i) => `"k${i}":0`).join()}}`,
];

/** Of connections, as many as come at one time. */
const FLOOD = Array.from({ length: 4 }, () => BODIES).flat();

interface Site {
  readonly s: SidecarProcess;
  readonly ports: Readonly<Record<string, number>>;
  readonly agent: string;
}

async function site(t: Test): Promise<Site> {
  const agent = join(shortFolder(t), 'a.sock');
  const server = await rawUpstream({
    http(request, response) {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => (body += text));
      request.on('end', () => {
        const items = Array.from({ length: 100_000 }, (_, i) => ({ i, x: [] }));
        const tools = Array.from({ length: 2000 }, (_, i) => ({
          name: `t${i}`,
          inputSchema: { a: '\u00e9'.repeat(50) },
        }));
        const list = /"tools\/list"/.test(body);
        const result = JSON.stringify({
          jsonrpc: '2.0',
          id: 1,
          result: list ? { tools } : { content: [], items },
        });
        const events = /"length":\d*[13579]\b/.test(body);
        response.writeHead(200, {
          'content-type': events ? 'text/event-stream' : 'application/json',
        });
        response.end(events ? `${':\n\n'.repeat(300_000)}data: ${result}\n\n` : result);
      });
    },
  });
  t.teardown(() => server[Symbol.asyncDispose]());
  const s = await testSidecarProcess({
    more: `  agentApi: { socket: '${agent}' }\n  intercept: { domains: [inside.internal] }\n`,
    destinations: (api) => documents(api, `127.0.0.1:${server.port}`),
  });
  t.teardown(() => s[Symbol.asyncDispose]());
  const listening = /listening: ([^"\n]*)/.exec(s.sidecar.text())?.[1] ?? '';
  const ports = Object.fromEntries(
    listening.split(', ').map((one) => [one.split(' ')[0] ?? '', Number(one.split(':').at(-1))]),
  );
  return { s, ports, agent };
}

/** How many times slower than where the bound was measured a machine is; 1 for a faster one. */
function slowness(): number {
  const before = process.cpuUsage();
  let sum = 0;
  for (let i = 0; i < 50_000_000; i += 1) sum = (sum + i) | 0;
  const { user } = process.cpuUsage(before);
  return sum === 1 ? 1 : Math.max(1, user / 50_000);
}

/** Milliseconds of CPU that a process has used. */
function cpuOf(pid: number | undefined): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ').at(-1)?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** Gives what was answered. */
type Way = (message: string) => Promise<unknown>;

/** However long it takes: it is one of many. */
const over = (line: TestConnection): Promise<unknown> =>
  line.socket.closed
    ? Promise.resolve(line.text)
    : new Promise((resolve) => line.socket.once('close', () => resolve(line.text)));

function ways({ s, ports, agent }: Site): Readonly<Record<string, Way>> {
  const raw = async (port: number, text: string): Promise<unknown> => {
    const line = await testConnection(port);
    line.write(text);
    return over(line);
  };
  const forward = ports['forward'] ?? 0;
  const api = (socket: string, path: string) => async (message: string) =>
    new Promise((resolve) => {
      const fields = {
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(message),
      };
      const asked = httpRequest({
        socketPath: socket,
        path,
        method: 'POST',
        headers: fields,
        agent: false,
      });
      asked
        .on('response', (response) =>
          response.resume().on('close', () => resolve(`HTTP/1.1 ${response.statusCode}`)),
        )
        .on('error', resolve);
      asked.end(message);
    });
  return {
    'the forward port': (message) =>
      raw(forward, post('tools.internal', message, 'http://tools.internal/mcp')),
    'a local listener': (message) => raw(ports['tools'] ?? 0, post('tools.internal', message)),
    'a listener, HTTP/2': async (message) => {
      await using client = http2Client(ports['tools'] ?? 0, 'tools.internal');
      const { status } = await client.ask('/mcp', FIELDS, message);
      return `HTTP/2 ${status}`;
    },
    'an intercepted tunnel': async (message) => {
      const line = await testConnection(forward);
      line.write('CONNECT inside.internal:443 HTTP/1.1\r\nHost: inside.internal:443\r\n\r\n');
      await line.sees(/^HTTP\/1\.1 200 [^]*\r\n\r\n/);
      const inner = testConnectionOver(
        tlsConnect({
          socket: line.socket,
          servername: 'inside.internal',
          rejectUnauthorized: false,
        }),
      );
      inner.write(post('inside.internal', message));
      return over(inner);
    },
    'what a server answers': (message) =>
      raw(
        forward,
        post('server.internal', call({ length: message.length }), 'http://server.internal/mcp'),
      ),
    'what a server streams': (message) =>
      raw(
        forward,
        post('server.internal', call({ length: message.length | 1 }), 'http://server.internal/mcp'),
      ),
    'what a server lists': () =>
      raw(
        forward,
        post(
          'server.internal',
          '{"jsonrpc":"2.0","id":1,"method":"tools/list"}',
          'http://server.internal/mcp',
        ),
      ),
    'a query': (message) => {
      const query = 'a=%41&'.repeat(250) + 'x'.repeat(Math.min(message.length, 6000));
      return raw(
        forward,
        `GET http://crm.internal/v1/x?${query} HTTP/1.1\r\nHost: ` +
          `crm.internal\r\nConnection: close\r\n\r\n`,
      );
    },
    'the agent API': (message) =>
      Promise.all(FLOOD.map((body) => api(agent, '/v1/tasks')(message.length > 0 ? body : '{}'))),
    'the admin API': () =>
      Promise.all(BODIES.map(api(join(s.folder, 'admin', 'api.sock'), '/v1/step-ups/s/approve'))),
  };
}

/**
 * Tasks to be revoked while things are sent: to open one is the agent's, and waits with what it
 * sends.
 */
async function stock({ agent }: Site): Promise<string[]> {
  const body = { purpose: 'support', owner: 'alice', targets: ['crm'], actions: ['read'] };
  const open = async (): Promise<string> =>
    String(Object(await apiClient(agent).ask({ method: 'POST', path: '/v1/tasks', body })).id);
  return Promise.all(Array.from({ length: 20 }, open));
}

/** Asks for health, and revokes a task, until told to stop; the most CPU that either waited for. */
async function watch(
  { s }: Site,
  tasks: string[],
  done: () => boolean,
): Promise<{ health: number; revocation: number; asked: number }> {
  const cpu = (): number => cpuOf(s.sidecar.child.pid);
  const operator = apiClient(join(s.folder, 'admin', 'api.sock'));
  let [health, revocation, asked] = [0, 0, 0];
  while (!done()) {
    const before = cpu();
    const answer = await fetch(`http://127.0.0.1:${s.health}/livez`);
    await answer.text();
    health = Math.max(health, cpu() - before);
    asked += 1;
    const task = tasks.pop();
    if (task === undefined) continue;
    const then = cpu();
    await operator.ask({ method: 'POST', path: `/v1/tasks/${task}/revoke`, body: { by: 'olga' } });
    revocation = Math.max(revocation, cpu() - then);
  }
  return { health, revocation, asked };
}

interface Waited {
  readonly health: number;
  readonly revocation: number;
  readonly asked: number;
}

/** Everything is sent by one way at once, and health and revocation are asked for meanwhile. */
async function flooded(
  one: Site,
  name: string,
  way: Way,
  heard: (answer: string) => void,
): Promise<Waited> {
  const tasks = await stock(one);
  let left = 0;
  const sent = Promise.all(
    MESSAGES.filter((_, i) => name === 'the forward port' || i % 4 === 0)
      .flatMap((message) => Array.from({ length: AT_ONCE }, () => message))
      .map(async (message) => {
        left += 1;
        const answers = [await way(message).finally(() => (left -= 1))].flat();
        for (const answer of answers) heard(String(answer));
      }),
  );
  const waited = await watch(one, tasks, () => left === 0);
  await sent;
  return waited;
}

/**
 * A full collection falls into one of hundreds of samples now and then: what is slow by itself is
 * slow each time.
 */
const ATTEMPTS = 4;

t.test(
  'whatever is sent by whatever way, health and revocation wait for no more than a quarter second of CPU',
  async (t) => {
    const one = await site(t);
    const most = MOST * slowness();
    for (const [name, way] of Object.entries(ways(one))) {
      let [health, revocation] = [Infinity, Infinity];
      for (let i = 0; i < ATTEMPTS && (health > most || revocation > most); i++) {
        const waited = await flooded(one, name, way, (answer) =>
          t.match(answer.slice(0, 12), /^HTTP\/(?:1\.1|2) [245]/, name),
        );
        t.ok(waited.asked > 0, name);
        health = Math.min(health, waited.health);
        revocation = Math.min(revocation, waited.revocation);
      }
      t.ok(
        health <= most,
        `${name}: /livez waited for ${health} ms, at most, in the best of its attempts`,
      );
      t.ok(revocation <= most, `${name}: a revocation waited for ${revocation} ms, at most`);
    }
  },
);
