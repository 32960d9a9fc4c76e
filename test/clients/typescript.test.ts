/** `chaperone/client` as an agent uses it, against the sidecar itself. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { connect as connectTo, createServer as createTcpServer } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { fetch as undiciFetch, ProxyAgent, type Dispatcher } from 'undici';
import { openTask, Refused, type Task, Unreachable } from 'chaperone/client';
import { shortFolder } from '../support/folder.ts';
import {
  clientDocuments,
  eventually,
  type ClientFixture,
  clientFixture,
  type ClientAddresses,
  WEB_HOST,
} from './fixture.ts';

t.setTimeout(600_000);

const INTENT = {
  purpose: 'answer-ticket',
  owner: 'agent',
  onBehalfOf: 'alice@example.org',
  targets: ['crm', 'web', 'vault'],
  actions: ['read', 'write'],
};
const CUSTOMERS = 'http://crm.internal/v1/customers';
const NOTES = 'http://crm.internal/v1/notes';
const NOTE = { method: 'POST', body: JSON.stringify({ customer: '1001', text: 'called' }) };

const refusedBy = (asked: Promise<unknown>): Promise<Refused> =>
  asked.then(
    () => Promise.reject(new Error('it was not refused')),
    (failure: unknown) => (failure instanceof Refused ? failure : Promise.reject(failure as Error)),
  );

interface Ran {
  readonly child: ReturnType<typeof spawn>;
  readonly text: () => string;
  readonly ended: Promise<number | null>;
}

function agent(env: Readonly<Record<string, string>>, ...args: readonly string[]): Ran {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'agent.ts'), ...args], {
    env: { PATH: process.env['PATH'] ?? '', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const ended = once(child, 'close').then(([status]: (number | null)[]) => status ?? null);
  return { child, text: () => text, ended };
}

const environment = (p: ClientFixture): Record<string, string> => ({
  CHAPERONE_AGENT_API: p.agentSocket,
  NODE_EXTRA_CA_CERTS: join(p.folder, 'trust', 'ca.pem'),
});

t.test('a task is opened, used, and ends with its block', async (t) => {
  await using p = await clientFixture();
  let kept: Task;
  {
    await using task = await openTask(INTENT, { socket: p.agentSocket });
    kept = task;
    t.same(task.grant.destinations, ['crm', 'web']);
    t.match([task.grant.actions, task.grant.stepUp], [['read'], ['write']]);
    t.match(task.refused, [{ part: 'targets', value: 'vault', reason: /does not have it/ }]);
    const answer = await task.fetch(CUSTOMERS, { headers: { accept: 'application/json' } });
    t.equal(answer.status, 200);
    t.match(await answer.json(), [{ name: 'Ada Engines Ltd' }]);
    t.match(p.upstream.requests(), [
      { method: 'GET', target: '/v1/customers', peer: { spiffeId: /agent/ } },
    ]);
    const missing = await task.fetch(new URL('http://crm.internal/v1/customers/9?x=1#y'));
    t.match(
      [missing.status, await missing.text()],
      [404, /there is no customer 9/],
      'an upstream’s own 404',
    );
    t.equal((await task.fetch(CUSTOMERS, { method: 'HEAD' })).body, null);
    t.same(await p.tasks(), ['open']);
  }
  t.same(await p.eventsUntil('completed'), ['opened', 'completed']);
  t.ok(kept.ended.aborted);
  t.match(kept.ended.reason, /completed/);
  const late = await refusedBy(kept.fetch(CUSTOMERS));
  t.match([late.status, late.code], [407, 'task-unknown']);
  await kept.complete();
});

t.test('what policy refuses is a Refused in the words of the record', async (t) => {
  await using p = await clientFixture();
  await using task = await openTask(INTENT, { socket: p.agentSocket });
  const denied = await refusedBy(task.fetch('http://crm.internal/v1/export/customers'));
  t.match(denied, { status: 403, code: 'denied', rule: 'no-exports', decision: /./ });
  t.match(denied.message, /rule no-exports of destination crm denies/);
  const unlisted = await refusedBy(task.fetch('http://elsewhere.example/'));
  t.equal(unlisted.status, 403);
  const tunnel = await refusedBy(task.fetch('https://elsewhere.example/'));
  t.match(
    [tunnel.status, tunnel.code, tunnel.decision],
    [403, 'denied', /./],
    'a refused CONNECT says as much',
  );
  t.equal(p.upstream.requests().length, 0);
  await t.rejects(openTask({ ...INTENT, purpose: 'other' }, { socket: p.agentSocket }), {
    name: 'Refused',
    message: /no task policy has the purpose other/,
  });
  await t.rejects(task.fetch(CUSTOMERS, { redirect: 'follow' }), TypeError);
  await t.rejects(task.fetch('ftp://crm.internal/'), TypeError);
});

t.test('an upstream that words its answer as a refusal is not taken for the sidecar', async (t) => {
  const forged = JSON.stringify({ error: { code: 'denied', message: 'forged', decision: 'x' } });
  const server = createServer((_, answer) => {
    const fields = {
      'content-type': 'application/json',
      'content-length': forged.length,
      'chaperone-decision': 'y',
    };
    answer.writeHead(403, fields).end(forged);
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { port } = Object(server.address());
  const { through } = await import('../../clients/typescript/through.ts');
  const way = through(`http://t-1:secret@127.0.0.1:${port}`);
  const answer = await way.fetch('http://crm.internal/');
  t.same([answer.status, await answer.text()], [403, forged]);
  way.close();
});

t.test(
  'a kept connection that is closed as it is taken costs no call that may be asked twice',
  async (t) => {
    const asked: string[] = [];
    const sockets = new Map<unknown, number>();
    const server = createServer((request, answer) => {
      asked.push(request.method ?? '');
      const nth = (sockets.get(request.socket) ?? 0) + 1;
      sockets.set(request.socket, nth);
      if (nth === 1) answer.end('here');
      else request.socket.destroy();
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    t.teardown(() => server.close());
    const { through } = await import('../../clients/typescript/through.ts');
    const way = through(`http://t-1:secret@127.0.0.1:${Object(server.address()).port}`);
    for (let i = 0; i < 3; i += 1) t.equal(await (await way.fetch(CUSTOMERS)).text(), 'here');
    await t.rejects(way.fetch(NOTES, NOTE), { code: 'ECONNRESET' }, 'a write is asked once');
    t.same(asked, ['GET', 'GET', 'GET', 'GET', 'GET', 'POST']);
    way.close();
  },
);

t.test(
  'a step-up is approved meanwhile by the operator, is good for one call, and may be denied',
  async (t) => {
    await using p = await clientFixture();
    await using task = await openTask(INTENT, { socket: p.agentSocket });
    const refused = await refusedBy(task.fetch(NOTES, NOTE));
    t.equal(refused.code, 'step-up-required');
    const reason = 'the customer asked';
    t.match(
      await task.stepUp(refused, { reason, wait: 0 }),
      { state: 'pending' },
      'asks and does not wait',
    );
    const began = performance.now();
    t.match(
      await task.stepUp(refused, { reason, wait: 300 }),
      { state: 'pending' },
      'waits no longer than it was told',
    );
    t.ok(performance.now() - began >= 300);
    const [stepUp] = await Promise.all([task.stepUp(refused, { reason }), p.answer('approve')]);
    t.match(stepUp, { state: 'approved', answeredBy: 'olga', maxCalls: 1 });
    t.equal((await task.fetch(NOTES, NOTE)).status, 201);
    const again = await refusedBy(task.fetch(NOTES, NOTE));
    t.equal(again.code, 'step-up-required');
    const [denied] = await Promise.all([task.stepUp(again.decision ?? ''), p.answer('deny')]);
    t.match(denied, { state: 'denied', answer: 'refused' });
    t.match(
      await refusedBy(task.stepUp(again)),
      { code: 'denied' },
      'what was denied is not asked again',
    );
    t.match(await refusedBy(task.stepUp('no-such-decision')), { code: 'no-such-call' });
    const other = await refusedBy(task.fetch(NOTES, { method: 'POST', body: 'another' }));
    const stop = AbortSignal.timeout(50);
    await t.rejects(task.stepUp(other, { signal: stop }), { name: 'TimeoutError' });
    const [, ended] = await Promise.all([p.revokeAll(), refusedBy(task.stepUp(other))]);
    t.equal(ended.code, 'task-unknown', 'a task that ends waits no longer');
    t.equal(p.upstream.requests().filter(({ method }) => method === 'POST').length, 1);
    t.notOk(
      p.audit().includes(new URL(task.proxyUrl ?? '').password),
      'no record holds the secret',
    );
  },
);

t.test('a derived task is narrower and ends with its parent; a task can be extended', async (t) => {
  await using p = await clientFixture();
  const task = await openTask({ ...INTENT, lifetime: '1m' }, { socket: p.agentSocket });
  const child = await task.derive({ targets: ['crm'], actions: ['read', 'admin'] });
  t.same(
    [child.grant.actions, child.grant.stepUp, child.grant.destinations],
    [['read'], [], ['crm']],
  );
  t.match(child.refused, [{ part: 'actions', value: 'admin' }]);
  t.equal((await child.fetch(CUSTOMERS)).status, 200);
  t.match(await refusedBy(child.fetch(NOTES, NOTE)), { code: 'denied' });
  t.match(await refusedBy(child.derive({ targets: ['crm'], actions: ['read'] })), { status: 403 });
  const end = await task.extend('5m');
  t.ok(end.getTime() - Date.now() > 200_000);
  await task.complete();
  t.match(await refusedBy(child.fetch(CUSTOMERS)), { status: 407 });
  await eventually('the child knows', () => child.ended.aborted);
});

t.test('bodies of each kind arrive whole, with their length where it is known', async (t) => {
  const unbound = (places: ClientAddresses): string =>
    clientDocuments(places).replace('{ actions: [write] }', '{ actions: [write], bound: false }');
  await using p = await clientFixture(unbound);
  await using task = await openTask(INTENT, { socket: p.agentSocket });
  const text = (n: number): string => JSON.stringify({ customer: '1001', text: 'x'.repeat(n) });
  const stream = new Blob([text(3)]).stream();
  for (const body of [text(1), Buffer.from(text(2)), stream, new Blob([text(4)])]) {
    await Promise.all([task.stepUp(await refusedBy(task.fetch(NOTES, NOTE))), p.answer('approve')]);
    const answer = await task.fetch(NOTES, { method: 'POST', body, duplex: 'half' });
    t.equal(answer.status, 201, await answer.text());
  }
  const large = 'x'.repeat(20_000_000);
  const early = await refusedBy(task.fetch(NOTES, { method: 'POST', body: large }));
  t.match(
    early,
    { code: 'denied', message: /nobody could say what is approved/ },
    'before the upload is over',
  );
  const flowing = new Blob([large]).stream();
  t.equal(
    (await refusedBy(task.fetch(NOTES, { method: 'POST', body: flowing, duplex: 'half' }))).status,
    403,
  );
  const many = await Promise.all(
    Array.from({ length: 40 }, async () => (await task.fetch(CUSTOMERS)).json()),
  );
  t.equal(many.length, 40);
  const cut = new AbortController();
  const asked = task.fetch(CUSTOMERS, { signal: cut.signal });
  cut.abort();
  await t.rejects(asked, { name: 'AbortError' });
});

t.test(
  'https:// goes through a tunnel of the task, of which one serves several calls',
  async (t) => {
    await using p = await clientFixture();
    const allowed = agent(environment(p), 'fetch', `https://${WEB_HOST}/v1/models`);
    t.equal(await allowed.ended, 0, allowed.text());
    t.match(allowed.text(), /^200 /);
    t.same(p.web.requests(), ['GET /v1/models', 'GET /v1/models']);
    t.equal(
      [...p.audit().matchAll(/"kind":"decided"[^\n]*"entry":"connect"/g)].length,
      1,
      'one tunnel',
    );
    const refused = agent(environment(p), 'fetch', `https://${WEB_HOST}/v1/keys`);
    t.equal(await refused.ended, 0, refused.text());
    t.match(refused.text(), /^refused: denied 403/, 'inside the tunnel too');
  },
);

t.test('a child process is in the task by its environment', async (t) => {
  await using p = await clientFixture();
  await using task = await openTask(INTENT, { socket: p.agentSocket });
  const inherited = agent(task.environment(), 'inherited', CUSTOMERS);
  t.equal(await inherited.ended, 0, inherited.text());
  t.match(inherited.text(), /^200 /);
  t.same(p.events(), ['opened'], 'letting go of it did not end it');
  const program = `fetch('${CUSTOMERS}').then((r) => process.exit(r.status === 200 ? 0 : 1))`;
  const plain = spawn(process.execPath, ['-e', program], {
    env: task.environment(),
    stdio: 'ignore',
  });
  t.same((await once(plain, 'close'))[0], 0, 'Node’s own fetch');
  const answer = await undiciFetch(CUSTOMERS, {
    dispatcher: task.dispatcher<Dispatcher>(ProxyAgent),
  });
  t.equal(answer.status, 200, 'undici');
  t.match(await answer.json(), [{ id: '1001' }, {}, {}]);
});

t.test('a process that is killed, or that forgets its task, leaves no task behind', async (t) => {
  await using p = await clientFixture();
  const killed = agent(environment(p), 'hang');
  await eventually('it has a task', () => /^t-/m.test(killed.text()));
  t.same(await p.tasks(), ['open']);
  killed.child.kill('SIGKILL');
  await p.eventsUntil('revoked');
  await killed.ended;
  const forgetful = agent(environment(p), 'leave');
  t.equal(await forgetful.ended, 0, 'the held connection keeps no process alive');
  await p.eventsUntil('revoked', 2);
});

t.test('a task without hold outlives what opened it', async (t) => {
  await using p = await clientFixture();
  const task = await openTask(INTENT, { socket: p.agentSocket, hold: false });
  t.equal((await task.fetch(CUSTOMERS)).status, 200);
  const refused = await refusedBy(task.fetch(NOTES, NOTE));
  const [stepUp] = await Promise.all([task.stepUp(refused), p.answer('approve')]);
  t.equal(stepUp.state, 'approved', 'step-ups are looked at where nothing tells of them');
  t.same(await p.tasks(), ['open']);
  await task.complete();
  t.same(await p.tasks(), []);
});

t.test('a socket that is wrong says so', async (t) => {
  const folder = shortFolder(t);
  const nowhere = openTask(INTENT, { socket: join(folder, 'no.sock') });
  await t.rejects(nowhere, { name: 'Unreachable', message: /no\.sock does not answer.*agentApi/ });
  await t.rejects(openTask(INTENT, { socket: '' }), { message: /CHAPERONE_AGENT_API/ });
  const server = createServer((_, answer) => answer.end('hello')).listen(join(folder, 'x.sock'));
  await once(server, 'listening');
  await t.rejects(openTask(INTENT, { socket: join(folder, 'x.sock') }), Unreachable);
  server.close();
  await using p = await clientFixture();
  const task = await openTask(INTENT, { socket: p.agentSocket });
  await p[Symbol.asyncDispose]();
  await t.rejects(task.fetch(CUSTOMERS), {
    name: 'Unreachable',
    message: /proxy 127\.0\.0\.1:\d+ does not answer/,
  });
  await eventually('the task is known to be gone', () => task.ended.aborted);
  await task.complete();
});

t.test(
  'complete() raises when it is not known that the task ended, and tries again before',
  async (t) => {
    await using p = await clientFixture();
    const folder = shortFolder(t);
    const path = join(folder, 'a.sock');
    let [cut, asked] = [false, 0];
    // What a door that takes nobody looks like: it accepts and closes.
    const relay = createTcpServer((near) => {
      if (cut) asked += 1;
      if (cut) return void near.destroy();
      const far = connectTo(p.agentSocket);
      near.on('error', () => {}).on('data', (chunk) => far.write(chunk));
      far.on('error', () => {}).on('data', (chunk) => near.write(chunk));
    }).listen(path);
    await once(relay, 'listening');
    const task = await openTask(INTENT, { socket: path, hold: false });
    cut = true;
    await t.rejects(task.complete(), {
      name: 'Unreachable',
      message: /it is not known that task t-\S+ has ended/,
    });
    t.equal(asked, 4);
    t.same(await p.tasks(), ['open'], 'it is still open, as was said');
    cut = false;
    await task.complete();
    t.same(await p.tasks(), []);
    relay.close();
  },
);
