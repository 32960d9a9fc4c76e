import { serviceOf } from '../support/service.ts';
import fc from 'fast-check';
import t from 'tap';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { decide } from '../../lib/policy/decision/decide.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import { ruleMatches } from '../../lib/policy/protocols/http-rules.ts';
import { CallPermission } from '../../lib/policy/protocols/grpc.ts';
import { MessagePermission } from '../../lib/policy/protocols/mcp-permissions.ts';
import { httpPermissions } from '../../lib/policy/protocols/http-permissions.ts';
import {
  EVERYTHING,
  type Permission,
  covers,
  overlaps,
} from '../../lib/policy/model/permission.ts';
import { CONNECTION } from '../../lib/policy/protocols/tcp.ts';
import { type PathsDiff, diffPaths } from '../../lib/policy/review/access-paths-diff.ts';
import { pathsOf } from '../../lib/policy/review/access-paths.ts';
import { connection, destination, policy, request, rule } from './destination.ts';

const setting = { identity: 'spiffe://example.org/agent', forward: true };
const compiler = conditions(['public', 'internal']);

const methods = fc.option(
  fc.uniqueArray(fc.constantFrom('GET', 'POST', 'TRACE'), { minLength: 1 }),
  {
    nil: undefined,
  },
);
const pattern = fc.constantFrom(
  '/',
  '/a',
  '/a/',
  '/a/**',
  '/a/*',
  '/*',
  '/**',
  '/a/b',
  '/b/**',
  '/a/*/c',
  '/a/b/**',
);
const paths = fc.option(fc.uniqueArray(pattern, { minLength: 1, maxLength: 3 }), {
  nil: undefined,
});
const path = fc.constantFrom('/', '/a', '/a/', '/a/b', '/a/b/', '/a/b/c', '/b', '/b/x', '/c');
const match = fc
  .record({ methods, paths, websocket: fc.boolean() })
  .map(({ methods: m, paths: p, websocket }) => ({
    ...(m && { methods: m }),
    ...(p && { paths: p }),
    websocket,
  }));
const asked = fc.record({
  method: fc.constantFrom('GET', 'POST', 'TRACE', 'PUT'),
  path,
  websocket: fc.boolean(),
});

t.test(
  'patterns compare as what they match does: one that includes another matches what that matches (property)',
  async (t) => {
    let [inside, apart] = [0, 0];
    fc.assert(
      fc.property(match, match, asked, (one, other, facts) => {
        const [a, b] = [rule('a', 'allow', one), rule('b', 'allow', other)];
        const { http } = request(facts);
        const every = httpPermissions(b).every((narrow) =>
          httpPermissions(a).some((wide) => covers(wide, narrow)),
        );
        const none = !httpPermissions(a).some((x) =>
          httpPermissions(b).some((y) => overlaps(x, y)),
        );
        if (every) inside += 1;
        if (none) apart += 1;
        if (every && ruleMatches(b, http) && !ruleMatches(a, http)) return false;
        return !(none && ruleMatches(a, http) && ruleMatches(b, http));
      }),
      { numRuns: 3000 },
    );
    t.ok(inside > 100 && apart > 100, `${inside} inside, ${apart} apart`);
  },
);

t.test(
  'permissions of MCP and gRPC compare by name, by * and by the method that stands for them all',
  async (t) => {
    const tool = (name: string): Permission => new MessagePermission('tool', name);
    const cases: readonly (readonly [Permission, Permission, boolean, boolean])[] = [
      [tool('*'), tool('pay'), true, true],
      [tool('pay'), tool('*'), false, true],
      [tool('pay'), tool('refund'), false, false],
      [new MessagePermission('method', 'tools/call'), tool('pay'), true, true],
      [tool('pay'), new MessagePermission('prompt', 'pay'), false, false],
      [
        new MessagePermission('resource', 'doc://a/**'),
        new MessagePermission('resource', 'doc://a/b'),
        true,
        true,
      ],
      [
        new MessagePermission('resource', 'doc://a/b'),
        new MessagePermission('resource', 'doc://a/**'),
        false,
        true,
      ],
      [
        new MessagePermission('resource', 'doc://a/**'),
        new MessagePermission('resource', 'doc://b'),
        false,
        false,
      ],
      [new CallPermission('*', 'Get'), new CallPermission('a.B', 'Get'), true, true],
      [new CallPermission('a.B', 'Get'), new CallPermission('*', '*'), false, true],
      [EVERYTHING, CONNECTION, true, true],
      [CONNECTION, EVERYTHING, false, true],
    ];
    for (const [a, b, inside, both] of cases) {
      t.equal(covers(a, b), inside, `${a.text} covers ${b.text}`);
      t.equal(overlaps(a, b), both, `${a.text} overlaps ${b.text}`);
    }
  },
);

/** Two destinations, one a wildcard over the other. */
const rules = fc.array(
  fc.record({ effect: fc.constantFrom('allow' as const, 'deny' as const), match }),
  {
    maxLength: 4,
  },
);
const site = fc.record({
  rules,
  present: fc.boolean(),
  report: fc.boolean(),
  optional: fc.constant(true),
});
const policies = fc.tuple(site, site).map(([wide, narrow]): Policy => {
  const of = (
    name: string,
    hosts: readonly string[],
    { rules: all, report }: typeof wide,
  ): Destination =>
    destination(name, {
      hosts,
      mode: report && name === 'wide' ? 'report' : 'enforce',
      rules: all.map((one, i) => rule(`r${i}`, one.effect, one.match)),
    });
  return policy(
    ...(wide.present ? [of('wide', ['*.a.example'], wide)] : []),
    ...(narrow.present ? [of('narrow', ['x.a.example', '*.deep.a.example'], narrow)] : []),
  );
});
const host = fc.constantFrom('x.a.example', 'y.a.example', 'z.deep.a.example');

t.test(
  'what a request is allowed is a path; what a change allows it is opened (property)',
  async (t) => {
    let [allowed, opened] = [0, 0];
    fc.assert(
      fc.property(policies, policies, asked, host, (before, after, facts, name) => {
        const one = request({ ...facts, host: name });
        const [then, now] = [decide(before, one), decide(after, one)];
        if (now.effect === 'deny') return true;
        allowed += 1;
        const listed = pathsOf(after, setting).some(
          (each) => each.destination === now.destination?.name,
        );
        const change = diffPaths({ policy: before, setting }, { policy: after, setting });
        if (then.effect === 'allow') return listed;
        opened += 1;
        return listed && change.opened.some((each) => each.destination === now.destination?.name);
      }),
      { numRuns: 3000 },
    );
    t.ok(allowed > 300 && opened > 100, `${allowed} allowed, ${opened} opened`);
  },
);

t.test(
  'a policy opens nothing beside itself, whatever its documents and rules are called (property)',
  async () => {
    fc.assert(
      fc.property(policies, (one) => {
        const renamed = policy(
          ...one.destinations.map((each) => ({
            ...each,
            name: `other-${each.name}`,
            at: 'elsewhere:1:1',
          })),
        );
        const same = diffPaths({ policy: one, setting }, { policy: renamed, setting });
        return same.opened.length + same.closed.length === 0;
      }),
    );
  },
);

const read = rule('read', 'allow', { methods: ['GET'], paths: ['/a/**'] });
const diff = (before: Destination, after: Destination): PathsDiff =>
  diffPaths({ policy: policy(before), setting }, { policy: policy(after), setting });
const opens = (before: Destination, after: Destination): readonly string[] =>
  diff(before, after).opened.map(({ why }) => why);

t.test('a change says what it opens and why; closing opens nothing', async (t) => {
  const crm = destination('crm', { rules: [read] });
  const when = (text: string): Destination =>
    destination('crm', {
      rules: [
        rule('read', 'allow', {
          methods: ['GET'],
          paths: ['/a/**'],
          when: compiler.compile(text, 'request'),
        }),
      ],
    });
  const with_ = (more: Partial<Destination>): Destination => ({ ...crm, ...more });
  const deny = rule('no-b', 'deny', { paths: ['/a/b/**'] });
  t.same(
    opens(
      crm,
      destination('crm', { rules: [rule('read', 'allow', { methods: ['GET'], paths: ['/a/b'] })] }),
    ),
    [],
  );
  t.same(opens(crm, when('request.port == 80')), [], 'a condition narrows');
  t.same(opens(when('request.port == 80'), crm), ['it had another condition']);
  t.same(opens(when('request.port == 80'), when('request.port == 81')), [
    'it had another condition',
  ]);
  t.same(opens(with_({ service: serviceOf({ rules: [deny, read] }, 'mtls') }), crm), [
    'rule no-b denied a part of it',
  ]);
  t.same(opens(crm, with_({ service: serviceOf({ rules: [deny, read] }, 'mtls') })), []);
  t.same(
    opens(crm, with_({ service: serviceOf({ rules: [{ ...read, action: 'admin' }] }, 'mtls') })),
    ['it was read'],
  );
  t.same(opens(crm, with_({ upstream: { host: 'evil', port: 1 } })), ['its upstream was not set']);
  t.same(opens(crm, with_({ tls: { ...crm.tls, mode: 'web' } })), ['its tls.mode was mtls']);
  t.same(opens(crm, with_({ dataClass: 'restricted' })), ['its dataClass was internal']);
  t.same(opens(crm, with_({ credential: { kind: 'jwt-svid', audience: 'crm' } })), [
    'its credential was not set',
  ]);
  t.same(opens(crm, with_({ cidrs: ['10.0.0.0/8'] })), ['its upstream.cidrs were fewer']);
  t.same(opens(crm, with_({ mode: 'report' })), ['its rules were enforced']);
  t.same(opens(with_({ mode: 'report' }), crm), []);
  t.same(opens(crm, with_({ listen: { host: '127.0.0.1', port: 1 } })), [
    'it was not reached by listener',
  ]);
  t.same(opens(crm, with_({ timeouts: { ...crm.timeouts, total: 1 }, name: 'renamed' })), []);
  t.same(opens(crm, with_({ ports: [80, 443] })), ['no destination had it']);
  t.same(opens({ ...crm, task: 'required' }, crm), ['it needed a task']);
  t.match(diff(crm, with_({ service: serviceOf({ rules: [] }, 'mtls') })), {
    opened: [],
    closed: [{ what: 'GET /a/**', action: 'read' }],
  });
});

t.test(
  'paths leave out what can never be: denied altogether, not served, or for tasks that nobody can open',
  async (t) => {
    const gone = rule('gone', 'deny', { paths: ['/a/**'] });
    const of = (
      ...all: readonly Destination[]
    ): readonly (readonly [string, readonly string[]])[] =>
      pathsOf(policy(...all), setting).map(({ destination: name, what }) => [name, what]);
    t.same(of(destination('crm', { rules: [gone, read] })), []);
    t.same(of(destination('crm', { rules: [read], task: 'required' })), []);
    t.same(of(destination('crm', { rules: [read] })), [['crm', ['GET /a/**']]]);
    const tunnel = destination('web', { tlsMode: 'passthrough', ports: [443] });
    t.same(of(tunnel), [['web', ['a connection, unseen inside']]]);
    t.equal(
      decide(policy(tunnel), connection({ host: 'web.internal', port: 443 })).effect,
      'allow',
    );
    t.same(
      pathsOf(policy(tunnel), { ...setting, forward: false }),
      [],
      'without a forward proxy it is not reached',
    );
  },
);
