import fc from 'fast-check';
import t from 'tap';
import { COMMON_METHODS, nearMiss, ruleMatches } from '../../lib/policy/protocols/http-rules.ts';
import { request, rule } from './destination.ts';

const get = { method: 'GET', path: '/a' };

t.test('a rule matches when method, path and upgrade do', async (t) => {
  const allow = rule('r', 'allow', { methods: ['GET'], paths: ['/a', '/b/**'] });
  t.ok(ruleMatches(allow, request(get).http));
  t.ok(ruleMatches(allow, request({ ...get, path: '/b/c' }).http));
  t.notOk(ruleMatches(allow, request({ ...get, path: '/c' }).http));
  t.notOk(
    ruleMatches(allow, request({ ...get, method: 'HEAD' }).http),
    'HEAD is a method of its own',
  );
  t.notOk(ruleMatches(allow, request({ ...get, websocket: true }).http));
});

t.test('a near miss says what was missing', async (t) => {
  const allow = rule('r', 'allow', { methods: ['GET'], paths: ['/a'] });
  t.equal(nearMiss(allow, request({ ...get, method: 'POST' }).http), 'method');
  t.equal(nearMiss(allow, request({ ...get, websocket: true }).http), 'upgrade');
  t.equal(nearMiss(allow, request({ ...get, path: '/b' }).http), undefined);
  t.equal(nearMiss(rule('r', 'deny'), request(get).http), undefined);
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
  const asked = fc.record({
    method: fc.constantFrom('GET', 'POST', 'TRACE', 'X', 'get'),
    path: fc.constantFrom('/a', '/b/c', '/'),
    query: fc.constant(''),
    websocket: fc.boolean(),
  });
  let allowed = 0;
  fc.assert(
    fc.property(match, asked, (one, facts) => {
      if (!ruleMatches(rule('r', 'allow', one), request(facts).http)) return true;
      allowed += 1;
      return ruleMatches(rule('r', 'deny', one), request(facts).http);
    }),
    { numRuns: 1000 },
  );
  t.ok(allowed > 50, `${allowed} were allowed`);
  t.notOk(COMMON_METHODS.has('CONNECT') || COMMON_METHODS.has('TRACE'));
});
