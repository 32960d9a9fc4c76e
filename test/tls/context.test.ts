/**
 * Contexts: built once per generation, anchors and mode; old ones dropped; never without anchors.
 */
import t from 'tap';
import type { TrustDomain } from '../../lib/spiffe/trust-domain.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import { testAuthority } from '../support/authority.ts';

const OWN = 'example.org' as TrustDomain;
const OTHER = 'other.test' as TrustDomain;

t.test(
  'a context is built once for the same generation and anchors, in whatever order they are named',
  async (t) => {
    const other = await testAuthority({ trustDomain: OTHER });
    const authority = await testAuthority();
    const identity = authority.identity(await authority.svid('/ours'), [other]);
    const contexts = tlsContexts();
    const both = contexts.spiffe(identity, [OWN, OTHER]);
    t.equal(contexts.spiffe(identity, [OTHER, OWN, OTHER]), both);
    t.not(contexts.spiffe(identity, [OWN]), both);
    t.not(contexts.anchors(identity, OWN), contexts.spiffe(identity, [OWN]));
    t.equal(
      contexts.web(undefined, [authority.pem]),
      contexts.web(undefined, [authority.pem]),
      'equal roots, equal context',
    );
    t.not(contexts.web(undefined, [authority.pem]), contexts.web(undefined, [other.pem]));
    t.not(contexts.web(undefined, undefined), contexts.web(identity, undefined));
  },
);

t.test(
  'the two newest generations are kept, whatever order they are asked for in (A15)',
  async (t) => {
    const authority = await testAuthority();
    const contexts = tlsContexts();
    const web = contexts.web(undefined, undefined);
    const svid = await authority.svid('/ours');
    for (let generation = 1; generation <= 20; generation += 1) {
      const identity = authority.identity(svid, [], generation);
      const built = contexts.spiffe(identity, [OWN]);
      t.equal(contexts.spiffe(identity, [OWN]), built);
    }
    t.equal(contexts.size, 3, 'two generations and the one without an identity');
    t.equal(contexts.web(undefined, undefined), web, 'which is still the same');
    t.ok(
      contexts.spiffe(authority.identity(svid, [], 3), [OWN]),
      'an exchange that still holds an old snapshot is served',
    );
    t.equal(contexts.size, 3);
  },
);

t.test('no anchors, no context: absent, empty or unnamed', async (t) => {
  const authority = await testAuthority();
  const identity = authority.identity(await authority.svid('/ours'));
  const contexts = tlsContexts();
  t.throws(() => contexts.spiffe(identity, [OTHER]), {
    code: 'no-trust-bundle',
    message: /other\.test/,
    hint: /federate/,
  });
  t.throws(() => contexts.spiffe(identity, []), { code: 'no-trust-bundle' });
  const empty = { ...identity, bundles: new Map([[OWN, { trustDomain: OWN, anchors: [] }]]) };
  t.throws(() => tlsContexts().spiffe(empty, [OWN]), { code: 'no-trust-bundle' });
  t.throws(() => tlsContexts().anchors(empty, OWN), { code: 'no-trust-bundle' });
  t.throws(() => contexts.web(undefined, []), { code: 'no-trust-bundle', hint: /system roots/ });
});
