/**
 * The agent's door as a listener: where it may be, what lies beside it, who does not read, and what
 * is not handed out.
 */
import { existsSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { apiClient } from '../../cmd/api-client.ts';
import { agentHome } from '../../lib/api/agent-folder.ts';
import { startAgentApi } from '../../lib/api/agent-socket.ts';
import { agentApi } from '../../lib/api/agent.ts';
import { type Api, api } from '../../lib/api/api.ts';
import { taskFeed } from '../../lib/api/task-feed.ts';
import { Fault } from '../../lib/base/fault.ts';
import type { TasksOptions } from '../../lib/tasks/tasks.ts';
import { shortFolder } from '../support/folder.ts';
import { until } from '../support/until.ts';
import { type Desk, desk } from '../tasks/fixture.ts';
import t, { type Test } from 'tap';

const INTENT = { purpose: 'support', owner: 'alice', targets: ['crm'], actions: ['read', 'write'] };

async function door(t: Test, socket: string, served: Api = api([])): Promise<AsyncDisposable> {
  const home = { socket, folder: `${socket}.d`, forward: false, mode: 0o660, group: undefined };
  const made = await agentHome(home);
  const opened = await startAgentApi({ ...home, tcp: undefined, api: served });
  const all = {
    async [Symbol.asyncDispose]() {
      await opened[Symbol.asyncDispose]();
      await made[Symbol.asyncDispose]();
    },
  };
  t.teardown(() => all[Symbol.asyncDispose]());
  return all;
}

interface Room {
  readonly d: Desk;
  readonly socket: string;
}

async function room(
  t: Test,
  given: {
    readonly recorded?: TasksOptions['recorded'];
    readonly sockets?: () => Promise<Record<string, string>>;
  },
): Promise<Room> {
  const socket = join(shortFolder(t), 'a.sock');
  const feed = taskFeed();
  const { recorded } = given;
  const d = desk({ tell: (event) => feed.tell(event), recorded });
  const ways = {
    proxy: () => '127.0.0.1:15001',
    sockets: given.sockets ?? (() => Promise.resolve({})),
  };
  await door(t, socket, agentApi({ tasks: d.tasks, feed, ways }));
  t.teardown(() => d.tasks[Symbol.asyncDispose]());
  return { d, socket };
}

t.test(
  'a socket that nobody serves is replaced, and one that somebody serves is not',
  async (t) => {
    const folder = shortFolder(t);
    const stale = join(folder, 'stale.sock');
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(stale, resolve));
    await t.rejects(door(t, stale), { code: 'listen', message: /another process serves it/ });
    await new Promise((resolve) => other.close(resolve));
    await door(t, stale);
    writeFileSync(join(folder, 'file'), 'precious');
    await t.rejects(door(t, join(folder, 'file')), { code: 'listen', message: /not a socket/ });
  },
);

t.test(
  'what lies beside the socket is left alone; what is ours has a folder for its group alone',
  async (t) => {
    const folder = shortFolder(t);
    mkdirSync(join(folder, 'tasks'));
    writeFileSync(join(folder, 'tasks', 'notes.txt'), 'precious');
    const socket = join(folder, 'a.sock');
    const opened = await door(t, socket);
    t.equal((statSync(`${socket}.d`).mode & 0o777).toString(8), '750');
    await opened[Symbol.asyncDispose]();
    t.notOk(existsSync(`${socket}.d`));
    t.ok(existsSync(join(folder, 'tasks', 'notes.txt')));
  },
);

t.test('a task whose opening cannot be recorded is not handed out, and ends (R5)', async (t) => {
  const full = new Fault('audit-unavailable', 'no space left');
  let works = true;
  const { d, socket } = await room(t, {
    recorded: () => (works ? Promise.resolve() : Promise.reject(full)),
  });
  const open = (): Promise<unknown> =>
    apiClient(socket).ask({ method: 'POST', path: '/v1/tasks', body: INTENT });
  const opened = Object(await open());
  works = false;
  await t.rejects(open(), { code: 'audit-unavailable' });
  const derive = {
    method: 'POST',
    path: `/v1/tasks/${opened.id}/tasks`,
    body: INTENT,
    ...opened,
  } as const;
  await t.rejects(apiClient(socket).ask({ ...derive, authorization: opened.authorization }), {
    code: 'audit-unavailable',
  });
  await until('it has ended', () => d.tasks.list().length === 1);
  t.ok(d.tasks.get(opened.id)?.open, 'the one before lives on');
});

t.test('a task that cannot be handed out whole is not left open', async (t) => {
  const { d, socket } = await room(t, {
    sockets: () => Promise.reject(new Fault('listen', 'no more descriptors')),
  });
  await t.rejects(apiClient(socket).ask({ method: 'POST', path: '/v1/tasks', body: INTENT }), {
    code: 'listen',
  });
  await until('it has ended', () => d.tasks.list().length === 0);
});

t.test('the end of a held task is told even when it comes before anybody reads', async (t) => {
  const late: { d?: Desk } = {};
  const { d, socket } = await room(t, {
    sockets: async () => {
      late.d?.tasks.endAll('revoked', 'at once');
      return {};
    },
  });
  late.d = d;
  using lines = await apiClient(socket).lines({
    method: 'POST',
    path: '/v1/tasks',
    body: { ...INTENT, hold: true },
  });
  const told: unknown[] = [];
  for await (const line of lines) told.push(line);
  t.match(told, [{ state: /revoked/ }, { event: 'revoked' }]);
});

t.test('lines wait for whoever reads them slowly, and not in the sidecar', async (t) => {
  let made = 0;
  const served = api([
    {
      method: 'GET',
      path: '/lines',
      summary: 'Lines without end.',
      status: 200,
      answer: ({ gone }) => ({
        status: 200,
        body: {},
        lines: (async function* () {
          for (; !gone.aborted; made += 1) yield { line: 'x'.repeat(10_000) };
        })(),
      }),
    },
  ]);
  const socket = join(shortFolder(t), 'a.sock');
  await door(t, socket, served);
  const asked = request({ socketPath: socket, path: '/lines', agent: false }, (answer) => {
    answer.once('readable', () => {}).on('error', () => {});
  });
  asked.on('error', () => {});
  asked.end();
  await until('some are made', () => made > 0);
  let before = -1;
  await until('no more are made', async () => {
    const same = made === before;
    before = made;
    await new Promise((resolve) => setTimeout(resolve, 50));
    return same;
  });
  t.ok(made < 1000, `${made} lines`);
  asked.destroy();
});
