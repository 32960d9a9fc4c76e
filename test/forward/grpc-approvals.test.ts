/**
 * A unary gRPC call is approved as any other: its message is read before the refusal and again when
 * it is made.
 */
import { status } from '@grpc/grpc-js';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { StepUpPolicy } from '../../lib/policy/model/grant.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { StepUp } from '../../lib/tasks/step-up.ts';
import type { Tasks } from '../../lib/tasks/tasks.ts';
import { testAuthority } from '../support/authority.ts';
import { testDestination } from '../support/destination.ts';
import {
  type GrpcAnswer,
  type GrpcClient,
  type GrpcServer,
  SERVICE,
  grpcClient,
  grpcServer,
} from '../support/grpc.ts';
import { http2Client } from '../support/http2-client.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { STEP_UP, intent, rule as taskRule } from '../tasks/fixture.ts';
import t from 'tap';

interface Room extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly tasks: Tasks;
  readonly server: GrpcServer;
  readonly client: GrpcClient;
  /** Metadata of the task. */
  readonly task: Record<string, string>;
  ask(answer: Pick<GrpcAnswer, 'trailers'>): Promise<StepUp>;
  approve(answer: Pick<GrpcAnswer, 'trailers'>): Promise<StepUp>;
}

async function room(given: Partial<StepUpPolicy> = {}, streaming = false): Promise<Room> {
  const authority = await testAuthority();
  const server = await grpcServer(authority);
  const grpc = { services: new Set([SERVICE]), methods: new Set(['*']), streaming };
  const rules = [
    {
      name: 'calls',
      effect: 'allow' as const,
      action: 'write',
      http: undefined,
      grpc,
      when: undefined,
    },
  ];
  const destinations = [
    testDestination({
      name: 'billing',
      hosts: ['billing.internal'],
      listen: true,
      protocol: 'grpc',
      upstream: { host: '127.0.0.1', port: server.port },
      task: 'required',
      timeouts: { message: 1000 },
      rules,
    }),
  ];
  const stepUp = [{ ...STEP_UP, bound: true, ...given }];
  const taskPolicies = [taskRule({ destinations: new Set(['billing']), stepUp })];
  const policy = cell(
    buildPolicy({ generation: 1, digest: 'd', destinations, unlisted: 'deny', taskPolicies }),
  );
  const registry = tasks({ clock: systemClock, policy, tell: () => {}, onChange: () => {} });
  const proxy = await testProxy({ authority, destinations, options: { tasks: registry, policy } });
  const { task, secret } = registry.open(intent({ targets: ['billing'], actions: ['write'] }));
  const client = grpcClient(proxy.port('billing'));
  const ask: Room['ask'] = ({ trailers }) =>
    registry.stepUps.ask(task, { decision: String(trailers.get('chaperone-decision')[0]) });
  return {
    proxy,
    tasks: registry,
    server,
    client,
    task: {
      'proxy-authorization': `Basic ${Buffer.from(`${task.id}:${secret}`).toString('base64')}`,
    },
    ask,
    approve: async (answer) =>
      registry.stepUps.approve((await ask(answer)).id, { by: 'olga', as: 'operator' }),
    async [Symbol.asyncDispose]() {
      await client[Symbol.asyncDispose]();
      await registry[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await server[Symbol.asyncDispose]();
    },
  };
}

t.test(
  'a unary gRPC call is refused with its message read, and that message alone passes once approved',
  async (t) => {
    await using r = await room({ maxCalls: 2 });
    const metadata = { ...r.task, 'x-account': 'acme' };
    const refused = await r.client.unary('Get', 'pay 100', metadata);
    t.match(refused, {
      code: status.PERMISSION_DENIED,
      details: /needs an approval for action write/,
    });
    const asked = await r.ask(refused);
    t.match(asked, {
      destination: 'billing',
      rule: 'calls',
      call: {
        method: 'POST',
        path: `/${SERVICE}/Get`,
        leftOut: [/^the message, which is not decoded: 7 bytes; SHA-256/],
      },
    });
    t.equal(new Map(asked.call.fields).get('x-account'), 'acme');
    t.equal(asked.call.body, undefined, 'nothing is invented');
    await r.tasks.stepUps.approve(asked.id, { by: 'olga', as: 'operator' });
    for (const [what, value, fields] of [
      ['the message', 'pay 999', metadata],
      ['its length', 'pay 1000', metadata],
      ['metadata', 'pay 100', { ...metadata, 'x-account': 'evil' }],
    ] as const)
      t.match(await r.client.unary('Get', value, fields), { code: status.PERMISSION_DENIED }, what);
    t.match(
      await r.client.unary('Fail', 'pay 100', metadata),
      { code: status.PERMISSION_DENIED },
      'the method',
    );
    t.same(r.server.calls, [], 'not one byte');
    t.match(await r.client.unary('Get', 'pay 100', metadata), {
      value: 'pay 100',
      code: status.OK,
    });
    t.match(await r.client.unary('Get', 'pay 100', metadata), {
      value: 'pay 100',
      code: status.OK,
    });
    t.match(
      await r.client.unary('Get', 'pay 100', metadata),
      { code: status.PERMISSION_DENIED },
      'two uses',
    );
    t.same(r.server.calls, ['Get', 'Get']);
    const allowed = r.proxy.audit
      .of('decided')
      .filter((one) => 'effect' in one && one.effect === 'allow');
    t.match(allowed, [
      { stepUp: asked.id, parameters: asked.digest },
      { stepUp: asked.id, parameters: asked.digest },
    ]);
  },
);

t.test(
  'one request with many answers is one message, and is approved; its deadline is no part of it',
  async (t) => {
    await using r = await room();
    await using client = http2Client(r.proxy.port('billing'), 'billing.internal');
    const call = {
      ':method': 'POST',
      ':authority': 'billing.internal',
      ':path': `/${SERVICE}/List`,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...r.task,
    };
    const message = Buffer.from([0, 0, 0, 0, 3, 97, 108, 108]);
    const refused = await client.ask('/', { ...call, 'grpc-timeout': '9999m' }, message);
    t.equal(Number(refused.headers['grpc-status']), status.PERMISSION_DENIED);
    await r.approve({
      trailers: {
        get: (name: string) => [String(refused.headers[name])],
      } as GrpcAnswer['trailers'],
    });
    const answer = await client.ask('/', { ...call, 'grpc-timeout': '7777m' }, message);
    t.match(answer, { trailers: { 'grpc-status': '0' }, body: /item 4/ });
  },
);

t.test(
  'a call that sends a second message, or never ends its first, is not approved and reaches nobody',
  async (t) => {
    for (const given of [{}, { bound: false, maxCalls: 3 }]) {
      await using r = await room(given);
      await using client = http2Client(r.proxy.port('billing'), 'billing.internal');
      const call = (name: string): Record<string, string> => ({
        ':method': 'POST',
        ':authority': 'billing.internal',
        ':path': `/${SERVICE}/${name}`,
        'content-type': 'application/grpc',
        te: 'trailers',
        ...r.task,
      });
      const one = Buffer.from([0, 0, 0, 0, 1, 97]);
      const two = await client.ask('/', call('Sum'), Buffer.concat([one, one]));
      t.match(two.headers, {
        'grpc-status': '7',
        'grpc-message': /more than one message, and only unary gRPC calls/,
      });
      const torn = await client.ask('/', call('Get'), one.subarray(0, 5));
      t.match(torn.headers, { 'grpc-status': '3', 'grpc-message': /ends within a message/ });
      const chat = client.open(call('Chat'), false);
      chat.stream.write(one);
      const waited = await chat.answer();
      t.match(waited.headers, { 'grpc-status': '4', 'grpc-message': /timeouts.message/ });
      t.same(r.server.calls, []);
      t.match(r.proxy.audit.of('decided')[0], { code: 'not-approvable' });
    }
  },
);

t.test('a message longer than maxBody is not approved, and passes where any call is', async (t) => {
  await using r = await room({ maxBody: 4096 });
  t.match(await r.client.unary('Get', 'x'.repeat(4096), r.task), {
    details: /longer than the 4096 bytes/,
  });
  t.same(r.server.calls, []);
  const last = await r.client.unary('Get', 'x'.repeat(4091), r.task);
  await r.approve(last);
  t.equal((await r.client.unary('Get', 'x'.repeat(4091), r.task)).code, status.OK);
});

t.test(
  'a rule that says its calls stream is not waited for: without bound: false they are refused at once',
  async (t) => {
    await using r = await room({}, true);
    t.match(await r.client.unary('Get', 'x', r.task), {
      details: /what is sent in it is not read/,
    });
    t.same(r.server.calls, []);
    await using any = await room({ bound: false, maxCalls: Infinity }, true);
    await any.approve(await any.client.unary('Get', 'x', any.task));
    t.equal((await any.client.unary('Get', 'y', any.task)).code, status.OK);
  },
);
