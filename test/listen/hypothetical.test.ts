import t from 'tap';
import { decide } from '../../lib/policy/decision/decide.ts';
import { plainJson } from '../../lib/policy/conditions/plain.ts';
import { simulate } from '../../lib/listen/hypothetical.ts';
import { destination as document, load, SIDECAR } from '../config/documents.ts';

const INTERCEPTING = `${SIDECAR}  forward: { address: 127.0.0.1:15001 }
  intercept: { domains: [example.com] }
`;

const MCP = `  protocol: mcp
  mcp: { path: /mcp }
  rules:
    - { name: small, effect: allow, action: write, mcp: { tools: [pay] }, when: 'args.amount <= 100' }
    - { name: docs, effect: allow, action: read, mcp: { resources: ['doc://open/**'] } }`;

t.test(
  'what is supposed is read as what comes in is: canonical, or refused with the same Fault',
  async (t) => {
    const { policy } = await load(t, SIDECAR, document('  listen: 127.0.0.1:18080'));
    const of = (
      method: string,
      target: string,
      fields: readonly string[] = [],
    ): ReturnType<typeof simulate> => simulate({ method, target, fields, time: 7 }, policy);
    t.match(of('GET', 'http://CRM.internal/%76%31?x=1', ['X-A: b']), {
      entry: 'forward',
      host: 'crm.internal',
      port: 80,
      time: 7,
      http: { path: '/v1', query: '?x=1' },
    });
    const sent = of('GET', 'http://crm.internal/v1', [
      'X-A: b',
      'X-Real-IP: c',
      'Connection: x-hop',
      'X-Hop: d',
    ]);
    t.same(
      sent.http?.fields,
      ['x-a', 'b'],
      'fields that would not be sent are no facts here either',
    );
    t.match(of('CONNECT', 'crm.internal:443'), { entry: 'connect', http: undefined });
    t.match(
      of('GET', 'https://crm.internal/v1'),
      { entry: 'connect', port: 443, http: undefined },
      'not intercepted',
    );
    const local = simulate(
      { method: 'GET', target: 'http://crm.internal/v1', listener: 'crm', time: 0 },
      policy,
    );
    t.match(local, { entry: 'listener', listener: 'crm', http: { path: '/v1' } });
    t.throws(() => of('GET', 'http://crm.internal/%2e%2e/x'), { code: 'malformed' });
    t.throws(() => of('GET', 'http://crm.internal/', ['a: b\r\nc: d']), { code: 'malformed' });
    t.throws(() => of('GET', 'http://crm.internal/', ['Host: evil']), { code: 'malformed' });
    t.throws(() => simulate({ method: 'GET', target: '/', listener: 'none', time: 0 }, policy), {
      code: 'usage',
    });
    t.throws(
      () =>
        simulate(
          { method: 'POST', target: 'http://crm.internal/', message: '{}', time: 0 },
          policy,
        ),
      {
        code: 'usage',
      },
    );
  },
);

t.test('inside an intercepted tunnel a request is judged, elsewhere the tunnel is', async (t) => {
  const spec = '  hosts: [a.example.com]\n  ports: [443]\n  tls: { mode: web, intercept: true }';
  const { policy } = await load(t, INTERCEPTING, document(spec, 'web'));
  const facts = simulate({ method: 'GET', target: 'https://A.example.com/v1?x', time: 0 }, policy);
  t.match(facts, {
    entry: 'intercept',
    host: 'a.example.com',
    port: 443,
    http: { path: '/v1', query: '?x' },
  });
});

for (const versions of ['', "\n  # versions\n  mcp: { path: /mcp, versions: ['2026-07-28'] }"]) {
  t.test(
    `a message of MCP is read by its own parser${versions === '' ? '' : ', in a version without sessions too'}`,
    async (t) => {
      const spec = versions === '' ? MCP : MCP.replace('  mcp: { path: /mcp }', versions.slice(1));
      const { policy } = await load(t, SIDECAR, document(spec, 'pay'));
      const facts = (message: string): ReturnType<typeof simulate> =>
        simulate({ method: 'POST', target: 'http://pay.internal/mcp', message, time: 0 }, policy);
      const call = (amount: string): string =>
        `{"method":"tools/call","params":{"name":"pay","arguments":{"amount":${amount}}}}`;
      const small = facts(call('100'));
      t.match(small.mcp, { kind: 'request', method: 'tools/call', tool: 'pay' });
      t.same(plainJson(small.mcp?.args ?? new Map()), { amount: 100 });
      t.match(decide(policy, small), { effect: 'allow', rule: 'small' });
      t.match(decide(policy, facts(call('101'))), { effect: 'deny', code: 'no-rule-matched' });
      t.match(
        decide(policy, facts('{"method":"resources/read","params":{"uri":"doc://open/1"}}')),
        { rule: 'docs' },
      );
      t.throws(() => facts('{"method":"tools/call","params":{"name":"pay","name":"x"}}'), {
        code: 'bad-json',
      });
      t.throws(() => facts('[]'), { code: 'usage' });
    },
  );
}
