/**
 * Tasks and interception: what is inside a tunnel belongs to the task of its CONNECT, and nothing
 * of it outlives the task.
 */
import t, { type Test } from 'tap';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { openInterception } from '../../lib/interception/authority.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import type { Opened, Tasks } from '../../lib/tasks/tasks.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { unpaired } from '../support/audit.ts';
import { testAuthority } from '../support/authority.ts';
import { rule } from '../support/destination.ts';
import { saasDestination } from '../support/interception.ts';
import { type TestProxy, testProxy } from '../support/proxy.ts';
import { tlsInTunnel } from '../support/tunnel.ts';
import { type MtlsUpstream, mtlsUpstream } from '../support/upstream.ts';
import { intent, rule as taskRule } from '../tasks/fixture.ts';

interface Room extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly registry: Tasks;
  readonly upstream: MtlsUpstream;
  readonly ca: string;
}

async function room(t: Test): Promise<Room> {
  const authority = await testAuthority();
  const svid = await authority.svid('/saas', { dns: ['api.example.com'] });
  const upstream = await mtlsUpstream({ authority, svid, client: 'none' });
  const interception = await openInterception({
    domains: ['example.com'],
    folder: undefined,
    clock: systemClock,
  });
  t.teardown(() => interception[Symbol.dispose]());
  const rules = [
    rule('read', 'allow', { methods: ['GET'] }),
    { ...rule('write', 'allow', { methods: ['POST'] }), action: 'write' },
  ];
  const destinations = [saasDestination(upstream.port, authority, { task: 'required', rules })];
  const taskPolicies = [taskRule({ destinations: new Set(['saas']) })];
  const policy = cell<Policy>(
    buildPolicy({ generation: 1, digest: 'd', destinations, unlisted: 'deny', taskPolicies }),
  );
  const late: { proxy?: TestProxy['server'] } = {};
  const registry = tasks({
    clock: systemClock,
    policy,
    tell: () => {},
    onChange: () => late.proxy?.reauthorize(),
  });
  const proxy = await testProxy({
    authority,
    identity: 'none',
    destinations,
    options: { tasks: registry, policy, interception },
  });
  late.proxy = proxy.server;
  return {
    proxy,
    registry,
    upstream,
    ca: interception.authority().toString(),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}

const named = ({ task, secret }: Opened): string =>
  `Proxy-Authorization: Basic ${Buffer.from(`${task.id}:${secret}`).toString('base64')}\r\n`;
const REQUEST = 'GET /a HTTP/1.1\r\nHost: api.example.com\r\n\r\n';

t.test(
  'requests inside belong to the task of the CONNECT, count as its uses one by one, and end with it',
  async (t) => {
    await using r = await room(t);
    const opened = r.registry.open(intent({ targets: ['saas'], actions: ['read'] }));
    const agent = await tlsInTunnel(r.proxy, { ca: r.ca, fields: named(opened) });
    t.equal(opened.task.uses, 0, 'the tunnel itself is no use');
    for (const times of [1, 2]) {
      agent.write(REQUEST);
      await agent.sees(new RegExp(`(?:"url":"/a"[^]*){${times}}`));
      t.equal(opened.task.uses, times);
    }
    t.match(r.proxy.audit.of('decided'), [
      { entry: 'connect', task: opened.task.id },
      { entry: 'intercept', task: opened.task.id, action: 'read' },
      { entry: 'intercept', task: opened.task.id, action: 'read' },
    ]);
    r.registry.end(opened.task, 'completed', 'done');
    await agent.ended();
    await r.proxy.quiet();
    t.match(r.proxy.audit.of('ended').at(-1), { outcome: /task|no-longer/ });
    t.equal(
      statusOf(
        await r.proxy.ask(
          `CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n${named(opened)}\r\n`,
        ),
      ),
      407,
    );
    t.notOk(JSON.stringify(r.proxy.audit.records).includes(opened.secret));
    t.notMatch(
      r.upstream.connections.map(({ plain }) => plain.text).join(''),
      /proxy-authorization/i,
    );
    t.same(unpaired(r.proxy.audit.records), []);
  },
);

t.test(
  'what the grant leaves out, and a request without a task, is refused inside and reaches nobody',
  async (t) => {
    await using r = await room(t);
    const opened = r.registry.open(intent({ targets: ['saas'], actions: ['read'] }));
    const writing = await tlsInTunnel(r.proxy, { ca: r.ca, fields: named(opened) });
    writing.write('POST /a HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: 0\r\n\r\n');
    const refused = await writing.ended();
    t.equal(statusOf(refused), 403, refused);
    t.match(refusal(refused), { message: /write/ });
    const answer = await r.proxy.ask(
      'CONNECT api.example.com:443 HTTP/1.1\r\nHost: api.example.com\r\n\r\n',
    );
    t.equal(statusOf(answer), 407, 'the tunnel itself');
    await r.proxy.quiet();
    t.same(r.upstream.connections, []);
    t.same(unpaired(r.proxy.audit.records), []);
  },
);
