/**
 * Two agents in one pod, one of them hostile: whatever it floods, the other is served as if it were
 * alone.
 */
import { spawnSync } from 'node:child_process';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { type TestConnection, statusOf, testConnection } from '../support/agent.ts';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';
import {
  type AgentRoom,
  INTENT,
  agentIn,
  agentsSpec,
  getOf,
  statusAt,
  taskedCrm,
  wireAt,
} from './agents.ts';
import { type SidecarProcess, testSidecarProcess, noProc } from '../support/sidecar-process.ts';
import t, { type Test } from 'tap';

/**
 * So few open files that a flood is quick: 31 connections, 21 at the API and 21 sockets of tasks
 * for each.
 */
const FILES = 600;
const noPrlimit = spawnSync('prlimit', ['--version']).status !== 0 && 'needs the prlimit command';
const skip = noProc || noPrlimit;

const PATH = '/v1/customers/1001';

interface Pair {
  readonly s: SidecarProcess;
  readonly hostile: AgentRoom;
  readonly other: AgentRoom;
}

async function pair(t: Test): Promise<Pair> {
  const root = join(shortFolder(t), 'agents');
  const s = await testSidecarProcess({
    under: ['prlimit', `--nofile=${FILES}:${FILES}`],
    more: agentsSpec(root),
    destinations: (api) => `${taskedCrm(api)}---\n${mcpAt(api)}`,
  });
  t.teardown(() => s[Symbol.asyncDispose]());
  return { s, hostile: agentIn(root, 'a'), other: agentIn(root, 'b') };
}

function mcpAt(api: string): string {
  return `apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: tools }
spec:
  hosts: [tools.internal]
  ports: [80]
  protocol: mcp
  mcp: { endpoints: [/mcp] }
  upstream: { address: '${api}' }
  tls: { mode: mtls, peers: ['spiffe://example.org/crm'] }
  task: optional
  dataClass: internal
  rules: [{ name: all, effect: allow, action: read, mcp: { tools: ['*'] } }]
`;
}

async function times<T>(count: number, act: (i: number) => Promise<T>): Promise<readonly T[]> {
  return Promise.all(Array.from({ length: count }, (_, i) => act(i)));
}

/** The other agent opens a task, uses it in each of its ways, and completes it; health answers. */
async function servesOther(t: Test, { s, other }: Pair, what: string): Promise<void> {
  const own = await other.open();
  t.equal(statusOf(await other.get(PATH, own.credentials)), 200, `${what}: forward.sock`);
  const local = `GET ${PATH} HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\n\r\n`;
  t.equal(await statusAt(own.sockets['crm'] ?? '', local), 200, `${what}: the socket of its task`);
  const line = await s.open();
  line.write(getOf(PATH, own.credentials));
  t.equal(statusOf(await line.ended()), 200, `${what}: the port, with its task`);
  await other.ask('POST', `/v1/tasks/${own.id}/complete`, own.authorization);
  const live = await fetch(`http://127.0.0.1:${s.health}/livez`);
  t.equal(await live.text(), 'live\n', `${what}: health`);
}

t.test(
  'connections of one agent, at its socket and at the ports, leave the other its own',
  { skip },
  async (t) => {
    const p = await pair(t);
    const forward = join(p.hostile.folder, 'forward.sock');
    const held: TestConnection[] = [];
    held.push(...(await times(FILES, () => wireAt(forward))));
    held.push(...(await times(FILES, () => p.s.open())));
    held.push(...(await times(FILES, () => testConnection(p.s.health))));
    for (const line of held) line.write('GET http://crm.internal/ HTTP/1.1\r\nHost: ');
    await servesOther(t, p, 'connections');
    await until('what was cut is logged', () =>
      /connections were cut: there were too many/.test(p.s.sidecar.text()),
    );
    const metrics = await (await fetch(`http://127.0.0.1:${p.s.health}/metrics`)).text();
    for (const at of ['a', 'unknown', 'health'])
      t.match(metrics, new RegExp(`chaperone_connections_dropped_total\\{at="${at}"\\} [1-9]`));
    t.notMatch(metrics, /dropped_total\{at="b"\}/);
    for (const { socket } of held) socket.destroy();
  },
);

t.test(
  'tasks held and half-sent requests of one agent leave the API of the other alone',
  { skip },
  async (t) => {
    const p = await pair(t);
    const api = join(p.hostile.folder, 'api.sock');
    const body = JSON.stringify({ ...INTENT, hold: true });
    const held = await times(100, async (i) => {
      const line = await wireAt(api);
      const head =
        `POST /v1/tasks HTTP/1.1\r\nHost: agent\r\nContent-Type: ` +
        `application/json\r\nContent-Length: ${body.length}\r\n\r\n`;
      line.write(i % 2 === 0 ? head + body : head);
      return line;
    });
    await until('some are cut', () => held.filter(({ socket }) => socket.destroyed).length >= 50);
    await servesOther(t, p, 'held tasks');
    for (const { socket } of held) socket.destroy();
  },
);

t.test('the sockets of tasks of one agent leave the other its own', { skip }, async (t) => {
  const p = await pair(t);
  const refused = async (): Promise<boolean> =>
    p.hostile.open().then(
      () => false,
      ({ code }) => code === 'too-many',
    );
  let opened = 0;
  while (!(await refused())) opened += 1;
  t.ok(opened > 0 && opened < 100, `${opened} tasks`);
  await servesOther(t, p, 'sockets of tasks');
});

t.test(
  'half-sent messages of one agent, or of nobody, leave the other its own',
  { skip },
  async (t) => {
    const p = await pair(t);
    const own = await p.hostile.open();
    const half = Buffer.alloc(1_000_000, ' ');
    const head = (proof: string): string =>
      `POST http://tools.internal/mcp HTTP/1.1\r\nHost: ` +
      `tools.internal\r\n${proof}Content-Type: application/json\r\nAccept: ` +
      `application/json, text/event-stream\r\nContent-Length: 4000000\r\n\r\n`;
    const proof = `Proxy-Authorization: ${own.credentials}\r\n`;
    const wrong =
      'Proxy-Authorization: Basic ' +
      `${Buffer.from(`${own.id}:${'x'.repeat(43)}`).toString('base64')}\r\n`;
    const floods = await times(30, async (i) => {
      const line =
        i % 3 === 0 ? await wireAt(join(p.hostile.folder, 'forward.sock')) : await p.s.open();
      line.write(head([proof, '', wrong][i % 3] ?? ''));
      for (let sent = 0; sent < 3; sent += 1) line.write(half);
      return line;
    });
    await until(
      'they are refused in part',
      () => floods.some(({ text }) => text.startsWith('HTTP/1.1 503')),
      20_000,
    );
    const message = JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'tools/call',
      params: { name: 'x', arguments: {} },
    });
    const line = await wireAt(join(p.other.folder, 'forward.sock'));
    line.write(
      `POST http://tools.internal/mcp HTTP/1.1\r\nHost: tools.internal\r\nConnection: ` +
        `close\r\nContent-Type: application/json\r\nAccept: application/json, ` +
        `text/event-stream\r\nMCP-Protocol-Version: 2025-06-18\r\nContent-Length: ` +
        `${message.length}\r\n\r\n${message}`,
    );
    t.not(statusOf(await line.ended()), 503);
    t.ok(
      p.s
        .records()
        .some(({ agent, tool, effect }) => agent === 'b' && tool === 'x' && effect === 'allow'),
      'the message of the other was read and decided',
    );
    await servesOther(t, p, 'half-sent messages');
    for (const { socket } of floods) socket.destroy();
  },
);

t.test(
  'requests under way of one agent leave the other the places at a destination',
  { skip },
  async (t) => {
    const p = await pair(t);
    const own = await p.hostile.open({ actions: ['read'] });
    const floods = await times(42, async () => {
      const line = await wireAt(join(p.hostile.folder, 'forward.sock'));
      line.write(getOf(`${PATH}?slow`, own.credentials).repeat(50));
      return line;
    });
    await servesOther(t, p, 'requests');
    for (const { socket } of floods) socket.destroy();
  },
);

t.test(
  'refusals of one agent fill no sink, and those of the other have their records',
  { skip },
  async (t) => {
    const p = await pair(t);
    const before = statSync(join(p.s.folder, 'audit.jsonl')).size;
    const forward = join(p.hostile.folder, 'forward.sock');
    const refused =
      'GET http://nowhere.internal/ HTTP/1.1\r\nHost: nowhere.internal\r\nConnection: ' +
      'close\r\n\r\n';
    for (let round = 0; round < 50; round += 1)
      t.same(new Set(await times(30, () => statusAt(forward, refused))), new Set([403]));
    const grown = statSync(join(p.s.folder, 'audit.jsonl')).size - before;
    t.ok(grown < 1_500_000, `${grown} bytes for 1500 refusals`);
    t.equal(statusOf(await p.other.get(PATH)), 407);
    t.match(
      p.s.records().filter(({ kind, agent }) => kind === 'decided' && agent === 'b'),
      [{ code: 'task-required' }],
    );
    await until(
      'they are counted',
      () => p.s.records().some(({ kind }) => kind === 'refusals'),
      30_000,
    );
    const counted = p.s.records().filter(({ kind }) => kind === 'refusals');
    t.match(counted[0], { agent: 'a', codes: {} });
    const own = p.s.records().filter(({ kind, agent }) => kind === 'decided' && agent === 'a');
    t.equal(
      own.length + counted.reduce((sum, { count }) => sum + Number(count), 0),
      1500,
      'none is lost',
    );
  },
);
