import fc from 'fast-check';
import t from 'tap';
import { buildPolicy } from '../../lib/policy/decision/lookup.ts';
import { targetText } from '../../lib/policy/model/targets.ts';
import { ceilingOf, ceilingUnder, attenuate, narrow, within } from '../../lib/tasks/attenuate.ts';
import { destination } from '../policy/destination.ts';
import { intent, policyWith, rule, STEP_UP } from './fixture.ts';

const POLICY = policyWith(rule());
const CEILING = ceilingOf(rule());

t.test(
  'a grant is the intent cut to the ceiling, and what is refused is named with its reason',
  async (t) => {
    const asked = intent({
      targets: ['crm', 'wiki.internal', 'vault', 'nowhere'],
      actions: ['read', 'write', 'admin'],
      dataClasses: ['internal', 'confidential', 'restricted'],
      lifetime: '168h',
      maxCalls: 1_000_000,
      isolated: true,
    });
    const { grant, lifetime, isolated, refused } = attenuate(asked, CEILING, POLICY);
    t.same([...grant.destinations], ['crm', 'wiki']);
    t.same([...grant.actions], ['read']);
    t.same([...grant.stepUp.keys()], ['write']);
    t.same([...grant.dataClasses], ['internal', 'confidential']);
    t.same([grant.maxCalls, lifetime, isolated], [100, 900_000, false]);
    t.same(
      refused.map(({ part, value, reason }) => `${part} ${value}: ${reason}`),
      [
        'targets vault: task policy support does not have it',
        'targets nowhere: task policy support does not have it',
        'dataClasses restricted: task policy support does not have it',
        'actions admin: task policy support does not have it',
        'lifetime 604800000ms: task policy support ends after 900000ms',
        'maxCalls 1000000: task policy support has 100',
        'isolated true: task policy support does not allow a history of its own',
      ],
    );
  },
);

t.test('a destination whose class is not granted is not granted', async (t) => {
  const { grant } = attenuate(
    intent({ targets: ['crm', 'wiki'], dataClasses: ['internal'] }),
    CEILING,
    POLICY,
  );
  t.same([...grant.destinations], ['wiki']);
});

t.test('a target with a port is that port alone', async (t) => {
  t.same(
    [...attenuate(intent({ targets: ['crm.internal:80'] }), CEILING, POLICY).grant.destinations],
    ['crm'],
  );
  t.same(
    [...attenuate(intent({ targets: ['crm.internal:443'] }), CEILING, POLICY).grant.destinations],
    [],
  );
  t.same(
    [...attenuate(intent({ targets: ['*.internal', '*'] }), CEILING, POLICY).grant.destinations],
    [],
    'no wildcards',
  );
});

t.test(
  'a target that names a host grants that host alone, and a derived task no more of it',
  async (t) => {
    const wide = policyOver(rule({ destinations: new Set(['crm', 'apps']) }));
    const cut = (targets: readonly string[], ceiling = CEILING): string =>
      grantText(
        attenuate(intent({ targets }), { ...ceiling, destinations: new Set(['crm', 'apps']) }, wide)
          .grant,
      );
    t.equal(cut(['wiki.internal:80']), 'apps: wiki.internal:80');
    t.equal(
      cut(['WIKI.internal.', 'payroll.internal:8080']),
      'apps: wiki.internal payroll.internal:8080',
    );
    t.equal(cut(['x.apps.internal']), 'apps: x.apps.internal');
    t.equal(cut(['*.apps.internal:80']), 'apps: *.apps.internal:80');
    t.equal(cut(['*.internal', '*.example', 'apps.internal', 'wiki.internal:443']), '');
    t.equal(cut(['apps', 'wiki.internal']), 'apps', 'named whole');
    t.equal(cut(['crm', 'wiki.internal']), 'crm, apps: wiki.internal');
    const { grant } = attenuate(
      intent({ targets: ['*.apps.internal', 'wiki.internal:80'] }),
      { ...CEILING, destinations: new Set(['apps']) },
      wide,
    );
    const under = ceilingUnder('t-1', grant, { lifetime: 1000, maxCalls: 9 });
    const derived = (...targets: readonly string[]): string =>
      grantText(attenuate(intent({ targets }), under, wide).grant);
    t.equal(derived('apps'), 'apps: *.apps.internal wiki.internal:80');
    t.equal(
      derived('wiki.internal', 'x.apps.internal:8080'),
      'apps: wiki.internal:80 x.apps.internal:8080',
    );
    t.equal(derived('wiki.internal:8080', 'payroll.internal'), '');
    t.equal(grantText(narrow(grant, CEILING)), '', 'and a ceiling without it has none of it');
    t.equal(
      grantText(narrow(grant, { ...CEILING, destinations: new Set(['apps']) })),
      'apps: *.apps.internal wiki.internal:80',
      'a reload does not widen it',
    );
  },
);

function policyOver(one: ReturnType<typeof rule>): typeof POLICY {
  const hosts = ['wiki.internal', 'payroll.internal', '*.apps.internal'];
  return buildPolicy({
    generation: 1,
    digest: 'd',
    destinations: [
      destination('crm', { dataClass: 'internal' }),
      destination('apps', { hosts, ports: [80, 8080], dataClass: 'internal' }),
    ],
    unlisted: 'deny',
    taskPolicies: [one],
  });
}

const grantText = ({ destinations, hosts }: ReturnType<typeof narrow>): string =>
  [...destinations]
    .map((name) =>
      [name, ...(hosts?.get(name)?.map(targetText) ?? [])].join(' ').replace(' ', ': '),
    )
    .join(', ');

const subset = (words: readonly string[], least = 0): fc.Arbitrary<string[]> =>
  fc.subarray([...words], { minLength: least });
const intents = fc
  .record({
    targets: subset(
      ['crm', 'wiki', 'vault', 'crm.internal', 'wiki.internal:80', 'wiki.internal', 'nowhere'],
      1,
    ),
    actions: subset(['read', 'write', 'admin', 'execute'], 1),
    dataClasses: fc.option(subset(['public', 'internal', 'confidential', 'restricted'], 1), {
      nil: undefined,
    }),
    lifetime: fc.integer({ min: 1, max: 5000 }).map((seconds) => `${seconds}s`),
    maxCalls: fc.option(fc.integer({ min: 1, max: 500 }), { nil: undefined }),
  })
  .map((given) => intent(given));
const rules = fc
  .record({
    destinations: subset(['crm', 'wiki', 'vault']).map((names) => new Set(names)),
    actions: subset(['read', 'write', 'admin']).map((names) => new Set(names)),
    dataClasses: subset(['internal', 'confidential', 'restricted']).map((names) => new Set(names)),
    maxCalls: fc.integer({ min: 1, max: 300 }),
    stepUp: fc.constantFrom(
      [],
      [STEP_UP],
      [{ ...STEP_UP, actions: new Set(['write', 'execute']) }],
    ),
  })
  .map((given) => rule(given));

t.test(
  'no derivation widens: a chain of derived grants only ever narrows, whatever is asked for',
  async (t) => {
    let granted = 0;
    fc.assert(
      fc.property(rules, fc.array(intents, { minLength: 2, maxLength: 5 }), (policy, chain) => {
        let ceiling = ceilingOf(policy);
        let lifetime = ceiling.lifetime;
        let grant = narrow({ ...ceiling, purpose: 'support' }, ceiling);
        for (const one of chain) {
          const next = attenuate(one, ceiling, POLICY);
          granted += next.grant.destinations.size;
          if (!within(next.grant, grant) || next.lifetime > lifetime) return false;
          ({ grant, lifetime } = next);
          ceiling = ceilingUnder('t-x', grant, { lifetime, maxCalls: grant.maxCalls });
        }
        return true;
      }),
      { numRuns: 2000 },
    );
    t.ok(granted > 200, 'and much was granted');
  },
);

t.test('narrowing to a new ceiling gives nothing that was not there before', async () => {
  fc.assert(
    fc.property(rules, rules, intents, (before, after, asked) => {
      const { grant } = attenuate(asked, ceilingOf(before), POLICY);
      const narrowed = narrow(grant, ceilingOf(after));
      const reach = (one: typeof grant): ReadonlySet<string> =>
        new Set([...one.actions, ...one.stepUp.keys()]);
      return (
        narrowed.destinations.isSubsetOf(grant.destinations) &&
        narrowed.actions.isSubsetOf(grant.actions) &&
        reach(narrowed).isSubsetOf(reach(grant)) &&
        narrowed.destinations.isSubsetOf(after.destinations) &&
        narrowed.maxCalls <= Math.min(grant.maxCalls, after.maxCalls)
      );
    }),
    { numRuns: 2000 },
  );
});
