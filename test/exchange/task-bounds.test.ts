/** What a task is bounded by, at the proxy: what is outside of it reaches nobody. */
import t from 'tap';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { TaskPolicy } from '../../lib/policy/model/grant.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Opened, Tasks } from '../../lib/tasks/tasks.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { testAuthority } from '../support/authority.ts';
import { rule, testDestination } from '../support/destination.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { type MtlsUpstream, mtlsUpstream } from '../support/upstream.ts';
import { intent, rule as taskRule } from '../tasks/fixture.ts';

interface Room extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly tasks: Tasks;
  readonly upstream: MtlsUpstream;
  /** Requests that the upstream received, as method and target. */
  readonly received: readonly string[];
  open(given?: Readonly<Record<string, unknown>>): Opened;
  /** `where`: host, or host and port. */
  ask(method: string, where: string, opened: Opened): Promise<string>;
}

async function room(given: Partial<TaskPolicy> = {}): Promise<Room> {
  const authority = await testAuthority();
  const received: string[] = [];
  const upstream = await mtlsUpstream({
    authority,
    http(request, response) {
      received.push(`${request.method} ${request.headers.host}${request.url}`);
      response.end('done');
    },
  });
  const at = { host: '127.0.0.1', port: upstream.port };
  const rules = [rule('read', 'allow', { methods: ['GET'] })];
  const destinations = [
    testDestination({
      name: 'apps',
      hosts: ['wiki.internal', 'payroll.internal', '*.apps.internal'],
      ports: [80, 8080],
      upstream: at,
      task: 'required',
      rules,
    }),
  ];
  const taskPolicies = [taskRule({ destinations: new Set(['apps']), ...given })];
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
  return {
    proxy,
    tasks: registry,
    upstream,
    received,
    open: (asked = {}) => registry.open(intent({ targets: ['apps'], ...asked })),
    ask(method, where, { task, secret }) {
      const basic = Buffer.from(`${task.id}:${secret}`).toString('base64');
      const fields = `Host: ${where}\r\nProxy-Authorization: Basic ${basic}\r\nConnection: close`;
      return proxy.ask(`${method} http://${where}/x HTTP/1.1\r\n${fields}\r\n\r\n`);
    },
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

t.test(
  'over a quota a call is 429 with Retry-After, whatever task it is of, and the upstream sees nothing',
  async (t) => {
    await using r = await room({ quotas: { calls: { count: 2, per: 3_600_000, text: '2/h' } } });
    const seen: number[] = [];
    for (let i = 0; i < 4; i += 1)
      seen.push(statusOf(await r.ask('GET', 'wiki.internal', r.open())) ?? 0);
    t.same(seen, [200, 200, 429, 429]);
    const answer = await r.ask('GET', 'wiki.internal', r.open());
    t.match(refusal(answer), {
      code: 'quota-spent',
      message: /2\/h calls .* another task changes nothing/,
    });
    t.match(answer, /\r\nretry-after: 3[56]\d\d\r\n/i);
    t.equal(r.received.length, 2);
    t.match(r.proxy.audit.of('decided').at(-1), { effect: 'deny', code: 'quota-spent' });
  },
);

t.test(
  'a task that named a host reaches that host alone, of all that its destination has',
  async (t) => {
    await using r = await room();
    const one = r.open({ targets: ['wiki.internal:80'] });
    for (const where of ['payroll.internal', 'x.apps.internal:8080', 'wiki.internal:8080']) {
      const answer = await r.ask('GET', where, one);
      t.match(
        [statusOf(answer), refusal(answer)],
        [403, { message: /its targets leave out/ }],
        where,
      );
    }
    t.same([r.received, r.upstream.connections.length], [[], 0], 'not one byte');
    t.equal(statusOf(await r.ask('GET', 'wiki.internal', one)), 200);
    const below = r.open({ targets: ['*.apps.internal'] });
    t.equal(statusOf(await r.ask('GET', 'x.apps.internal:8080', below)), 200);
    t.equal(statusOf(await r.ask('GET', 'wiki.internal', below)), 403);
    t.equal(
      statusOf(await r.ask('GET', 'payroll.internal', r.open())),
      200,
      'a destination that was named is had whole',
    );
  },
);
