import { parseResourcePattern, uriProblem } from '../../lib/net/resource.ts';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import type { McpFacts } from '../../lib/policy/model/facts.ts';
import type { Grant } from '../../lib/policy/model/grant.ts';
import { isListed } from '../../lib/policy/protocols/mcp-lists.ts';
import { messageMatches } from '../../lib/policy/protocols/mcp-rules.ts';
import { EMPTY } from '../../lib/schema/json.ts';
import { mcpRule, mcpDestination } from '../support/mcp.ts';
import fc from 'fast-check';
import t from 'tap';

const NOTHING: McpFacts = {
  version: '2025-11-25',
  kind: 'request',
  method: 'ping',
  tool: undefined,
  prompt: undefined,
  resource: undefined,
  args: EMPTY,
  argsDigest: undefined,
  definition: undefined,
};

t.test('a rule is about what it names and nothing else', async (t) => {
  const one = mcpRule('r', 'allow', {
    tools: ['a'],
    prompts: ['p'],
    resources: ['x://y/**'],
    methods: ['logging/setLevel'],
  });
  const about = (facts: Partial<McpFacts>): boolean =>
    messageMatches(one, { ...NOTHING, ...facts });
  t.ok(about({ method: 'tools/call', tool: 'a' }));
  t.notOk(about({ method: 'tools/call', tool: 'A' }));
  t.notOk(about({ method: 'tools/call', tool: 'p' }), 'a prompt is not a tool');
  t.ok(about({ method: 'prompts/get', prompt: 'p' }));
  t.ok(about({ method: 'resources/read', resource: 'x://y/z' }));
  t.notOk(about({ method: 'resources/read', resource: 'x://y' }));
  t.ok(about({ method: 'logging/setLevel' }));
  t.notOk(about({ method: 'logging/setLevel', kind: 'response' }), 'an answer is not the method');
  t.notOk(about({ method: 'ping' }));
  t.ok(messageMatches(mcpRule('r', 'allow', { tools: ['*'] }), { ...NOTHING, tool: 'anything' }));
});

t.test('deny rules with a condition hide nothing from a list, others do', async (t) => {
  const allow = mcpRule('a', 'allow', { tools: ['x'] });
  const deny = mcpRule('d', 'deny', { tools: ['x'] });
  t.equal(isListed(mcpDestination({ rules: [allow] }), { tool: 'x' }), true);
  t.equal(isListed(mcpDestination({ rules: [allow, deny] }), { tool: 'x' }), false);
  t.equal(
    isListed(
      mcpDestination({ rules: [allow, { ...deny, when: conditions([]).compile('true', 'mcp') }] }),
      {
        tool: 'x',
      },
    ),
    true,
  );
  t.equal(isListed(mcpDestination({ rules: [] }), { tool: 'x' }), false);
});

t.test('a URI has one spelling or is refused (P1, P3 for resources)', async (t) => {
  for (const uri of [
    'file:///a/b',
    'ticket://open/1?x=%20y#z',
    'urn:isbn:1',
    'x+y.z-1://h',
    'https://example.com/%25',
    'a:b..c',
    'x://y/.hidden',
    'x://y/a%3Fb',
  ])
    t.equal(uriProblem(uri), undefined, uri);
  for (const uri of [
    '',
    'x',
    '/a',
    'File:///a',
    'file:/a',
    'file://host/a',
    'file:////a',
    'x://y//z',
    'x://y/../z',
    'x://y/..',
    'x:..',
    'x://y/.',
    'x://y/%2e%2e/z',
    'x://y/%2E',
    'x://y/%2fz',
    'x://y/%5cz',
    'x://y\\z',
    'x://y/%',
    'x://y/%zz',
    'x://y/%41',
    'x://y/%7e',
    'x://y/%00',
    'x://y/ z',
    'x://y/\u00e9',
    'x://y/{id}',
    `x://${'y'.repeat(2050)}`,
  ])
    t.ok(uriProblem(uri), uri);
});

t.test('patterns: whole, or a place and all below it; deny rules reach further', async (t) => {
  for (const bad of ['*', 'x://*', 'x://y/*/z', 'x://y/**z', '**', 'X://y/**', 'x://y/../**'])
    t.throws(() => parseResourcePattern(bad), { code: 'bad-pattern' }, bad);
  const place = parseResourcePattern('x://y/secret/**');
  t.ok(place.matches('x://y/secret/1'));
  t.notOk(place.matches('x://y/secrets/1'));
  t.notOk(place.matches('x://y/Secret/1'));
  for (const uri of [
    'x://y/secret/1',
    'x://y/Secret/1',
    'x://y/secret',
    'x://y/secret?a',
    'x://y/SECRET/#b',
  ])
    t.ok(place.denies(uri), uri);
  t.ok(parseResourcePattern('x://y/a').denies('x://y/A?b'));
  for (const uri of [
    'x://y/secret;x=1/1',
    'x://y;a/secret/1',
    'x://y/secret%20/1',
    'x://y/secret./1',
    'x://y/secret%2520/1',
    'x://y/secret%3Bx/1',
    'x://y/secret%3f/1',
    'x://y/secret::$DATA',
    'x://y./secret/1',
    'x://u@y/secret/1',
    'x://u:p@y/secret',
    'x://y:/secret/1',
    'x://y:80/secret/1',
    'x://y/%EF%BD%93ecret/1',
    'x://y/secret%09/1',
  ])
    t.ok(place.denies(uri), uri);
  for (const uri of [
    'x://y/secrets/1',
    'x://y/a/secret/1',
    'x://y:81/secret/1',
    'z://y/secret/1',
    'x://y/secre',
    'x://y',
  ])
    t.notOk(place.denies(uri), uri);
  t.ok(parseResourcePattern('https://h/a').denies('https://h:443/A;x'));
  t.ok(parseResourcePattern('doc:secret/**').denies('doc:Secret;x/1'));
  fc.assert(
    fc.property(
      fc.webPath(),
      (path) =>
        uriProblem(`x://y${path}`) !== undefined ||
        !place.matches(`x://y${path}`) ||
        place.denies(`x://y${path}`),
    ),
  );
});

t.test('a task is shown what its grant has, now or after a step-up', async (t) => {
  const rules = [
    mcpRule('r', 'allow', { tools: ['look'] }),
    mcpRule('w', 'allow', { tools: ['change'] }, 'write'),
  ];
  const destination = mcpDestination({ rules });
  const grant = (actions: readonly string[], stepUp: readonly string[] = []): Grant =>
    ({
      actions: new Set(actions),
      stepUp: new Map(stepUp.map((action) => [action, {}])),
    }) as unknown as Grant;
  t.equal(isListed(destination, { tool: 'look' }, { grant: grant(['read']) }), true);
  t.equal(isListed(destination, { tool: 'change' }, { grant: grant(['read']) }), false);
  t.equal(isListed(destination, { tool: 'change' }, { grant: grant(['read'], ['write']) }), true);
  t.equal(
    isListed(destination, { tool: 'look' }, { grant: grant(['read']), hazardous: true }),
    false,
    'it is a write, by its own words',
  );
  t.equal(
    isListed(destination, { tool: 'look' }, { grant: grant(['write']), hazardous: true }),
    true,
  );
});
