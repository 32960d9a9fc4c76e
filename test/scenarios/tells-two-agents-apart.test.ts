import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { openTask } from '../../clients/typescript/client.ts';
import { apiClient } from '../../cmd/api-client.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { shortFolder } from '../support/folder.ts';
import {
  type AgentRoom,
  INTENT,
  agentIn,
  agentsSpec,
  at,
  getOf,
  statusAt,
  taskedCrm,
} from './agents.ts';
import { type TestSidecar, testSidecar } from '../support/sidecar.ts';
import t, { type Test } from 'tap';

interface Pair {
  readonly s: TestSidecar;
  readonly a: AgentRoom;
  readonly b: AgentRoom;
}

async function pair(t: Test): Promise<Pair> {
  const root = join(shortFolder(t), 'agents');
  const s = await testSidecar({ more: agentsSpec(root), destinations: taskedCrm });
  t.teardown(() => s[Symbol.asyncDispose]());
  return { s, a: agentIn(root, 'a'), b: agentIn(root, 'b') };
}

const PATH = '/v1/customers/1001';
const LOCAL = `GET ${PATH} HTTP/1.1\r\nHost: crm.internal\r\nConnection: close\r\n\r\n`;

t.test(
  'what comes by the forward socket of an agent is its own, and takes no task of another',
  async (t) => {
    const { s, a, b } = await pair(t);
    const [own, other] = [await a.open(), await b.open()];
    t.equal(own.forwardSocket, join(a.folder, 'forward.sock'));
    t.equal(statusOf(await a.get(PATH, own.credentials)), 200);
    const before = s.api.requests().length;
    const stolen = await a.get(PATH, other.credentials);
    t.equal(statusOf(stolen), 407);
    t.match(refusal(stolen), { code: 'task-unknown' });
    t.equal(statusOf(await a.get(PATH)), 407, 'and an agent without a task is no task');
    t.equal(s.api.requests().length, before, 'the upstream received not one of them');
    const decided = s.records().filter(({ kind }) => kind === 'decided');
    t.match(decided, [
      { agent: 'a', task: own.id, effect: 'allow' },
      { agent: 'a', code: 'task-required' },
    ]);
    t.match(
      s.records().find(({ kind }) => kind === 'refused'),
      { agent: 'a', code: 'task-unknown' },
    );
    t.match(
      s.records().filter(({ event }) => event === 'opened'),
      [
        { agent: 'a', task: own.id },
        { agent: 'b', task: other.id },
      ],
    );
  },
);

t.test(
  'the forward socket takes origin-form too, for the host that Host names, and for no page of another origin',
  async (t) => {
    const { s, a } = await pair(t);
    const own = await a.open();
    const ask = (more: string, path = PATH): Promise<string> =>
      at(own.forwardSocket, `GET ${path} HTTP/1.1\r\n${more}Connection: close\r\n\r\n`);
    const proof = `Proxy-Authorization: ${own.credentials}\r\n`;
    t.equal(statusOf(await ask(`Host: crm.internal\r\n${proof}`)), 200);
    const seen = s.api.requests().length;
    t.equal(statusOf(await ask(`Host: other.internal\r\n${proof}`)), 403);
    t.equal(statusOf(await ask('Host: crm.internal\r\n')), 407);
    t.equal(
      statusOf(await ask(`Host: crm.internal\r\nOrigin: http://evil.example\r\n${proof}`)),
      403,
    );
    t.equal(statusOf(await ask(proof)), 400);
    const line = await s.open();
    line.write(`GET ${PATH} HTTP/1.1\r\nHost: crm.internal\r\n${proof}Connection: close\r\n\r\n`);
    t.equal(statusOf(await line.ended()), 400, 'the port does not');
    t.equal(s.api.requests().length, seen);
  },
);

t.test('a client of agents finds the API by the folder of its agent', async (t) => {
  const { a } = await pair(t);
  await using task = await openTask(INTENT, { socket: a.folder });
  t.match(await a.ask('GET', '/v1/tasks', task.environment()['CHAPERONE_TASK_CREDENTIALS']), {
    tasks: [{ agent: 'a', id: task.id }],
  });
});

t.test(
  'a port proves nothing: what comes by one is an agent’s once it has shown a task',
  async (t) => {
    const { s, b } = await pair(t);
    const own = await b.open();
    const ask = async (credentials?: string): Promise<string> => {
      const line = await s.open();
      line.write(getOf(PATH, credentials));
      return line.ended();
    };
    t.equal(statusOf(await ask()), 407);
    t.equal(statusOf(await ask(own.credentials)), 200);
    const [nobody, proved] = s.records().filter(({ kind }) => kind === 'decided');
    t.notOk(nobody !== undefined && 'agent' in nobody);
    t.match(proved, { agent: 'b', task: own.id });
  },
);

t.test('the API of an agent neither opens, shows nor ends what is another’s', async (t) => {
  const { s, a, b } = await pair(t);
  const other = await b.open();
  for (const [method, path] of [
    ['GET', '/v1/tasks'],
    ['GET', `/v1/tasks/${other.id}`],
    ['POST', `/v1/tasks/${other.id}/complete`],
  ] as const)
    await t.rejects(a.ask(method, path, other.authorization), { code: 'task-unknown' }, path);
  t.match(await b.ask('GET', `/v1/tasks/${other.id}`, other.authorization), {
    state: 'open',
    agent: 'b',
  });
  const operator = apiClient(join(s.folder, 'admin', 'api.sock'));
  await t.rejects(operator.ask({ method: 'POST', path: '/v1/tasks', body: INTENT }), {
    code: 'task-refused',
  });
  t.match(await operator.ask({ method: 'POST', path: '/v1/agents/a/tasks', body: INTENT }), {
    agent: 'a',
  });
  await t.rejects(operator.ask({ method: 'POST', path: '/v1/agents/c/tasks', body: INTENT }), {
    code: 'no-such-agent',
  });
});

t.test(
  'the socket of a task is one in the folder of its agent, and is that of its task alone',
  async (t) => {
    const { s, a, b } = await pair(t);
    const [own, other] = [await a.open(), await b.open()];
    const path = own.sockets['crm'] ?? '';
    t.ok(path.startsWith(join(a.folder, 'tasks')));
    t.equal(await statusAt(path, LOCAL), 200);
    const mixed = LOCAL.replace(
      'Connection',
      `Proxy-Authorization: ${other.credentials}\r\nConnection`,
    );
    t.equal(statusOf(await at(path, mixed)), 407);
    t.match(
      s.records().filter(({ kind }) => kind === 'decided'),
      [{ agent: 'a', task: own.id }],
    );
    const mode = (one: string): string => (statSync(one).mode & 0o777).toString(8);
    t.same([a.folder, join(a.folder, 'tasks'), join(path, '..')].map(mode), ['750', '750', '750']);
    t.same([path, own.forwardSocket, join(a.folder, 'api.sock')].map(mode), ['660', '660', '660']);
  },
);

/** Tries to connect, as a user of no group of ours; prints what became of it. */
const CONNECT = `
require('net').connect(process.argv[1]).on('connect', () => { console.log('connected'); process.exit(0); })
  .on('error', ({ code }) => console.log(code));
`;

function asAnother(path: string): string {
  const args = [
    '--reuid=4242',
    '--regid=4242',
    '--clear-groups',
    process.execPath,
    '-e',
    CONNECT,
    path,
  ];
  return execFileSync('setpriv', args, { encoding: 'utf8' }).trim();
}

function cannotBecomeAnother(): string | false {
  if (process.platform !== 'linux') return 'needs /proc of Linux';
  const args = ['--reuid=4242', '--regid=4242', '--clear-groups', process.execPath, '--version'];
  return spawnSync('setpriv', args).status !== 0 && 'this user cannot become another';
}

t.test(
  'a path that the kernel tells everybody is of no use to another user',
  { skip: cannotBecomeAnother() },
  async (t) => {
    const { a } = await pair(t);
    const root = join(a.folder, '..');
    execFileSync('chmod', ['755', root, join(root, '..')]);
    const { sockets } = await a.open();
    const listed = readFileSync('/proc/net/unix', 'utf8')
      .split('\n')
      .map((line) => line.split(' ').at(-1) ?? '')
      .filter((path) => path.startsWith(root));
    for (const path of [
      sockets['crm'] ?? '',
      join(a.folder, 'api.sock'),
      join(a.folder, 'forward.sock'),
    ]) {
      t.ok(listed.includes(path), `${path} is known to everybody in the network namespace`);
      t.equal(asAnother(path), 'EACCES');
    }
  },
);
