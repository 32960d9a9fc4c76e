/** Two processes follow each other with one Sidecar document: all that listens is inherited. */
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  writeFileSync,
} from 'node:fs';
import { Agent, type RequestOptions, request } from 'node:http';
import { join } from 'node:path';
import { apiClient } from '../../cmd/api-client.ts';
import { testConnection } from '../support/agent.ts';
import { type HeldSocket, heldSocket } from '../support/held-sockets.ts';
import { until } from '../support/until.ts';
import { agentIn, agentsSpec, statusAt, taskedCrm } from './agents.ts';
import type { TestProgram } from '../support/program.ts';
import { startInheriting } from '../support/sidecar-process.ts';
import { type SidecarSetup, sidecarSetup } from '../support/sidecar.ts';
import t from 'tap';

t.setTimeout(300_000);

interface Place {
  readonly w: SidecarSetup;
  readonly sockets: readonly HeldSocket[];
  readonly names: string;
  readonly forward: number;
  readonly health: number;
  readonly admin: string;
  /** Folder of the one agent. */
  readonly a: string;
}

const DB = (echo: string): string => `---
apiVersion: chaperone.dev/v1alpha1
kind: Destination
metadata: { name: db }
spec:
  hosts: [db.internal]
  ports: [5432]
  protocol: tcp
  upstream: { address: '${echo}' }
  tls: { mode: mtls, peers: ['spiffe://example.org/db'] }
  dataClass: internal
`;

async function place(): Promise<Place & AsyncDisposable> {
  const [forward, health] = [heldSocket(), heldSocket()];
  const w = await sidecarSetup({
    sinks: "[{ file: 'audit-{pid}.jsonl' }]",
    more: '  drain: 20s\n',
    destinations: (api, echo) =>
      taskedCrm(api).replace('task: required', 'task: optional') + DB(echo),
  });
  const file = join(w.folder, 'sidecar.yaml');
  const text = readFileSync(file, 'utf8')
    .replace(
      "forward: { address: '127.0.0.1:0' }",
      `forward: { address: '127.0.0.1:${forward.port}' }`,
    )
    .replace(
      "health: { address: '127.0.0.1:0' }",
      `health: { address: '127.0.0.1:${health.port}' }`,
    );
  const agents = join(w.folder, 'agents');
  writeFileSync(file, text + agentsSpec(agents, ['a']));
  const [admin, a] = [join(w.folder, 'admin', 'api.sock'), join(agents, 'a')];
  mkdirSync(join(w.folder, 'admin'), { mode: 0o700 });
  mkdirSync(a, { recursive: true });
  chmodSync(a, 0o700);
  const unix = [admin, join(a, 'api.sock'), join(a, 'forward.sock')].map(heldSocket);
  const names = 'chaperone:health:adminApi:chaperone:agents.a.forward';
  const end = (): PromiseLike<void> => w[Symbol.asyncDispose]();
  const sockets = [forward, health, ...unix];
  return {
    w,
    sockets,
    names,
    forward: forward.port,
    health: health.port,
    admin,
    a,
    [Symbol.asyncDispose]: end,
  };
}

/** The socket that is the process's alone. */
const own = ({ admin }: Place, { child }: TestProgram): string =>
  join(admin, '..', `${child.pid}.sock`);

async function ready(at: Place, one: TestProgram): Promise<void> {
  await until('it has its own socket', () => existsSync(own(at, one)), 60_000);
  const status = (): Promise<unknown> =>
    apiClient(own(at, one)).ask({ method: 'GET', path: '/status' });
  await until('it is ready', async () => Object(await status()).ready === true, 60_000);
}

/** Status, or why there was none. */
function asked(options: RequestOptions): Promise<string> {
  return new Promise((settle) => {
    const call = request(options, (answer) => {
      answer.resume();
      answer.on('end', () => settle(String(answer.statusCode)));
      answer.on('error', (failure) => settle(failure.message));
    });
    call.on('error', (failure) => settle(failure.message));
    call.end();
  });
}

interface Load {
  /** What came out, by place. */
  readonly results: ReadonlyMap<string, readonly string[]>;
  /** So many more at each place. */
  more(count: number): Promise<void>;
  stop(): Promise<void>;
}

/** At each place one connection that is kept, and one for each request. */
function load(places: Readonly<Record<string, RequestOptions>>): Load {
  const results = new Map<string, string[]>(Object.keys(places).map((name) => [name, []]));
  let running = true;
  const workers = Object.entries(places).flatMap(([name, options]) =>
    [true, false].map(async (keepAlive) => {
      const agent = new Agent({ keepAlive, maxSockets: 1 });
      while (running) results.get(name)?.push(await asked({ ...options, agent }));
      agent.destroy();
    }),
  );
  return {
    results,
    async more(count) {
      const wanted = [...results.values()].map((all) => [all, all.length + count] as const);
      const done = (): boolean => wanted.every(([all, least]) => all.length >= least);
      await until('it goes on everywhere', done, 60_000);
    },
    async stop() {
      running = false;
      await Promise.all(workers);
    },
  };
}

function everywhere({
  forward,
  health,
  admin,
  a,
}: Place): Readonly<Record<string, RequestOptions>> {
  const proxied = { path: 'http://crm.internal/v1/customers', headers: { host: 'crm.internal' } };
  return {
    forward: { host: '127.0.0.1', port: forward, ...proxied },
    'forward.sock': { socketPath: join(a, 'forward.sock'), ...proxied },
    livez: { host: '127.0.0.1', port: health, path: '/livez' },
    readyz: { host: '127.0.0.1', port: health, path: '/readyz' },
    'api.sock': { socketPath: join(a, 'api.sock'), path: '/openapi.json' },
    adminApi: { socketPath: admin, path: '/status' },
  };
}

t.test(
  'with one document a process takes over all that listens under load, and no request fails',
  async (t) => {
    await using at = await place();
    const start = (): TestProgram =>
      startInheriting(t, at.w.folder, at.sockets, { LISTEN_FDNAMES: at.names });
    const first = start();
    await ready(at, first);
    const gets = load(everywhere(at));
    await gets.more(20);
    const second = start();
    await ready(at, second);
    await gets.more(20);
    first.child.kill('SIGTERM');
    await until('the first has ended', () => first.child.exitCode !== null, 60_000);
    t.equal(first.child.exitCode, 0, first.text());
    await gets.more(20);
    await gets.stop();
    for (const [name, all] of gets.results)
      t.same(
        all.filter((status) => status !== '200'),
        [],
        `of ${all.length} at ${name}`,
      );
    t.notMatch(second.text(), /is nobody's/);
    t.notOk(existsSync(own(at, first)), 'its own socket is gone');
    for (const { socketPath } of Object.values(everywhere(at)))
      if (socketPath !== undefined) t.ok(existsSync(socketPath), 'those that are shared are not');
    const files = readdirSync(at.w.folder).filter((name) => name.startsWith('audit-'));
    t.same(
      files.toSorted(),
      [first, second].map(({ child }) => `audit-${child.pid}.jsonl`).toSorted(),
    );
  },
);

t.test(
  'tasks stay with the process that opened them, which has a socket of its own while it drains',
  async (t) => {
    await using at = await place();
    const start = (): TestProgram =>
      startInheriting(t, at.w.folder, at.sockets, { LISTEN_FDNAMES: at.names });
    const first = start();
    await ready(at, first);
    const task = await agentIn(join(at.a, '..'), 'a').open();
    const socket = task.sockets['crm'] ?? '';
    const get = 'GET /v1/customers HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\n\r\n';
    const tunnel = await testConnection(at.forward);
    tunnel.write('CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n\r\n');
    await tunnel.sees(/^HTTP\/1\.1 200 /);
    const second = start();
    await ready(at, second);
    t.equal(await statusAt(socket, get), 200, 'the sockets of its task are left alone');
    first.child.kill('SIGTERM');
    await until('it drains', () => first.text().includes('draining'), 60_000);
    const tasks = async (path: string): Promise<unknown> =>
      Object(await apiClient(path).ask({ method: 'GET', path: '/v1/tasks' })).tasks;
    t.match(await tasks(own(at, first)), [{ id: task.id }]);
    t.same(await tasks(at.admin), [], 'the other knows nothing of it');
    t.match(
      await apiClient(own(at, first)).ask({
        method: 'POST',
        path: '/v1/revoke-all',
        body: { by: 'me' },
      }),
      {
        revoked: 1,
      },
    );
    tunnel.socket.destroy();
    await until('the first has ended', () => first.child.exitCode !== null, 60_000);
    t.equal(await asked(everywhere(at)['forward.sock'] ?? {}), '200');
  },
);
