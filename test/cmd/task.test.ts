/** Tasks as a developer and an operator meet them: the commands against a running sidecar. */
import { execFile } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { shortFolder } from '../support/folder.ts';
import { chaperone, eventually, startChaperone, type TestProgram } from '../support/program.ts';
import { crmDocument, document, documents, sidecarDocument } from '../support/documents.ts';
import { type TestWorkload, testWorkload } from '../support/workload.ts';

t.setTimeout(600_000);

const INTENT =
  'purpose: support\nowner: alice\ntargets: [crm]\nactions: [read, write]\nlifetime: 5m\n';

interface TaskSidecar extends AsyncDisposable {
  readonly workload: TestWorkload;
  readonly running: TestProgram;
  readonly config: string;
  readonly intent: string;
  readonly folder: string;
  readonly options: readonly string[];
  records(): readonly Readonly<Record<string, unknown>>[];
}

async function taskSidecar(t: Tap): Promise<TaskSidecar> {
  const workload = await testWorkload();
  const folder = shortFolder(t);
  const config = join(folder, 'c.yaml');
  const intent = join(folder, 'intent.yaml');
  writeFileSync(intent, INTENT);
  writeFileSync(config, written(folder, workload));
  const running = startChaperone(['run', '-c', config]);
  await eventually('ready', () => /listening: /.test(running.text()) || undefined);
  await eventually(
    'an identity',
    () => /generation \d+: spiffe:/.test(running.text()) || undefined,
  );
  return {
    workload,
    running,
    config,
    intent,
    folder,
    options: ['-c', config],
    records: () =>
      readFileSync(join(folder, 'audit.jsonl'), 'utf8')
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line)),
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]();
      await workload[Symbol.asyncDispose]();
    },
  };
}

type Tap = Parameters<typeof shortFolder>[0];

function written(folder: string, { endpoint, upstreams }: TestWorkload): string {
  return documents(
    sidecarDocument({
      name: 'agent',
      endpoint,
      spiffeId: 'spiffe://dev.local/agent',
      more: `  agentApi: { socket: '${folder}/agent/a.sock' }
  adminApi: { socket: '${folder}/admin/a.sock' }
  audit: { sinks: [{ file: audit.jsonl }] }`,
    }),
    crmDocument({
      address: upstreams.crm.address,
      more: `  dataClass: confidential
  rules:
    - { name: read, effect: allow, action: read, http: { methods: [GET] } }
    - { name: write, effect: allow, action: write, http: { methods: [POST] } }`,
    }),
    document(
      'TaskPolicy',
      'support',
      `  purposes: [support]
  destinations: [crm]
  actions: [read]
  dataClasses: [confidential]
  stepUp: [{ actions: [write] }]`,
    ),
  );
}

/** A program that asks for a page through its environment and prints the status. */
const FETCH = `fetch('http://crm.internal/v1/customers').then((r) => console.log('status', r.status))`;

t.test(
  'task run joins the environment that it was called in, and tells what it leaves out',
  async (t) => {
    await using p = await taskSidecar(t);
    const print = 'console.log(JSON.stringify(process.env))';
    const before = {
      NO_PROXY: 'crm.internal,docs.corp.example',
      JAVA_TOOL_OPTIONS: '-Xmx64m',
      NODE_OPTIONS: '--no-warnings',
    };
    const command = [...p.options, '--intent', p.intent, '--', process.execPath, '-e', print];
    const done = await chaperone(['task', 'run', ...command], before);
    const env = JSON.parse(done.out) as Record<string, string>;
    t.equal(env['NO_PROXY'], 'localhost,127.0.0.1,::1,docs.corp.example');
    t.match(done.err, /NO_PROXY: left out crm\.internal/);
    const { port } = new URL(env['CHAPERONE_RELAY'] ?? '');
    t.match(
      env['JAVA_TOOL_OPTIONS'],
      new RegExp(`^-Xmx64m .*-Dhttps\\.proxyPort=${port} `),
      'it sends no credential',
    );
    t.not(new URL(env['HTTP_PROXY'] ?? '').port, port);
    t.match(env['NODE_OPTIONS'], /--no-warnings/, 'and what the tests themselves preload');
    t.equal(env['WSS_PROXY'], env['HTTPS_PROXY']);
    t.match(env['CHAPERONE_TASK_CREDENTIALS'], /^Basic /);
    t.notOk('CHAPERONE_TASK_AUTHORIZATION' in env, 'nothing that extends the task');
  },
);

t.test('a program that cannot be run ends task run as it ends a shell', async (t) => {
  await using p = await taskSidecar(t);
  const unknown = await chaperone([
    'task',
    'run',
    ...p.options,
    '--intent',
    p.intent,
    '--',
    'no-such-program-here',
  ]);
  t.match(unknown, { status: 127, err: /^chaperone: no-such-program-here: command not found/m });
  const closed = await chaperone([
    'task',
    'run',
    ...p.options,
    '--intent',
    p.intent,
    '--',
    p.intent,
  ]);
  t.match(closed, { status: 126, err: /it may not be run; look at its mode/ });
});

t.test(
  'a program inside a task reaches what the task was granted, and nothing of it is left afterwards',
  async (t) => {
    await using p = await taskSidecar(t);
    const done = await chaperone([
      'task',
      'run',
      ...p.options,
      '--intent',
      p.intent,
      '--',
      process.execPath,
      '-e',
      FETCH,
    ]);
    t.match(done.out, /status 200/);
    t.equal(done.status, 0);
    const bare = await chaperone([
      'task',
      'run',
      ...p.options,
      '--intent',
      p.intent,
      '--',
      process.execPath,
      '-e',
      'process.exit(7)',
    ]);
    t.equal(bare.status, 7, 'the exit status is the program’s');
    const killed = await chaperone([
      'task',
      'run',
      ...p.options,
      '--intent',
      p.intent,
      '--',
      'sh',
      '-c',
      'kill -TERM $$',
    ]);
    t.equal(killed.status, 143);
    const listed = await chaperone(['task', 'list', ...p.options]);
    t.match(listed.out, /no task is open/);
    const events = p
      .records()
      .filter(({ kind }) => kind === 'task')
      .map(({ event }) => event);
    t.same(events, ['opened', 'completed', 'opened', 'completed', 'opened', 'completed']);
  },
);

t.test('killing the command ends the task too', async (t) => {
  await using p = await taskSidecar(t);
  const mark = join(p.folder, 'mark');
  const running = startChaperone([
    'task',
    'run',
    ...p.options,
    '--intent',
    p.intent,
    '--',
    'sh',
    '-c',
    `echo up > ${mark}; exec sleep 30`,
  ]);
  await eventually('the program runs', () => existsSync(mark) || undefined);
  const { out } = await chaperone(['task', 'list', ...p.options, '--json']);
  const heads = (await chaperone(['task', 'list', ...p.options])).out;
  t.match(
    heads,
    /^TASK +STATE +PURPOSE +FOR +MAY +ON +UNTIL\nt-\S+ +open +support +alice +read \(write\) +crm +20\S+\n$/,
  );
  t.match(JSON.parse(out), {
    tasks: [{ state: 'open', owner: 'alice', grant: { destinations: ['crm'] } }],
  });
  running.child.kill('SIGKILL');
  await eventually(
    'revoked',
    () => p.records().some(({ event }) => event === 'revoked') || undefined,
  );
  await running[Symbol.asyncDispose]();
});

t.test('an operator sees a step-up, approves it, and revokes everything', async (t) => {
  await using p = await taskSidecar(t);
  const opened = await chaperone(['task', 'open', ...p.options, '--intent', p.intent, '--json']);
  const { id, proxyUrl, authorization } = JSON.parse(opened.out);
  const variables = await chaperone(['task', 'open', ...p.options, '--intent', p.intent]);
  t.match(variables.out, /export HTTP_PROXY='?http:\/\/t-/);
  t.match(variables.out, /export http_proxy=/, 'curl reads the lower-case one alone');
  const post = async (): Promise<string> => {
    const script =
      `fetch('http://crm.internal/v1/notes', { method: 'POST', body: 'x' }).then(async (r) ` +
      '=> console.log(r.status, await r.text()), (e) => console.log(e.cause.message))';
    const env = { HTTP_PROXY: proxyUrl, NODE_USE_ENV_PROXY: '1' };
    return (await promisify(execFile)(process.execPath, ['-e', script], { env })).stdout;
  };
  const refused = await post();
  t.match(refused, /^403 .*step-up-required/);
  const [, decision] = /decision ([0-9a-f-]{36})/.exec(refused) ?? [];
  const stepUp = await new Promise<string>((resolve, reject) => {
    const asked = request(
      {
        socketPath: join(p.folder, 'agent', 'a.sock'),
        method: 'POST',
        path: `/v1/tasks/${id}/step-ups`,
        headers: { authorization, 'content-type': 'application/json' },
      },
      (answer) => {
        let text = '';
        answer
          .on('data', (chunk: Buffer) => (text += chunk.toString()))
          .on('end', () => resolve(JSON.parse(text).id));
      },
    );
    asked.on('error', reject).end(JSON.stringify({ decision, reason: 'the customer asked' }));
  });
  const about = `write on crm by rule write for task ${id}: POST crm.internal:80/v1/notes`;
  const listed = (await chaperone(['task', 'list', ...p.options])).out;
  t.ok(listed.includes(`${stepUp}  waits for an approval: ${about}\n`), listed);
  t.notMatch(listed, /the customer asked/);
  const { out: shown } = await chaperone(['task', 'questions', ...p.options]);
  for (const line of [
    new RegExp(`^${stepUp}  agent agent, task ${id}$`, 'm'),
    /^ {4}call {8}POST crm\.internal:80\/v1\/notes$/m,
    /^ {4}field {7}content-type = text\/plain;charset=UTF-8$/m,
    /^ {4}body {8}x$/m,
    /^ {4}approves {4}this call alone: action write on crm by rule write$/m,
    /^ {4}for {9}1 call within 60 s, sha-256:[\w-]{43}$/m,
    /^ {4}agent says {2}reason "the customer asked", purpose "support", owner "alice" \(unproved\)$/m,
  ])
    t.match(shown, line);
  t.equal(
    (await chaperone(['approve', ...p.options, stepUp, '--by', 'olga'])).out.trim(),
    `approved: ${about}`,
  );
  t.match((await chaperone(['task', 'questions', ...p.options])).out, /no question waits/);
  t.notMatch(await post(), /step-up-required/);
  t.equal((await chaperone(['approve', ...p.options, stepUp])).status, 66, 'once');
  t.match(
    (await chaperone(['revoke', ...p.options, '--all', '--by', 'olga'])).out,
    /revoked: 2 tasks/,
  );
  t.match(await post(), /407/);
  const revoked = p.records().filter(({ event }) => event === 'revoked');
  t.match(revoked, [{ detail: { why: /olga/ } }, {}]);
  t.notOk(readFileSync(join(p.folder, 'audit.jsonl'), 'utf8').includes(authorization.slice(6, 40)));
});

t.test('what is wrong with an intent, a socket or a task is said in one sentence', async (t) => {
  await using p = await taskSidecar(t);
  writeFileSync(p.intent, `${INTENT}ttl: 5m\n`);
  const wrong = await chaperone(['task', 'run', ...p.options, '--intent', p.intent, '--', 'true']);
  t.match(wrong.err, /intent\.yaml:6:1 unknown key "ttl"/);
  t.equal(wrong.status, 65);
  writeFileSync(p.intent, INTENT.replace('[crm]', '[erp]'));
  t.match(
    (await chaperone(['task', 'run', ...p.options, '--intent', p.intent, '--', 'true'])).err,
    /nothing is left of the intent/,
  );
  t.match(
    (await chaperone(['task', 'end', ...p.options, 't-nothing'])).err,
    /there is no task t-nothing/,
  );
  t.match(
    (await chaperone(['task', 'list', '--api', join(p.folder, 'no.sock')])).err,
    /does not answer/,
  );
  t.match((await chaperone(['revoke', ...p.options])).err, /name one task, or --all/);
});
