/**
 * What tasks cost: a call that names one beside a call that names none, a whole task around one
 * call, the end of a task with a thousand streams, and ten thousand open tasks. The agent and the
 * upstream are a process of their own; CPU and memory are those of the sidecar's.
 *
 *   node --expose-gc bench/tasks.ts
 *
 * It prints the table and writes it into docs/performance.md; exits 1 when a bar is missed.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { Agent, createServer, request } from 'node:http';
import { type AddressInfo, type Socket, connect } from 'node:net';
import { cpus, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { startAgentApi } from '../lib/api/agent-socket.ts';
import { agentApi } from '../lib/api/agent.ts';
import { taskFeed } from '../lib/api/task-feed.ts';
import { cell } from '../lib/base/cell.ts';
import { systemClock } from '../lib/base/clock.ts';
import { Fault } from '../lib/base/fault.ts';
import { loadConfig } from '../lib/config/load/load.ts';
import { type Proxy, startProxy } from '../lib/listen/proxy.ts';
import { parseIntent } from '../lib/tasks/intent.ts';
import { tasks } from '../lib/tasks/registry.ts';
import type { Tasks } from '../lib/tasks/tasks.ts';
import { tlsContexts } from '../lib/tls/context.ts';
import { writePage } from './page.ts';

interface Order {
  readonly what: 'calls' | 'whole' | 'streams';
  readonly times: number;
  readonly port: number;
  readonly api: string;
  /** Proxy-Authorization. */
  readonly as?: string;
}

const STREAMS = 1000;
const OPEN = 10_000;
const CALLS = 5000;
const ROUNDS = 5;
const INTENT = JSON.stringify({
  purpose: 'bench',
  owner: 'bench',
  targets: ['web'],
  actions: ['read'],
});
const say = (line: string): void => void process.stdout.write(`${line}\n`);

const ABOUT = `By \`make bench-tasks\`, on ${cpus().length} cores of
${cpus()[0]?.model.trim() ?? 'an unknown processor'}, load average
${(loadavg()[0] ?? 0).toFixed(1)}. One agent on one connection kept alive, a plaintext upstream on
the same machine, records not written: the cheapest call that there is, so that what a task adds
shows most. Opening and completing are two calls of the agent API.`;

const get = (path: string, as: string | undefined): string =>
  `GET http://web.internal${path} HTTP/1.1\r\nHost: ` +
  `web.internal\r\n${as === undefined ? '' : `Proxy-Authorization: ${as}\r\n`}\r\n`;

async function call(socket: Socket, as: string | undefined): Promise<void> {
  socket.write(get('/', as));
  await once(socket, 'data');
}

/** Median milliseconds of a call, and of a task opened, called with and completed. */
async function whole({ port, api, times }: Order): Promise<readonly [number, number]> {
  const socket = connect({ host: '127.0.0.1', port, noDelay: true });
  const agent = new Agent({ keepAlive: true });
  const ask = async (path: string, body?: string, authorization?: string): Promise<string> => {
    const headers = { ...(authorization && { authorization }) };
    const asked = request({ socketPath: api, agent, method: 'POST', path, headers }).end(body);
    const [answer] = await once(asked, 'response');
    let text = '';
    for await (const chunk of answer) text += String(chunk);
    return text;
  };
  const [plain, all]: [number[], number[]] = [[], []];
  for (let i = 0; i < times; i += 1) {
    let began = performance.now();
    await call(socket, undefined);
    plain.push(performance.now() - began);
    began = performance.now();
    const { id, authorization } = JSON.parse(await ask('/v1/tasks', INTENT));
    await call(socket, authorization);
    await ask(`/v1/tasks/${id}/complete`, undefined, authorization);
    all.push(performance.now() - began);
  }
  socket.destroy();
  agent.destroy();
  return [median(plain), median(all)];
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

/** Opens streams and says so; then tells when the last one was cut. */
async function streams({ port, as }: Order): Promise<number> {
  const closed: Promise<unknown>[] = [];
  for (let i = 0; i < STREAMS; i += 1) {
    const socket = connect({ host: '127.0.0.1', port, noDelay: true });
    socket.on('error', () => 'cut');
    socket.write(get('/stream', as));
    await once(socket, 'data');
    closed.push(new Promise((resolve) => socket.once('close', resolve)));
  }
  process.send?.('open');
  await Promise.all(closed);
  return Date.now();
}

async function obey(order: Order): Promise<unknown> {
  if (order.what === 'whole') return whole(order);
  if (order.what === 'streams') return streams(order);
  const socket = connect({ host: '127.0.0.1', port: order.port, noDelay: true });
  for (let i = 0; i < order.times; i += 1) await call(socket, order.as);
  socket.destroy();
  return 'done';
}

async function agent(): Promise<void> {
  const upstream = createServer((asked, response) =>
    asked.url === '/stream' ? void response.write('first') : response.end('ok'),
  );
  upstream.listen(0, '127.0.0.1');
  await once(upstream, 'listening');
  process.on('message', (order: Order) => void obey(order).then((told) => process.send?.(told)));
  process.send?.((upstream.address() as AddressInfo).port);
}

const document = (port: number): string => `apiVersion: chaperone.dev/v1alpha1
kind: Sidecar
metadata: { name: bench }
spec:
  audit: { sinks: [{ stdout: true }] }
  forward: { address: 127.0.0.1:0 }
  agentApi: { socket: /tmp/unused.sock }
---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: web }
spec:
  hosts: [web.internal]
  ports: [80]
  task: optional
  upstream: { address: '127.0.0.1:${port}' }
  tls: { mode: plaintext }
  dataClass: internal
  limits: { concurrent: 4000 }
  rules: [{ name: read, effect: allow, action: read, http: { methods: [GET] } }]
---
apiVersion: chaperone.dev/v1alpha1
kind: TaskPolicy
metadata: { name: bench }
spec:
  purposes: [bench]
  destinations: [web]
  actions: [read]
  dataClasses: [internal]
  maxCalls: 1000000000
`;

interface Room extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly tasks: Tasks;
  readonly proxy: Proxy;
  readonly order: Pick<Order, 'port' | 'api'>;
}

async function room(): Promise<Room> {
  const stack = new AsyncDisposableStack();
  const folder = await mkdtemp(join(tmpdir(), 'chaperone-bench-'));
  stack.defer(() => rm(folder, { recursive: true, force: true }));
  const child = fork(import.meta.filename, ['agent']);
  stack.defer(() => void child.kill());
  const [port] = (await once(child, 'message')) as [number];
  const file = join(folder, 'chaperone.yaml');
  await writeFile(file, document(port));
  const loaded = await loadConfig([file], { generation: 1 });
  const policy = cell(loaded.policy);
  const feed = taskFeed();
  const late: { proxy?: Proxy } = {};
  const registry = tasks({
    clock: systemClock,
    policy,
    tell: (event) => feed.tell(event),
    onChange: () => late.proxy?.reauthorize(),
    release: async (task) => (await late.proxy?.release(task), []),
  });
  const none = (): never => {
    throw new Fault('no-identity', 'none is needed here');
  };
  const proxy = stack.use(
    await startProxy({
      sidecar: loaded.sidecar,
      policy,
      identity: { states: cell(), current: none, fetchJwtSvid: none },
      audit: { write: () => Promise.resolve() },
      contexts: tlsContexts(),
      clock: systemClock,
      shutdown: new AbortController().signal,
      tasks: registry,
    }),
  );
  late.proxy = proxy;
  stack.use(registry);
  const api = join(folder, 'a.sock');
  const ways = { proxy: () => '127.0.0.1:1', sockets: () => Promise.resolve({}) };
  const served = agentApi({ tasks: registry, feed, ways });
  stack.use(await startAgentApi({ socket: api, mode: 0o600, tcp: undefined, api: served }));
  const order = { port: proxy.addresses.get('forward')?.port ?? 0, api };
  return {
    child,
    tasks: registry,
    proxy,
    order,
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

async function told<T>(child: ChildProcess, order?: Order): Promise<T> {
  if (order !== undefined) child.send(order);
  const [answer] = (await once(child, 'message')) as [T];
  return answer;
}

/**
 * us of this process for each call, without a task and with one, taken in turn: the least of the
 * rounds, because what else the machine does only adds.
 */
async function costs({ child, order }: Room, as: string): Promise<readonly [number, number]> {
  const of = async (given: Pick<Order, 'as'>): Promise<number> => {
    const before = process.cpuUsage();
    await told(child, { ...order, what: 'calls', times: CALLS, ...given });
    const { user, system } = process.cpuUsage(before);
    return (user + system) / CALLS;
  };
  const [without, named]: [number[], number[]] = [[], []];
  for (let i = 0; i <= ROUNDS; i += 1) {
    without.push(await of({}));
    named.push(await of({ as }));
  }
  return [Math.min(...without), Math.min(...named)];
}

/** MB that so many open tasks take. */
function memory({ tasks: registry }: Room): number {
  const intent = parseIntent('intent', INTENT);
  const used = (): number => {
    globalThis.gc?.();
    return process.memoryUsage().heapUsed + process.memoryUsage().external;
  };
  const before = used();
  for (let i = 0; i < OPEN; i += 1) registry.open({ ...intent, targets: [...intent.targets] });
  return (used() - before) / 1e6;
}

async function sidecar(): Promise<number> {
  await using r = await room();
  const opened = r.tasks.open(parseIntent('intent', INTENT));
  const as = `Basic ${Buffer.from(`${opened.task.id}:${opened.secret}`).toString('base64')}`;
  const [without, named] = await costs(r, as);
  const [plain, all] = await told<readonly [number, number]>(r.child, {
    ...r.order,
    what: 'whole',
    times: 500,
  });
  await told(r.child, { ...r.order, what: 'streams', times: 1, as });
  const began = Date.now();
  r.tasks.end(opened.task, 'revoked', 'bench');
  const aborted = Date.now() - began;
  const cut = (await told<number>(r.child)) - began;
  const held = memory(r);
  const rows: readonly (readonly [string, number, number, string])[] = [
    [
      `a call of a task, ${named.toFixed(1)} us of CPU, to one of none, ${without.toFixed(1)} us`,
      named / without,
      1.05,
      '',
    ],
    [
      `a task opened and completed, ${(all - plain).toFixed(2)} ms more, to a call, ` +
        `${plain.toFixed(2)} ms`,
      (all - plain) / plain,
      2,
      '',
    ],
    [
      `${STREAMS} streams of a task, from its end until the agent has seen the last one ` +
        `cut (${aborted} ms in the sidecar)`,
      cut,
      1000,
      ' ms',
    ],
    [`${OPEN} open tasks`, held, 40, ' MB'],
  ];
  const lines = rows.map(
    ([what, value, most, unit]) =>
      `| ${what} | ${value.toFixed(2)}${unit} | ${most}${unit} | ` +
      `${value > most ? 'missed' : 'held'} |`,
  );
  const table = ['| what | measured | at most | |', '| --- | --- | --- | --- |', ...lines];
  const text = `${ABOUT}\n\n${table.join('\n')}\n`;
  say(text);
  await writePage('tasks', text);
  r.tasks.endAll('revoked', 'over');
  return rows.some(([, value, most]) => value > most) ? 1 : 0;
}

if (process.argv[2] === 'agent') await agent();
else process.exitCode = await sidecar();
