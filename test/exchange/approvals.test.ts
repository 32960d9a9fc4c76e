/**
 * What is approved is what runs: the call that was refused is shown, and no other one lives on its
 * approval.
 */
import t from 'tap';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { StepUpPolicy } from '../../lib/policy/model/grant.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { StepUp } from '../../lib/tasks/step-up.ts';
import type { Opened, Tasks } from '../../lib/tasks/tasks.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { testAuthority } from '../support/authority.ts';
import { rule, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { type MtlsUpstream, mtlsUpstream } from '../support/upstream.ts';
import { STEP_UP, intent, rule as taskRule } from '../tasks/fixture.ts';

interface Room extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly tasks: Tasks;
  readonly upstream: MtlsUpstream;
  /** What the upstream received: method, target and content. */
  readonly received: readonly string[];
  readonly opened: Opened;
  /** Sends a POST of `/v1/notes`. */
  post(content: string, given?: Sending): Promise<string>;
  /** Asks for what was refused, as the agent. */
  ask(answer: string, reason?: string): Promise<StepUp>;
  approve(asked: StepUp): Promise<StepUp>;
}

interface Sending {
  readonly target?: string;
  readonly fields?: string;
  readonly chunked?: boolean;
}

async function room(given: Partial<StepUpPolicy> = {}): Promise<Room> {
  const authority = await testAuthority();
  const received: string[] = [];
  const upstream = await mtlsUpstream({
    authority,
    http(request, response) {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      request.on('end', () => {
        received.push(`${request.method} ${request.url} ${text}`);
        response.end('done');
      });
    },
  });
  const at = { host: '127.0.0.1', port: upstream.port };
  const rules = [
    { ...rule('write', 'allow', { methods: ['POST', 'PUT'], websocket: true }), action: 'write' },
    { ...rule('remove', 'allow', { methods: ['DELETE'] }), action: 'write' },
  ];
  const tcp = {
    name: 'db',
    hosts: ['db.internal'],
    ports: [5432],
    protocol: 'tcp' as const,
    action: 'write',
  };
  const destinations = [
    testDestination({ upstream: at, task: 'required', rules }),
    testDestination({ ...tcp, upstream: at, task: 'required' }),
  ];
  const stepUp = [{ ...STEP_UP, bound: true, ...given }];
  const taskPolicies = [taskRule({ destinations: new Set(['crm', 'db']), stepUp })];
  const policy = cell(
    buildPolicy({ generation: 1, digest: 'd', destinations, unlisted: 'deny', taskPolicies }),
  );
  const late: { proxy?: TestProxy['server'] } = {};
  const registry = tasks({
    clock: systemClock,
    policy,
    tell: () => {},
    onChange: () => late.proxy?.reauthorize(),
  });
  const proxy = await testProxy({ authority, destinations, options: { tasks: registry, policy } });
  late.proxy = proxy.server;
  const opened = registry.open(intent({ targets: ['crm', 'db'], actions: ['write'] }));
  return {
    proxy,
    tasks: registry,
    upstream,
    received,
    opened,
    post(content, { target = '/v1/notes', fields = '', chunked = false } = {}) {
      const framing = chunked ? 'Transfer-Encoding: chunked' : `Content-Length: ${content.length}`;
      const body = chunked ? `${content.length.toString(16)}\r\n${content}\r\n0\r\n\r\n` : content;
      const head = [
        `POST http://crm.internal${target} HTTP/1.1`,
        'Host: crm.internal',
        header(opened),
        framing,
      ];
      return proxy.ask(`${head.join('\r\n')}\r\n${fields}Connection: close\r\n\r\n${body}`);
    },
    ask: (answer, reason) =>
      registry.stepUps.ask(opened.task, { decision: refusal(answer).decision ?? '', reason }),
    approve: ({ id }) => registry.stepUps.approve(id, { by: 'olga', as: 'operator' }),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

function header({ task, secret }: Opened): string {
  return `Proxy-Authorization: Basic ${Buffer.from(`${task.id}:${secret}`).toString('base64')}`;
}

const JSON_TYPE = 'Content-Type: application/json\r\nX-Account: acme\r\nUser-Agent: one\r\n';
const NOTE = '{"customer":"1001","text":"call back","password":"hunter2"}';

t.test(
  'the call that was refused is shown, and that call alone passes once it is approved',
  async (t) => {
    await using r = await room({ maxCalls: 9 });
    const refused = await r.post(NOTE, {
      target: '/v1/notes?notify=a%20b&api_key=k1',
      fields: JSON_TYPE,
    });
    t.match([statusOf(refused), refusal(refused).code], [403, 'step-up-required']);
    t.same([r.received, r.upstream.connections.length], [[], 0], 'not one byte');
    const asked = await r.ask(refused, 'read the opening hours once');
    t.match(asked, {
      reason: 'read the opening hours once',
      destination: 'crm',
      rule: 'write',
      call: {
        method: 'POST',
        host: 'crm.internal',
        path: '/v1/notes',
        query: [
          ['notify', 'a b'],
          ['api_key', '[redacted: 2 characters]'],
        ],
        body: '{"customer": "1001", "text": "call back", "password": "[redacted: 7 characters]"}',
      },
    });
    t.match(new Map(asked.call.fields).get('x-account'), 'acme');
    const [record] = r.proxy.audit.of('decided');
    t.match(record, { code: 'step-up', parameters: asked.digest, exchange: asked.decision });
    await r.approve(asked);
    const target = '/v1/notes?notify=a%20b&api_key=k1';
    for (const [what, content, given] of [
      ['content', NOTE.replace('1001', '1002'), { target, fields: JSON_TYPE }],
      ['a redacted value', NOTE.replace('hunter2', 'hunter3'), { target, fields: JSON_TYPE }],
      ['no content', '', { target, fields: JSON_TYPE }],
      ['a field', NOTE, { target, fields: JSON_TYPE.replace('acme', 'evil') }],
      ['its type', NOTE, { target, fields: JSON_TYPE.replace('application/json', 'text/plain') }],
      ['one field more', NOTE, { target, fields: `${JSON_TYPE}X-Force: yes\r\n` }],
      ['the query', NOTE, { target: '/v1/notes?notify=a%20b&api_key=k2', fields: JSON_TYPE }],
      ['the path', NOTE, { target: '/v1/notes/7?notify=a%20b&api_key=k1', fields: JSON_TYPE }],
    ] as const)
      t.equal(refusal(await r.post(content, given)).code, 'step-up-required', what);
    t.same([r.received, r.upstream.connections.length], [[], 0], 'still not one byte');
    t.equal(statusOf(await r.post(NOTE, { target, fields: JSON_TYPE.replace('one', 'two') })), 200);
    t.equal(
      statusOf(await r.post(NOTE, { target, fields: JSON_TYPE, chunked: true })),
      200,
      'framed otherwise',
    );
    t.same(r.received, [`POST ${target} ${NOTE}`, `POST ${target} ${NOTE}`]);
    t.match(r.proxy.audit.of('decided').at(-1), {
      effect: 'allow',
      stepUp: asked.id,
      parameters: asked.digest,
    });
  },
);

t.test('an approval is of one rule: what another rule allows waits for its own', async (t) => {
  await using r = await room({ bound: false, maxCalls: 9 });
  await r.approve(await r.ask(await r.post('x')));
  t.equal(statusOf(await r.post('anything')), 200);
  const remove =
    `DELETE http://crm.internal/v1/notes HTTP/1.1\r\nHost: ` +
    `crm.internal\r\n${header(r.opened)}\r\nConnection: close\r\n\r\n`;
  t.equal(refusal(await r.proxy.ask(remove)).code, 'step-up-required');
  t.same(r.received, ['POST /v1/notes anything']);
});

t.test(
  'content that is too long to be shown is not approved, bound or counted, and reaches nobody',
  async (t) => {
    for (const given of [{}, { bound: false, maxCalls: 3 }]) {
      await using r = await room({ maxBody: 4096, ...given });
      for (const chunked of [false, true]) {
        const refused = await r.post('x'.repeat(4097), { chunked });
        t.match(
          [statusOf(refused), refusal(refused)],
          [403, { code: 'denied', message: /longer than the 4096 bytes/ }],
        );
        await t.rejects(r.ask(refused), { code: 'no-such-call' });
      }
      t.same([r.received, r.upstream.connections.length], [[], 0]);
      await r.approve(await r.ask(await r.post('x'.repeat(4096), { chunked: true })));
      t.equal(statusOf(await r.post('x'.repeat(4096))), 200);
    }
  },
);

t.test(
  'an approval of any number of whatever is not read lets long content and tunnels pass',
  async (t) => {
    await using r = await room({ bound: false, maxCalls: Infinity });
    const refused = await r.post('x'.repeat(100_000));
    t.match((await r.ask(refused)).call.leftOut, ['the content: it was not read']);
    const [waiting] = r.tasks.stepUps.pending();
    if (waiting !== undefined) await r.approve(waiting);
    t.equal(statusOf(await r.post('y'.repeat(100_000))), 200);
    const line = await r.proxy.open();
    line.write(
      `CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n${header(r.opened)}\r\n\r\n`,
    );
    await line.sees('403');
    line.socket.destroy();
  },
);

t.test('a tunnel and a WebSocket are not approved where an approval is of something', async (t) => {
  await using r = await room();
  const line = await r.proxy.open();
  line.write(
    `CONNECT db.internal:5432 HTTP/1.1\r\nHost: db.internal:5432\r\n${header(r.opened)}\r\n\r\n`,
  );
  await line.sees('nobody could say what is approved');
  line.socket.destroy();
  t.equal(r.upstream.connections.length, 0);
  t.match(r.proxy.audit.of('decided'), [{ effect: 'deny', code: 'not-approvable' }]);
});

t.test('content that is awaited before it is sent is asked for, and read once', async (t) => {
  await using r = await room();
  const line = await r.proxy.open();
  const head =
    `POST http://crm.internal/v1/notes HTTP/1.1\r\nHost: ` +
    `crm.internal\r\n${header(r.opened)}\r\n`;
  line.write(`${head}Content-Length: 2\r\nExpect: 100-continue\r\n\r\n`);
  await line.sees('100 Continue');
  line.write('ok');
  await line.sees('step-up-required');
  line.socket.destroy();
  await r.approve(await r.ask(await r.post('ok')));
  const again = await r.proxy.open();
  again.write(`${head}Content-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n`);
  await again.sees('100 Continue');
  again.write('ok');
  await again.sees('200 OK');
  t.same(r.received, ['POST /v1/notes ok']);
});
