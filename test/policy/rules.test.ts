import fc from 'fast-check';
import t from 'tap';
import { COMMON_METHODS, nearMiss, ruleMatches } from '../../lib/policy/rules.ts';
import type { HttpFacts } from '../../lib/policy/facts.ts';
import type { Rule } from '../../lib/policy/model.ts';
import { rule } from './destination.ts';

const get: HttpFacts = { method: 'GET', path: '/a', query: '', websocket: false };

t.test('a rule matches when method, path and upgrade do', async (t) => {
  const allow = rule('r', 'allow', { methods: ['GET'], paths: ['/a', '/b/**'] });
  t.ok(ruleMatches(allow, get));
  t.ok(ruleMatches(allow, { ...get, path: '/b/c' }));
  t.notOk(ruleMatches(allow, { ...get, path: '/c' }));
  t.notOk(ruleMatches(allow, { ...get, method: 'HEAD' }), 'HEAD is a method of its own');
  t.notOk(ruleMatches(allow, { ...get, websocket: true }));
});

t.test('a near miss says what was missing', async (t) => {
  const allow = rule('r', 'allow', { methods: ['GET'], paths: ['/a'] });
  t.equal(nearMiss(allow, { ...get, method: 'POST' }), 'method');
  t.equal(nearMiss(allow, { ...get, websocket: true }), 'upgrade');
  t.equal(nearMiss(allow, { ...get, path: '/b' }), undefined);
  t.equal(nearMiss(rule('r', 'deny'), get), undefined);
});

t.test('a rule about nothing allows nothing and denies everything', async (t) => {
  const about = (effect: 'allow' | 'deny'): Rule => ({ name: 'r', effect, action: undefined, http: undefined });
  t.notOk(ruleMatches(about('allow'), get));
  t.ok(ruleMatches(about('deny'), get));
});

t.test('whatever an allow rule allows, the same rule as deny denies', async (t) => {
  const match = fc.record(
    {
      methods: fc.subarray(['GET', 'POST', 'TRACE', 'X'], { minLength: 1 }),
      paths: fc.subarray(['/a', '/**', '/b/*'], { minLength: 1 }),
      websocket: fc.boolean(),
    },
    { requiredKeys: [] },
  );
  const request = fc.record({
    method: fc.constantFrom('GET', 'POST', 'TRACE', 'X', 'get'),
    path: fc.constantFrom('/a', '/b/c', '/'),
    query: fc.constant(''),
    websocket: fc.boolean(),
  });
  let allowed = 0;
  fc.assert(
    fc.property(match, request, (one, facts) => {
      if (!ruleMatches(rule('r', 'allow', one), facts)) return true;
      allowed += 1;
      return ruleMatches(rule('r', 'deny', one), facts);
    }),
    { numRuns: 1000 },
  );
  t.ok(allowed > 50, `${allowed} were allowed`);
  t.notOk(COMMON_METHODS.has('CONNECT') || COMMON_METHODS.has('TRACE'));
});
