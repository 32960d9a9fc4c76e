/**
 * What is judged is what the policy in force would have sent: a reload between reading and sending,
 * and one while an answer is under way.
 */
import t from 'tap';
import { cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { FieldNames } from '../../lib/policy/model/field-table.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import { tasks } from '../../lib/tasks/registry.ts';
import { refusal, statusOf } from '../support/agent.ts';
import { testAuthority } from '../support/authority.ts';
import {
  type DestinationOptions,
  policyOf,
  rule,
  testDestination,
} from '../support/destination.ts';
import { testProxy } from '../support/proxy.ts';
import { until } from '../support/until.ts';
import { type MtlsUpstream, mtlsUpstream } from '../support/upstream.ts';
import { STEP_UP, intent, rule as taskRule } from '../tasks/fixture.ts';

const none: FieldNames = { exact: new Set(), prefixes: [] };
const old: FieldNames = { exact: new Set(['x-old']), prefixes: [] };
const STRIPS = { pass: none, strip: old, only: undefined };

interface Upstream extends AsyncDisposable {
  readonly at: { readonly host: string; readonly port: number };
  /** Method, target, X-Old and content of each request. */
  readonly received: readonly string[];
  readonly server: MtlsUpstream;
}

async function upstreamOf(authority: Awaited<ReturnType<typeof testAuthority>>): Promise<Upstream> {
  const received: string[] = [];
  const server = await mtlsUpstream({
    authority,
    http(request, response) {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString()));
      request.on('end', () => {
        received.push(
          `${request.method} ${request.url} ${String(request.headers['x-old'])} ${text}`,
        );
        if (request.url?.startsWith('/stream') === true) response.write('first');
        else response.end('done');
      });
    },
  });
  const at = { host: '127.0.0.1', port: server.port };
  return { at, received, server, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() };
}

t.test(
  'content that was read before a reload is judged, approved and sent under the policy after it',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await upstreamOf(authority);
    const rules = [{ ...rule('write', 'allow', { methods: ['POST'] }), action: 'write' }];
    const taskPolicies = [
      taskRule({
        destinations: new Set(['crm']),
        stepUp: [{ ...STEP_UP, bound: true, maxCalls: 9, maxBody: 4096 }],
      }),
    ];
    const shorter = [
      taskRule({
        destinations: new Set(['crm']),
        stepUp: [{ ...STEP_UP, bound: true, maxCalls: 9, maxBody: 1024 }],
      }),
    ];
    const of = (more: DestinationOptions, policies = taskPolicies): Policy => {
      const destinations: Destination[] = [
        testDestination({ upstream: upstream.at, task: 'required', rules, ...more }),
      ];
      return buildPolicy({
        generation: 1,
        digest: 'd',
        destinations,
        unlisted: 'deny',
        taskPolicies: policies,
      });
    };
    const policy = cell(of({}));
    await using registry = tasks({
      clock: systemClock,
      policy,
      tell: () => {},
      onChange: () => {},
    });
    await using proxy = await testProxy({
      authority,
      destinations: [...of({}).destinations],
      options: { tasks: registry, policy },
    });
    const { task, secret } = registry.open(intent({ targets: ['crm'], actions: ['write'] }));
    const credentials = Buffer.from(`${task.id}:${secret}`).toString('base64');
    const head = (fields: string, length: number): string =>
      `POST http://crm.internal/v1 HTTP/1.1\r\nHost: crm.internal\r\nProxy-Authorization: ` +
      `Basic ${credentials}\r\n` +
      `${fields}Content-Length: ${length}\r\nConnection: close\r\n\r\n`;
    const refused = await proxy.ask(`${head('', 4)}note`);
    const asked = await registry.stepUps.ask(task, { decision: refusal(refused).decision ?? '' });
    await registry.stepUps.approve(asked.id, { by: 'olga', as: 'operator' });
    const whole = await proxy.ask(`${head('X-Old: 1\r\n', 4)}note`);
    t.equal(refusal(whole).code, 'step-up-required', 'with the field it is another call');
    /** Sends half, reloads, and sends the rest. */
    const between = async (content: string, then: () => void): Promise<string> => {
      const line = await proxy.open();
      line.write(head('X-Old: 1\r\n', content.length) + content.slice(0, 2));
      await until('it is being read', () => proxy.server.live() === 1);
      then();
      line.write(content.slice(2));
      return line.ended();
    };
    t.equal(statusOf(await between('note', () => policy.set(of({ headers: STRIPS })))), 200);
    t.same(upstream.received, ['POST /v1 undefined note'], 'what was approved, and no field more');
    const long = await between('x'.repeat(2000), () =>
      policy.set(of({ headers: STRIPS }, shorter)),
    );
    t.match(refusal(long), { code: 'denied', message: /longer than the 1024 bytes/ });
    t.equal(upstream.received.length, 1);
  },
);

t.test(
  'a request of which a reload would send something else before it is sent reaches nobody',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await upstreamOf(authority);
    await using proxy = await testProxy({
      authority,
      destinations: [testDestination({ upstream: upstream.at })],
    });
    const ask = async (fields: string): Promise<string> => {
      const held = Promise.withResolvers<void>();
      proxy.audit.before = held.promise;
      const before = proxy.audit.of('decided').length;
      const answer = proxy.ask(
        `GET http://crm.internal/v1 HTTP/1.1\r\nHost: crm.internal\r\n${fields}Connection: ` +
          `close\r\n\r\n`,
      );
      await until('it is decided', () => proxy.audit.of('decided').length > before);
      proxy.audit.before = undefined;
      proxy.policy.set(policyOf(testDestination({ upstream: upstream.at, headers: STRIPS })));
      held.resolve();
      return answer;
    };
    t.match(refusal(await ask('X-Old: 1\r\n')), {
      code: 'no-longer-allowed',
      message: /which of its fields.*send it again/,
    });
    t.same(upstream.received, []);
    proxy.policy.set(policyOf(testDestination({ upstream: upstream.at })));
    t.equal(statusOf(await ask('X-New: 1\r\n')), 200, 'what is sent as before goes on');
    t.equal(upstream.received.length, 1);
  },
);

t.test(
  'what a path of a spelling that is no longer kept carries is cut when the policy says so',
  async (t) => {
    const authority = await testAuthority();
    await using upstream = await upstreamOf(authority);
    const keeps = { encodedSlash: true, emptySegments: true };
    const of = (paths: DestinationOptions['paths']): Destination =>
      testDestination({ upstream: upstream.at, paths });
    await using proxy = await testProxy({ authority, destinations: [of(keeps)] });
    const open = async (path: string): Promise<Awaited<ReturnType<typeof proxy.open>>> => {
      const line = await proxy.open();
      line.write(`GET http://crm.internal${path} HTTP/1.1\r\nHost: crm.internal\r\n\r\n`);
      await line.sees('first');
      return line;
    };
    const [slash, empty, plain] = [
      await open('/stream/a%2Fb'),
      await open('/stream//a'),
      await open('/stream/a'),
    ];
    proxy.policy.set(policyOf(of({ encodedSlash: true, emptySegments: false })));
    await empty.ended();
    t.equal(proxy.server.live(), 2);
    proxy.policy.set(policyOf(of(undefined)));
    await slash.ended();
    t.equal(proxy.server.live(), 1, 'a path that every policy takes goes on');
    t.match(proxy.audit.of('redecided'), [
      { effect: 'deny', code: 'no-longer-allowed' },
      { effect: 'deny', code: 'no-longer-allowed' },
    ]);
    plain.socket.destroy();
    await proxy.quiet();
  },
);
