import fc from 'fast-check';
import t from 'tap';
import { conditions } from '../../lib/policy/conditions/compile.ts';
import { decide } from '../../lib/policy/decision/decide.ts';
import type { Condition } from '../../lib/policy/model/condition.ts';
import type { Facts } from '../../lib/policy/model/facts.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { Rule } from '../support/service.ts';
import { connection, destination, policy, request, rule } from './destination.ts';

const read = rule('read', 'allow', { methods: ['GET'], paths: ['/v1/customers/**'] });
const noExport = rule('no-export', 'deny', { paths: ['/v1/customers/export/**'] });
const crm = destination('crm', { rules: [read, noExport] });

/** `effect code rule`. */
function verdict(of: Policy, facts: Facts): string {
  const { effect, code, rule: name } = decide(of, facts);
  return [effect, code, name ?? '-'].join(' ');
}

t.test('nothing listed is nothing allowed', async (t) => {
  const decision = decide(policy(), request());
  t.match(decision, {
    effect: 'deny',
    code: 'unlisted',
    reason: 'no destination has crm.internal:80',
    policyGeneration: 7,
  });
  t.match(decision.hint, /add a Destination/);
  t.equal(
    verdict(policy(destination('crm')), request()),
    'deny no-rule-matched -',
    'a destination without rules denies all',
  );
});

t.test(
  'a condition is read last: true matches, false does not, and no answer is the safe one of each effect',
  async (t) => {
    const all = conditions(['public', 'internal']);
    const when = (text: string): Condition => all.compile(text, 'request');
    const [holds, fails, none] = [
      when('request.port == 80'),
      when('request.port == 81'),
      when('task.uses == 1'),
    ];
    const of = (...rules: readonly Rule[]): string =>
      verdict(policy(destination('crm', { rules })), request());
    const open = rule('open', 'allow');
    t.equal(of(rule('a', 'allow', { when: holds })), 'allow allowed a');
    t.equal(of(rule('a', 'allow', { when: fails })), 'deny no-rule-matched -');
    t.equal(of(rule('a', 'allow', { when: none })), 'deny no-rule-matched -');
    t.equal(of(rule('a', 'allow', { when: none }), open), 'allow allowed open');
    t.equal(of(rule('d', 'deny', { when: holds }), open), 'deny denied-by-rule d');
    t.equal(of(rule('d', 'deny', { when: fails }), open), 'allow allowed open');
    t.equal(of(rule('d', 'deny', { when: none }), open), 'deny condition-failed d');
    t.equal(
      of(rule('d', 'deny', { when: none, paths: ['/other'] }), open),
      'allow allowed open',
      'not asked',
    );
    const error = (...rules: readonly Rule[]): string | undefined =>
      decide(policy(destination('crm', { rules })), request()).policyError;
    t.equal(
      error(rule('a', 'allow', { when: none }), open),
      'a: something that it reads is not known here',
    );
    t.equal(
      error(rule('d', 'deny', { when: none }), open),
      'd: something that it reads is not known here',
    );
    t.equal(error(rule('a', 'allow', { when: holds })), undefined);
    const many = Array.from({ length: 50 }, (_, i) =>
      rule(`rule-number-${i}`, 'allow', { when: none }),
    );
    t.ok((error(...many) ?? '').length <= 200, 'bounded');
    const { hint } = decide(
      policy(destination('crm', { rules: [rule('a', 'allow', { when: fails })] })),
      request(),
    );
    t.equal(hint, 'rule a would allow it, but its condition does not hold');
  },
);

t.test('deny rules win over allow rules, wherever they stand', async (t) => {
  t.equal(verdict(policy(crm), request({ path: '/v1/customers/7' })), 'allow allowed read');
  t.equal(
    verdict(policy(crm), request({ path: '/v1/customers/export/all' })),
    'deny denied-by-rule no-export',
  );
  t.equal(verdict(policy(crm), request({ path: '/v1/orders' })), 'deny no-rule-matched -');
  t.equal(
    verdict(policy(crm), request({ path: '/v1/customers/7', method: 'POST' })),
    'deny no-rule-matched -',
  );
});

t.test(
  'reasons and hints name destination, rule, method, path and the fix, never a query (C5)',
  async (t) => {
    const secret = '?token=hunter2';
    const of = (facts: Facts): string => {
      const { reason, hint } = decide(policy(crm), facts);
      t.notMatch(`${reason} ${hint}`, /hunter2/);
      return `${reason}; ${hint}`;
    };
    t.equal(
      of(request({ path: '/v1/customers/export/all', query: secret })),
      'rule no-export of destination crm denies GET /v1/customers/export/all; deny rules ' +
        'win over allow rules',
    );
    t.equal(
      of(request({ path: '/v1/customers/7', method: 'HEAD', query: secret })),
      'no rule of destination crm allows HEAD /v1/customers/7; rule read allows this path ' +
        'for GET alone; HEAD must be listed',
    );
    t.equal(
      of(request({ path: '/v1/customers/7', websocket: true })),
      'no rule of destination crm allows GET /v1/customers/7 as WebSocket; rule read ' +
        'matches but for WebSocket: add websocket: true to its http',
    );
    t.match(
      of(request({ path: '/v1/orders' })),
      /add an allow rule whose http has methods: \[GET\]/,
    );
    t.match(
      of(request({ path: `/${'a'.repeat(3000)}`, method: 'M'.repeat(500) })),
      /^.{0,700}$/,
      'long texts are cut',
    );
  },
);

t.test('a host on another port says which ports are listed (A11)', async (t) => {
  const { reason, hint } = decide(policy(crm), request({ port: 22 }));
  t.equal(reason, 'no destination has crm.internal:22');
  t.match(hint, /listed for port 80: use that, or add port 22/);
});

t.test('methods are case-sensitive, and unknown ones are allowed only by name (F12)', async (t) => {
  const open = policy(destination('crm', { rules: [rule('any', 'allow')] }));
  for (const method of ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])
    t.match(verdict(open, request({ method })), /^allow/, method);
  for (const method of ['get', 'TRACE', 'CONNECT', 'PROPFIND', 'X', ''])
    t.match(verdict(open, request({ method })), /^deny no-rule-matched/, method);
  const named = policy(
    destination('crm', { rules: [rule('dav', 'allow', { methods: ['PROPFIND'] })] }),
  );
  t.equal(verdict(named, request({ method: 'PROPFIND' })), 'allow allowed dav');
  t.match(verdict(named, request({ method: 'propfind' })), /^deny/);
  const guarded = policy(
    destination('crm', {
      rules: [
        rule('dav', 'allow', { methods: ['PROPFIND'] }),
        rule('none', 'deny', { paths: ['/x'] }),
      ],
    }),
  );
  t.equal(
    verdict(guarded, request({ method: 'PROPFIND', path: '/x' })),
    'deny denied-by-rule none',
    'a deny rule without methods is about every method',
  );
});

t.test(
  'an upgrade to WebSocket needs a rule that says so; deny rules hold for it (T4)',
  async (t) => {
    const socket = rule('live', 'allow', { paths: ['/live/**'], websocket: true });
    const of = policy(
      destination('crm', {
        rules: [socket, rule('plain', 'allow'), rule('no', 'deny', { paths: ['/live/x'] })],
      }),
    );
    t.equal(verdict(of, request({ path: '/live', websocket: true })), 'allow allowed live');
    t.equal(verdict(of, request({ path: '/live' })), 'allow allowed live');
    t.equal(verdict(of, request({ path: '/other', websocket: true })), 'deny no-rule-matched -');
    t.equal(verdict(of, request({ path: '/live/x', websocket: true })), 'deny denied-by-rule no');
  },
);

t.test('what the access matrix refuses is refused whatever the rules say (T1)', async (t) => {
  const all = [rule('any', 'allow')];
  const tls = policy(destination('crm', { rules: all, ports: [443] }));
  const tunnelled = decide(tls, connection({ port: 443 }));
  t.match(tunnelled, { effect: 'deny', code: 'wrong-entry', hint: /http:\/\/ URL/ });
  t.equal(
    tunnelled.reason,
    'destination crm is not served over CONNECT: its requests are judged one by one, which ' +
      'a tunnel would hide',
  );
  t.equal(
    verdict(policy(destination('crm', { protocol: 'tcp' })), request()),
    'deny wrong-entry -',
  );
  t.equal(
    verdict(policy(destination('crm', { tlsMode: 'passthrough' })), request()),
    'deny wrong-entry -',
  );
});

t.test('for a connection, being the destination is the permission', async (t) => {
  const tcp = policy(destination('crm', { protocol: 'tcp' }));
  t.match(decide(tcp, connection()), {
    effect: 'allow',
    code: 'allowed',
    reason: 'destination crm allows connections to crm.internal:80',
    rule: undefined,
  });
  t.equal(verdict(tcp, connection({ entry: 'listener', listener: 'crm' })), 'allow allowed -');
  t.equal(
    verdict(policy(destination('crm', { tlsMode: 'passthrough' })), connection()),
    'allow allowed -',
  );
  t.equal(verdict(tcp, connection({ host: 'other.internal' })), 'deny unlisted -');
});

t.test('facts that do not fit the destination cannot be inspected and are denied', async (t) => {
  const open = destination('crm', { rules: [rule('any', 'allow')] });
  t.match(decide(policy(open), connection({ entry: 'forward' })), {
    effect: 'deny',
    code: 'wrong-entry',
  });
  const tcp = policy(destination('crm', { protocol: 'tcp' }));
  t.match(decide(tcp, request({ entry: 'connect' })), { effect: 'deny', code: 'wrong-entry' });
});

t.test('a local listener serves its own destination alone (A2, A3, A4)', async (t) => {
  const all = [rule('any', 'allow')];
  const of = policy(
    destination('crm', { hosts: ['crm.internal', '*.crm.example.com'], rules: all }),
    destination('wiki', { hosts: ['wiki.internal', 'wiki.crm.example.com'], rules: all }),
  );
  const at = (host: string, listener = 'crm', port = 80): string =>
    verdict(of, request({ entry: 'listener', listener, host, port }));
  t.equal(at('crm.internal'), 'allow allowed any');
  t.equal(at('a.crm.example.com'), 'allow allowed any');
  t.equal(
    at('wiki.crm.example.com'),
    'deny misdirected -',
    'a more specific destination has this host',
  );
  t.equal(at('wiki.internal'), 'deny misdirected -');
  t.equal(at('unknown.internal'), 'deny misdirected -');
  t.equal(at('crm.internal', 'crm', 81), 'deny misdirected -');
  t.equal(at('crm.internal', 'gone'), 'deny unlisted -');
  t.match(
    decide(of, request({ entry: 'listener', listener: 'crm', host: 'wiki.internal' })).hint,
    /crm\.internal or \*\.crm\.example\.com, port 80/,
  );
});

t.test('mode report lets through what a rule would deny, and says so', async (t) => {
  const of = policy(destination('crm', { rules: [read, noExport], mode: 'report' }));
  t.equal(verdict(of, request({ path: '/v1/customers/7' })), 'allow allowed read');
  const denied = decide(of, request({ path: '/v1/customers/export/x' }));
  t.match(denied, { effect: 'allow', code: 'reported', rule: 'no-export' });
  t.match(
    denied.reason,
    /^rule no-export of destination crm denies .*; let through because its mode is report$/,
  );
  t.equal(verdict(of, request({ path: '/other' })), 'allow reported -');
});

t.test('mode report relaxes neither entry, nor listener, nor what is unlisted', async (t) => {
  const of = policy(
    destination('crm', { mode: 'report', ports: [80, 443] }),
    destination('tcp', { mode: 'report', protocol: 'tcp' }),
  );
  t.equal(verdict(of, connection({ port: 443 })), 'deny wrong-entry -');
  t.equal(verdict(of, request({ host: 'tcp.internal' })), 'deny wrong-entry -');
  t.equal(
    verdict(of, request({ entry: 'listener', listener: 'crm', host: 'tcp.internal' })),
    'deny misdirected -',
  );
  t.equal(verdict(of, request({ host: 'other.internal' })), 'deny unlisted -');
});

t.test(
  'a decision is total and default deny: it never throws, and allows only what a rule or the matrix allows',
  async (t) => {
    const often = <T>(usual: fc.Arbitrary<T>, odd: fc.Arbitrary<T>): fc.Arbitrary<T> =>
      fc.oneof({ weight: 6, arbitrary: usual }, { weight: 1, arbitrary: odd });
    const facts = fc.record({
      entry: fc.constantFrom('forward', 'connect', 'listener') as fc.Arbitrary<Facts['entry']>,
      host: often(fc.constantFrom('crm.internal', 'tcp.internal', 'web.internal'), fc.string()),
      port: fc.constantFrom(80, 80, 443),
      listener: fc.option(fc.constantFrom('crm', 'tcp', 'web', 'gone'), { nil: undefined }),
      time: fc.integer(),
      http: fc.option(
        fc.record({
          method: often(fc.constantFrom('GET', 'GET', 'POST', 'TRACE'), fc.string()),
          path: often(
            fc.constantFrom('/v1/customers/7', '/v1/customers/export/1', '/'),
            fc.string(),
          ),
          query: fc.string(),
          websocket: fc.boolean(),
          fields: fc.constant([]),
        }),
        { nil: undefined },
      ),
    });
    const of = policy(
      crm,
      destination('tcp', { protocol: 'tcp' }),
      destination('web', { tlsMode: 'passthrough' }),
    );
    let allowed = 0;
    fc.assert(
      fc.property(facts, (one) => {
        const decision = decide(of, one);
        if (decision.effect === 'deny') return decision.reason !== '';
        allowed += 1;
        // A tunnel to what is judged per request carries nothing by itself.
        if (decision.destination?.name === 'crm' && one.entry === 'connect')
          return decision.action === undefined;
        if (one.http === undefined)
          return decision.destination?.name !== 'crm' && one.entry !== 'forward';
        return (
          decision.rule === 'read' &&
          one.http.method === 'GET' &&
          !one.http.websocket &&
          one.http.path.startsWith('/v1/customers')
        );
      }),
      { numRuns: 5000 },
    );
    t.ok(allowed > 50, `${allowed} were allowed`);
  },
);
