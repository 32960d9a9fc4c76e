/**
 * The Python client, installed from its folder, against the sidecar itself; and the examples in
 * Python.
 */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { type ClientFixture, clientFixture } from '../clients/fixture.ts';
import { EXAMPLES } from '../examples/documents.ts';
import { tell } from '../examples/story.ts';
import { missing } from './clients.ts';

const run = promisify(execFile);
const ROOT = resolve(import.meta.dirname, '../..');
const SCRIPT = join(import.meta.dirname, 'task_client.py');
const skip = missing(['python3', '-c', 'import chaperone_client, requests, httpx']);

function environment(p: ClientFixture): NodeJS.ProcessEnv {
  const roots = join(p.folder, 'trust', 'bundle.pem');
  return {
    PATH: process.env['PATH'],
    CHAPERONE_AGENT_API: p.agentSocket,
    SSL_CERT_FILE: roots,
    REQUESTS_CA_BUNDLE: roots,
    // Of a pod: a proxy without a task, which must not win.
    HTTP_PROXY: 'http://127.0.0.1:9',
    http_proxy: 'http://127.0.0.1:9',
  };
}

async function agent(p: ClientFixture, command: string): Promise<unknown> {
  return answerOf(await run('python3', [SCRIPT, command], { env: environment(p) }));
}

const answerOf = ({ stdout }: { readonly stdout: string }): unknown =>
  JSON.parse(stdout.trim().split('\n').at(-1) ?? '');

t.test(
  'a task is a block, and its calls go out by the client, requests and httpx alike',
  { skip },
  async (t) => {
    await using p = await clientFixture();
    const said = (await agent(p, 'use')) as Readonly<Record<string, unknown>>;
    t.same(said['grant'], [['crm', 'web'], ['read'], ['write']]);
    t.same(said['refused'], [['targets', 'vault']]);
    const wanted = [
      200,
      404,
      ['denied', 403, 'no-exports', true],
      200,
      ['denied', 403, null, true],
      ['denied', 403, null, true],
    ];
    t.same(said['said'], { request: wanted, requests: wanted, httpx: wanted });
    t.equal(said['first'], 'Ada Engines Ltd');
    t.same(said['early'], Array(3).fill('denied'), 'refusals that come before the upload is over');
    t.match(said['late'], [
      ['task-unknown', 407],
      ['task-unknown', 407],
      ['task-unknown', 407],
    ]);
    t.equal(said['ended'], true);
    t.same(
      p.upstream
        .requests()
        .map(({ method, target, peer }) => `${method} ${target} ${peer.spiffeId}`),
      [...[1, 2, 3].flatMap(() => ['/v1/customers', '/v1/customers/9']), '/v1/customers'].map(
        (path) => `GET ${path} spiffe://dev.local/agent`,
      ),
    );
    t.same(p.web.requests(), ['GET /v1/models', 'GET /v1/models', 'GET /v1/models']);
    t.same(await p.eventsUntil('completed'), ['opened', 'completed']);
  },
);

t.test(
  'a step-up is approved meanwhile by the operator, is good for one call, and may be denied',
  { skip },
  async (t) => {
    await using p = await clientFixture();
    const running = run('python3', [SCRIPT, 'step_up'], { env: environment(p) });
    if (running.child.stdout !== null) await once(running.child.stdout, 'data');
    await p.answer('approve');
    await p.eventsUntil('step-up-asked', 2);
    await p.answer('deny');
    const refused = ['step-up-required', 403];
    t.match(answerOf(await running), [
      refused,
      'pending',
      'pending',
      true,
      'approved',
      'olga',
      201,
      refused,
      'denied',
      'refused',
      ['denied', 403],
    ]);
    t.equal(p.upstream.requests().filter(({ method }) => method === 'POST').length, 1);
  },
);

t.test(
  'a derived task is narrower and ends with its parent; a task can be extended',
  { skip },
  async (t) => {
    await using p = await clientFixture();
    t.match(await agent(p, 'derive'), [
      ['read'],
      [],
      200,
      ['denied', 403],
      true,
      true,
      ['task-unknown', 407],
    ]);
  },
);

t.test('a child process is in the task by its environment', { skip }, async (t) => {
  await using p = await clientFixture();
  t.same(await agent(p, 'parent'), [true, 200, 200]);
  t.same(await p.eventsUntil('completed'), ['opened', 'completed'], 'the child did not end it');
});

t.test(
  'a process that is killed, or that forgets its task, leaves no task behind',
  { skip },
  async (t) => {
    await using p = await clientFixture();
    const child = spawn('python3', [SCRIPT, 'hang'], {
      env: environment(p),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(child.stdout, 'data');
    t.same(await p.tasks(), ['open']);
    child.kill('SIGKILL');
    await p.eventsUntil('revoked');
    await agent(p, 'leave');
    await p.eventsUntil('revoked', 2);
  },
);

t.test('a socket that is wrong says so', { skip }, async (t) => {
  await using p = await clientFixture();
  t.match(
    await agent({ ...p, agentSocket: `${p.folder}/no.sock` }, 'nowhere'),
    /no\.sock does not answer.*agentApi/,
  );
  t.match(await agent({ ...p, agentSocket: '' }, 'nowhere'), /CHAPERONE_AGENT_API/);
  t.match(await agent({ ...p, agentSocket: p.folder }, 'nowhere'), /does not answer/);
});

t.test('its types hold', { skip: missing(['python3', '-m', 'mypy', '--version']) }, async (t) => {
  const files = [
    'clients/python/chaperone_client',
    'examples/python',
    'test/interop/task_client.py',
  ];
  const args = ['-m', 'mypy', '--strict', '--cache-dir', join(t.testdir(), 'mypy'), ...files];
  await t.resolves(run('python3', args, { cwd: ROOT }));
});

t.test('the plain loop in Python reads, is refused, asks, writes once, and stops', { skip }, (t) =>
  tell(t, ['python3', join(EXAMPLES, 'python/agent.py')]),
);

t.test(
  'the agent on LangGraph does the same',
  { skip: skip === false ? missing(['python3', '-c', 'import langgraph.graph']) : skip },
  (t) => tell(t, ['python3', join(EXAMPLES, 'langgraph/agent.py')]),
);

t.test('the program of docs/clients.md reads, is refused, and is approved', { skip }, async (t) => {
  const page = readFileSync(join(ROOT, 'docs/clients.md'), 'utf8');
  const [, program = ''] = /```python\n([\s\S]*?)```/.exec(page) ?? [];
  const note = `note = {"customer": "1001", "text": "called"}\n`;
  await using p = await clientFixture();
  const running = run('python3', ['-c', `${note}${program}print(answer.state)\n`], {
    env: environment(p),
  });
  await p.answer('approve');
  t.equal((await running).stdout, 'approved\n');
  t.same(await p.eventsUntil('completed'), [
    'opened',
    'step-up-asked',
    'step-up-approved',
    'completed',
  ]);
});
