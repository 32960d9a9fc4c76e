import fc from 'fast-check';
import t from 'tap';
import type { Observation } from '../../lib/policy/model/observation.ts';
import { type SuggestedRule, suggest } from '../../lib/policy/review/suggest.ts';
import { ruleMatches } from '../../lib/policy/protocols/http-rules.ts';
import { destination, policy, request, rule } from './destination.ts';

const seen = (more: Partial<Observation>): Observation => ({
  destination: 'crm',
  rule: undefined,
  entry: 'forward',
  host: 'crm.internal',
  port: 80,
  method: 'GET',
  path: '/',
  mcpMethod: undefined,
  tool: undefined,
  prompt: undefined,
  resource: undefined,
  ...more,
});

const rulesFor = (
  protocol: 'http' | 'mcp' | 'grpc',
  ...all: readonly Partial<Observation>[]
): readonly SuggestedRule[] =>
  suggest(
    all.map(seen),
    policy(destination('crm', { protocol, rules: [rule('seen-read', 'allow')] })),
  ).rules.get('crm') ?? [];

t.test(
  'methods and paths are as they were asked for; several identifiers become one star',
  async (t) => {
    t.same(
      rulesFor(
        'http',
        { path: '/v1/customers/7' },
        { path: '/v1/customers/8' },
        { path: '/v1/orders/1' },
        { method: 'POST', path: '/v1/orders/1' },
        { path: '/a*b' },
        { path: '/k/6f1e5c9a-0000-4000-8000-0123456789ab/x' },
        { path: '/k/7f1e5c9a-0000-4000-8000-0123456789ab/x' },
      ),
      [
        {
          name: 'seen-read-2',
          action: 'read',
          about: {
            http: {
              methods: ['GET'],
              paths: ['/a%2Ab', '/k/*/x', '/v1/customers/*', '/v1/orders/1'],
            },
          },
        },
        {
          name: 'seen-write',
          action: 'write',
          about: { http: { methods: ['POST'], paths: ['/v1/orders/1'] } },
        },
      ],
    );
  },
);

t.test('a log that was tampered with writes nothing into documents (R7)', async (t) => {
  const nasty: readonly Partial<Observation>[] = [
    { destination: undefined, host: "x'] }\nspec: {}" },
    { destination: undefined, host: "x']#" },
    { destination: undefined, host: 'a.example', port: 0 },
    { path: '/\u202egpj.exe' },
    { tool: 'pay\u0007' },
  ];
  for (const one of nasty) {
    const { rules, destinations, left } = suggest([seen(one)], policy(destination('crm')));
    t.same([rules.size, destinations.length, left.length], [0, 0, 1], JSON.stringify(one));
  }
});

t.test('tools, prompts, resources and calls are named', async (t) => {
  t.same(
    rulesFor(
      'mcp',
      { tool: 'pay' },
      { tool: 'balance' },
      { tool: 'pay' },
      { resource: 'doc://a' },
      { mcpMethod: 'logging/setLevel' },
      { mcpMethod: 'stream' },
      { mcpMethod: 'initialize' },
    ).map(({ action, about }) => [action, about]),
    [
      ['execute', { mcp: { tools: ['balance', 'pay'] } }],
      ['read', { mcp: { resources: ['doc://a'] } }],
      ['read', { mcp: { methods: ['logging/setLevel'] } }],
    ],
  );
  t.same(
    rulesFor('grpc', { path: '/a.B/GetX' }, { path: '/a.B/ListX' }, { path: '/a.B/Drop' }).map(
      ({ action, about }) => [action, about],
    ),
    [
      ['read', { grpc: { services: ['a.B'], methods: ['GetX', 'ListX'] } }],
      ['write', { grpc: { services: ['a.B'], methods: ['Drop'] } }],
    ],
  );
});

t.test(
  'what is suggested matches everything that was asked, and no method on a path that it was not asked on (property)',
  async () => {
    const segment = fc.constantFrom('a', 'b', '1', '22', 'x*', 'customers');
    const path = fc
      .array(segment, { minLength: 1, maxLength: 3 })
      .map((parts) => `/${parts.join('/')}`);
    const one = fc.record({ method: fc.constantFrom('GET', 'POST', 'PUT'), path });
    fc.assert(
      fc.property(fc.array(one, { minLength: 1, maxLength: 8 }), (asked) => {
        const rules = rulesFor('http', ...asked).map(({ name, about }) => {
          const { methods = [], paths = [] } = about['http'] ?? {};
          return rule(name, 'allow', { methods, paths });
        });
        const allows = (method: string, at: string): boolean =>
          rules.some((each) => ruleMatches(each, request({ method, path: at }).http));
        // Where a number was, any segment may stand.
        const like = (at: string): RegExp =>
          new RegExp(`^${at.replaceAll('*', '\\*').replaceAll(/\/\d+(?=\/|$)/g, '/[^/]+')}$`);
        return asked.every(
          ({ method, path: at }) =>
            allows(method, at) &&
            ['GET', 'POST', 'PUT'].every(
              (other) =>
                !allows(other, at) ||
                asked.some((each) => each.method === other && like(each.path).test(at)),
            ),
        );
      }),
    );
  },
);
