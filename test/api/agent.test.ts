/**
 * The doors to tasks: what an agent may ask of its own, what only an operator may, and that the
 * published description is what is served.
 */
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Ajv } from 'ajv';
import t, { type Test } from 'tap';
import { startAdmin } from '../../lib/api/admin.ts';
import { agentApi } from '../../lib/api/agent.ts';
import { startAgentApi } from '../../lib/api/agent-socket.ts';
import { agentHome } from '../../lib/api/agent-folder.ts';
import { MAX_BODY } from '../../lib/api/api.ts';
import { operatorApi } from '../../lib/api/operator.ts';
import { taskFeed } from '../../lib/api/task-feed.ts';
import { until } from '../support/until.ts';
import { desk, refusedCall, rule, type Desk } from '../tasks/fixture.ts';

interface Answer {
  readonly status: number;
  readonly json: Record<string, never> & { readonly error?: string; readonly message?: string };
  readonly headers: Readonly<Record<string, unknown>>;
}

interface Doors extends Desk {
  readonly folder: string;
  readonly port: number;
  agent(method: string, path: string, given?: Given): Promise<Answer>;
  operator(method: string, path: string, given?: Given): Promise<Answer>;
  tcp(method: string, path: string, given?: Given): Promise<Answer>;
}

interface Given {
  readonly body?: unknown;
  readonly as?: Readonly<Record<string, string>> | undefined;
  readonly headers?: Readonly<Record<string, string>>;
}

const TOKEN = 'T'.repeat(40);
const INTENT = {
  purpose: 'support',
  owner: 'alice',
  targets: ['crm', 'wiki'],
  actions: ['read', 'write'],
  lifetime: '5m',
};

async function doors(t: Test): Promise<Doors> {
  const folder = mkdtempSync(join(tmpdir(), 'c-'));
  const feed = taskFeed();
  const d = desk({ tell: (event) => feed.tell(event) }, rule({ depth: 1 }));
  const parts = {
    tasks: d.tasks,
    feed,
    ways: { proxy: () => '127.0.0.1:15001', sockets: () => Promise.resolve({}) },
  };
  writeFileSync(join(folder, 'token'), TOKEN);
  const tcp = { address: { host: '127.0.0.1', port: 0 }, tokenFile: join(folder, 'token') };
  const socket = join(folder, 'agent', 'a.sock');
  const home = { socket, folder: `${socket}.d`, forward: false, mode: 0o660, group: undefined };
  const made = await agentHome(home);
  const door = await startAgentApi({ ...home, tcp, api: agentApi(parts) });
  const tools = { pins: () => [], approve: () => {} };
  const admin = await startAdmin({
    socket: join(folder, 'admin', 'a.sock'),
    status: () => ({}),
    quit: () => {},
    tools,
    api: operatorApi(parts),
  });
  t.teardown(async () => {
    await door[Symbol.asyncDispose]();
    await made[Symbol.asyncDispose]();
    await admin[Symbol.asyncDispose]();
    await d.tasks[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true, force: true });
  });
  const at =
    (where: { socketPath: string } | { host: string; port: number }) =>
    (method: string, path: string, given?: Given) =>
      ask({ ...where, method, path }, given);
  const port = door.address?.port ?? 0;
  return {
    ...d,
    folder,
    port,
    agent: at({ socketPath: join(folder, 'agent', 'a.sock') }),
    operator: at({ socketPath: join(folder, 'admin', 'a.sock') }),
    tcp: at({ host: '127.0.0.1', port }),
  };
}

function ask(where: object, { body, as, headers = {} }: Given = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const all = {
      ...headers,
      ...(as === undefined ? undefined : { authorization: as['authorization'] ?? '' }),
    };
    const asked = request({ ...where, agent: false, headers: all }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('end', () => {
        const json = text.startsWith('{') ? JSON.parse(text.split('\n')[0] ?? '') : {};
        resolve({ status: answer.statusCode ?? 0, json, headers: answer.headers });
      });
    });
    asked.on('error', reject);
    asked.end(
      body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body),
    );
  });
}

t.test(
  'an agent opens a task, sees it, extends it, derives from it and completes it',
  async (t) => {
    const d = await doors(t);
    const opened = await d.agent('POST', '/v1/tasks', {
      body: { ...INTENT, targets: ['crm', 'vault'] },
    });
    t.equal(opened.status, 201);
    const { id } = opened.json;
    t.match(opened.json, {
      state: 'open',
      grant: { destinations: ['crm'], actions: ['read'], stepUp: ['write'] },
      refused: [
        { part: 'targets', value: 'vault', reason: /task policy support does not have it/ },
      ],
      proxyUrl: new RegExp(`^http://${id}:[A-Za-z0-9_-]{43}@127\\.0\\.0\\.1:15001$`),
    });
    const own = { as: opened.json };
    t.match((await d.agent('GET', `/v1/tasks/${id}`, own)).json, { id, uses: 0 });
    const seen = (await d.agent('GET', `/v1/tasks/${id}`, own)).json;
    t.notMatch(seen, { authorization: /./ }, 'the secrets are told once');
    t.notMatch(seen, { credentials: /./ });
    t.equal(
      (await d.agent('POST', `/v1/tasks/${id}/extend`, { ...own, body: { lifetime: '10m' } }))
        .status,
      200,
    );
    const child = await d.agent('POST', `/v1/tasks/${id}/tasks`, {
      ...own,
      body: { ...INTENT, actions: ['read'] },
    });
    t.match(child.json, { parent: id, depth: 1, grant: { actions: ['read'], stepUp: [] } });
    t.match((await d.agent('GET', '/v1/tasks', own)).json, { tasks: [{ id }, { parent: id }] });
    t.match((await d.agent('POST', `/v1/tasks/${id}/complete`, own)).json, { state: /completed/ });
    t.equal((await d.agent('GET', `/v1/tasks/${id}`, own)).status, 401);
    t.equal(
      (await d.agent('GET', `/v1/tasks/${child.json['id']}`, { as: child.json })).status,
      401,
      'ended with its parent',
    );
  },
);

t.test(
  'what uses a task sees it and asks for step-ups, and does not extend, derive from or complete it',
  async (t) => {
    const d = await doors(t);
    const opened = (await d.agent('POST', '/v1/tasks', { body: INTENT })).json;
    const path = `/v1/tasks/${opened['id']}`;
    const uses = { as: { authorization: opened['credentials'] ?? '' } };
    const { username, password } = new URL(opened['proxyUrl'] ?? '');
    t.equal(
      opened['credentials'],
      `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
    );
    t.not(opened['credentials'], opened['authorization']);
    t.equal((await d.agent('GET', path, uses)).status, 200);
    t.match((await d.agent('GET', '/v1/tasks', uses)).json, { tasks: [{ id: opened['id'] }] });
    t.equal((await d.agent('GET', `${path}/step-ups`, uses)).status, 200);
    for (const [end, body] of [
      ['extend', { lifetime: '10m' }],
      ['tasks', INTENT],
      ['complete', {}],
    ] as const) {
      const refused = await d.agent('POST', `${path}/${end}`, { ...uses, body });
      t.match(
        [refused.status, refused.json],
        [403, { error: 'not-yours', message: /authorization/ }],
        end,
      );
    }
    const [task] = d.tasks.list();
    t.match([d.tasks.list().length, task?.open, task?.lifetime], [1, true, 300_000]);
    t.throws(
      () => d.tasks.authenticate(opened['authorization'] ?? '', 'x'),
      { code: 'task-unknown' },
      'which is no way out',
    );
  },
);

t.test(
  'a derived task is extended by what it was derived from, and by the operator, and not by itself',
  async (t) => {
    const d = await doors(t);
    const parent = (await d.agent('POST', '/v1/tasks', { body: INTENT })).json;
    const derive = { as: parent, body: { ...INTENT, actions: ['read'], lifetime: '5s' } };
    const child = (await d.agent('POST', `/v1/tasks/${parent['id']}/tasks`, derive)).json;
    const path = `/v1/tasks/${child['id']}/extend`;
    const body = { lifetime: '4m' };
    const task = d.tasks.get(child['id'] ?? '');
    const itself = await d.agent('POST', path, { as: child, body });
    t.match([itself.status, itself.json.error, task?.lifetime], [403, 'not-yours', 5000]);
    t.equal(
      (await d.agent('POST', path, { as: { authorization: parent['credentials'] ?? '' }, body }))
        .status,
      403,
    );
    t.equal((await d.agent('POST', path, { as: parent, body })).status, 200);
    t.ok((task?.lifetime ?? 0) >= 240_000);
    t.equal((await d.operator('POST', path, { body: { lifetime: '4.5m' } })).status, 400);
    d.clock.pass(10_000);
    t.equal((await d.operator('POST', path, { body })).status, 200);
  },
);

t.test('an agent touches no task but its own, and approves nothing', async (t) => {
  const d = await doors(t);
  const [mine, theirs] = [
    await d.agent('POST', '/v1/tasks', { body: INTENT }),
    await d.agent('POST', '/v1/tasks', { body: INTENT }),
  ];
  const own = { as: mine.json };
  for (const path of ['', '/complete', '/extend', '/tasks', '/step-ups']) {
    const method = path === '' ? 'GET' : 'POST';
    const body =
      path === '/extend' ? { lifetime: '1m' } : path === '/step-ups' ? { decision: 'x' } : INTENT;
    const answer = await d.agent(
      method,
      `/v1/tasks/${theirs.json['id']}${path}`,
      method === 'GET' ? own : { ...own, body },
    );
    t.match([answer.status, answer.json.error], [403, 'not-yours'], path);
    const bare = await d.agent(
      method,
      `/v1/tasks/${theirs.json['id']}${path}`,
      method === 'GET' ? {} : { body },
    );
    t.match([bare.status, bare.json.error], [401, 'task-unknown'], `${path} without credentials`);
  }
  const seen: readonly { readonly id: string }[] =
    (await d.agent('GET', '/v1/tasks', own)).json['tasks'] ?? [];
  t.same(
    seen.map(({ id }) => id),
    [mine.json['id']],
  );
  const ofMine = d.tasks.get(mine.json['id'] ?? '');
  if (ofMine === undefined) return;
  const decision = refusedCall(d, ofMine);
  const asked = await d.agent('POST', `/v1/tasks/${mine.json['id']}/step-ups`, {
    ...own,
    body: { decision },
  });
  t.match([asked.status, asked.json['state']], [202, 'pending']);
  for (const path of [
    `/v1/step-ups/${asked.json['id']}/approve`,
    '/v1/step-ups',
    '/v1/revoke-all',
    '/v1/events',
    '/status',
    '/quitquitquit',
  ])
    for (const method of ['GET', 'POST'])
      t.match(
        [
          (await d.agent(method, path, method === 'GET' ? own : { ...own, body: { by: 'me' } }))
            .status,
          path,
        ],
        [404, path],
      );
  t.ok(d.tasks.list().every(({ open, approvals }) => open && approvals.length === 0));
});

t.test('an operator sees every task, approves, refuses and revokes', async (t) => {
  const d = await doors(t);
  const mine = await d.agent('POST', '/v1/tasks', { body: INTENT });
  const { id } = mine.json;
  const path = `/v1/tasks/${id}/step-ups`;
  const task = d.tasks.get(id ?? '');
  if (task === undefined) return;
  const ask = (given: Parameters<typeof refusedCall>[2], reason?: string): Promise<Answer> =>
    d.agent('POST', path, {
      as: mine.json,
      body: { decision: refusedCall(d, task, given), reason },
    });
  const [one, two] = [await ask({}, 'please'), await ask({ destination: 'wiki' })];
  t.match((await d.operator('GET', '/v1/step-ups')).json['stepUps'], [
    {
      call: { method: 'POST', path: '/v1/notes' },
      rule: 'write',
      untrusted: { reason: 'please' },
      reason: undefined,
    },
    { action: 'write', destination: 'wiki' },
  ]);
  const approved = await d.operator('POST', `/v1/step-ups/${one.json['id']}/approve`, {
    body: { by: 'olga', ttl: '10s' },
  });
  t.match(approved.json, { state: 'approved', answeredBy: 'olga' });
  await d.operator('POST', `/v1/step-ups/${two.json['id']}/deny`, {
    body: { by: 'olga', reason: 'no' },
  });
  t.match((await d.agent('GET', path, { as: mine.json })).json['stepUps'], [
    { state: 'approved' },
    { state: 'denied', answer: 'no' },
  ]);
  t.match((await d.agent('GET', `${path}/${two.json['id']}`, { as: mine.json })).json, {
    state: 'denied',
  });
  t.match((await d.operator('GET', '/v1/tasks')).json['tasks'], [
    { id, approvals: [{ action: 'write', destination: 'crm', rule: 'write', callsLeft: 1 }] },
  ]);
  t.match((await d.operator('POST', `/v1/tasks/${id}/revoke`, { body: { by: 'olga' } })).json, {
    state: /revoked/,
  });
  t.equal(
    (await d.operator('POST', `/v1/tasks/${id}/revoke`, { body: {} })).status,
    400,
    'who revokes is said',
  );
  t.match((await d.operator('POST', '/v1/tasks/t-none/complete')).json, { error: 'no-such-task' });
});

t.test('a task that is held ends with the connection that holds it', async (t) => {
  const d = await doors(t);
  const lines: string[] = [];
  const asked = request(
    {
      socketPath: join(d.folder, 'agent', 'a.sock'),
      method: 'POST',
      path: '/v1/tasks',
      agent: false,
    },
    (answer) => {
      answer
        .on('data', (chunk: Buffer) => lines.push(...chunk.toString().trim().split('\n')))
        .on('error', () => {});
    },
  );
  asked.on('error', () => {});
  asked.end(JSON.stringify({ ...INTENT, hold: true }));
  await until('it is open', () => lines.length > 0 || undefined);
  const [task] = d.tasks.list();
  t.ok(task?.open);
  asked.destroy();
  await until('it is revoked', () => task?.open === false || undefined);
});

t.test(
  'what is wrong with a request is answered with its place, and nothing is opened',
  async (t) => {
    const d = await doors(t);
    const cases: readonly (readonly [Given, number, RegExp])[] = [
      [{ body: '{"purpose": "support"' }, 400, /body: neither a comma nor an end, at character 21/],
      [{ body: '{"purpose": "a",\n "lifetime": 5}' }, 400, /body:2:14 lifetime: 5 is a number/],
      [{ body: '{"purpose": "a", "Purpose": "b"}' }, 400, /letter case alone/],
      [{ body: 'purpose: support' }, 400, /no JSON value/],
      [{ body: '{purpose: support}' }, 400, /no member name/],
      [{ body: { ...INTENT, ttl: '5m' } }, 400, /unknown key "ttl"/],
      [{ body: '' }, 400, /purpose: the key is missing/],
      [{ body: { ...INTENT, purpose: 'other' } }, 403, /no task policy has the purpose other/],
      [{ body: 'x'.repeat(MAX_BODY + 1) }, 413, /at most/],
      [
        { body: 'a=b', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
        400,
        /not JSON/,
      ],
    ];
    for (const [given, status, message] of cases) {
      const answer = await d.agent('POST', '/v1/tasks', given);
      t.match([answer.status, answer.json.message], [status, message]);
    }
    t.match(
      [
        (await d.agent('PUT', '/v1/tasks')).status,
        (await d.agent('PUT', '/v1/tasks')).headers['allow'],
      ],
      [405, /POST/],
    );
    t.equal((await d.agent('GET', '/v1/tasks/../tasks')).status, 404);
    t.equal(d.tasks.list().length, 0);
  },
);

t.test('the loopback port asks for its token, and turns browsers away (T9)', async (t) => {
  const d = await doors(t);
  const headers = { 'chaperone-token': TOKEN };
  t.equal((await d.tcp('POST', '/v1/tasks', { body: INTENT, headers })).status, 201);
  for (const wrong of [{}, { 'chaperone-token': `${TOKEN}x` }, { 'chaperone-token': '' }])
    t.equal((await d.tcp('POST', '/v1/tasks', { body: INTENT, headers: wrong })).status, 403);
  t.equal(
    (
      await d.tcp('POST', '/v1/tasks', {
        body: INTENT,
        headers: { ...headers, origin: 'http://evil.example' },
      })
    ).status,
    403,
  );
  t.equal(d.tasks.list().length, 1);
});

t.test('the sockets are where they should be, with the modes they should have', async (t) => {
  const d = await doors(t);
  const mode = (...path: string[]): string =>
    (statSync(join(d.folder, ...path)).mode & 0o777).toString(8);
  t.same([mode('agent', 'a.sock'), mode('admin', 'a.sock'), mode('admin')], ['660', '600', '700']);
  t.equal(mode('agent'), '750');
});

type Paths = Record<
  string,
  Record<string, { requestBody?: { content: Record<string, { schema: object }> } }>
>;

t.test('the OpenAPI documents describe what is served', async (t) => {
  const d = await doors(t);
  for (const door of ['agent', 'operator'] as const) {
    const { json } = await d[door]('GET', '/openapi.json');
    t.equal(json['openapi'], '3.1.0', door);
    const paths: Paths = Object(json['paths']);
    t.ok(Object.keys(paths).length > 5);
    for (const [path, methods] of Object.entries(paths)) {
      // Goes on for as long as it is watched.
      if (path === '/v1/events') continue;
      for (const [method, { requestBody }] of Object.entries(methods)) {
        const answer = await d[door](
          method.toUpperCase(),
          path.replaceAll(/\{\w+\}/g, 'x'),
          requestBody && { body: {} },
        );
        t.not(answer.headers['content-type'], undefined, `${method} ${path}`);
        t.not(answer.status, 405, `${method} ${path}`);
      }
    }
    const schema =
      paths['/v1/tasks']?.['post']?.requestBody?.content['application/json']?.schema ?? {};
    const validate = new Ajv({ strict: false }).compile(schema);
    t.ok(validate(INTENT), JSON.stringify(validate.errors));
    t.notOk(validate({ ...INTENT, ttl: '5m' }));
  }
});
