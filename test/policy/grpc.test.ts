import t from 'tap';
import { decide } from '../../lib/policy/decision/decide.ts';
import type { RequestFacts } from '../../lib/policy/model/facts.ts';
import type { Effect } from '../../lib/policy/model/rule.ts';
import type { GrpcRule } from '../../lib/policy/protocols/grpc-rules.ts';
import { callOf } from '../../lib/policy/protocols/grpc-rules.ts';
import { destination, policy, request } from './destination.ts';

const grpcRule = (
  name: string,
  effect: Effect,
  services?: readonly string[],
  methods?: readonly string[],
): GrpcRule => ({
  name,
  effect,
  action: effect === 'allow' ? 'read' : undefined,
  grpc: { services: services && new Set(services), methods: methods && new Set(methods) },
  when: undefined,
});

function call(path: string, method = 'POST'): RequestFacts {
  const facts = request({
    entry: 'listener',
    listener: 'billing',
    host: 'billing.internal',
    method,
    path,
  });
  return { ...facts, grpc: callOf(facts.http) };
}

t.test('a call is POST /package.Service/Method, and nothing else is one', async (t) => {
  const of = (path: string, method = 'POST', query = '') => callOf({ method, path, query });
  t.strictSame(of('/billing.v1.Invoices/Get'), { service: 'billing.v1.Invoices', method: 'Get' });
  t.strictSame(of('/Greeter/SayHello'), { service: 'Greeter', method: 'SayHello' });
  for (const path of [
    '/',
    '/a',
    '/a/',
    '//a',
    '/a/b/',
    '/a/b/c',
    '/a..b/C',
    '/.a/B',
    '/a./B',
    '/a/b.c',
    '/a/%42',
    '/a b/c',
    '/1a/B',
    '/a/B;x',
  ])
    t.equal(of(path), undefined, path);
  t.equal(of('/a/B', 'GET'), undefined);
  t.equal(of('/a/B', 'POST', '?x'), undefined);
  t.equal(of(`/${'a'.repeat(256)}/B`), undefined);
});

t.test(
  'rules name services and methods, exactly; deny first, nothing matched is denied',
  async (t) => {
    const rules = [
      grpcRule('no-delete', 'deny', undefined, ['Delete']),
      grpcRule('invoices', 'allow', ['billing.v1.Invoices'], ['Get', 'Delete']),
      grpcRule('health', 'allow', ['grpc.health.v1.Health'], ['*']),
    ];
    const all = policy(destination('billing', { protocol: 'grpc', rules }));
    const judge = (path: string, method?: string) => decide(all, call(path, method));
    t.match(judge('/billing.v1.Invoices/Get'), {
      effect: 'allow',
      rule: 'invoices',
      action: 'read',
    });
    t.match(judge('/billing.v1.Invoices/Delete'), {
      code: 'denied-by-rule',
      rule: 'no-delete',
      reason: /denies billing\.v1\.Invoices\/Delete/,
    });
    t.match(judge('/grpc.health.v1.Health/Watch'), { effect: 'allow', rule: 'health' });
    t.match(judge('/billing.v1.Invoices/get'), {
      code: 'no-rule-matched',
      hint: /allows this service for Get, Delete alone; get must be listed/,
    });
    t.match(judge('/billing.v1.InvoicesX/Get'), {
      code: 'no-rule-matched',
      hint: /services: \[billing\.v1\.InvoicesX\] and methods: \[Get\]/,
    });
    t.match(judge('/billing.v1.Invoices/Get', 'GET'), {
      code: 'not-grpc',
      hint: /HTTP\/2 by POST to \/package\.Service\/Method/,
    });
    t.match(judge('/index.html'), { code: 'not-grpc' });
  },
);

t.test('no rules, deny rules alone, and rules over everything', async (t) => {
  const judge = (...rules: readonly GrpcRule[]) =>
    decide(policy(destination('billing', { protocol: 'grpc', rules })), call('/a.B/C'));
  t.match(judge(), { code: 'no-rule-matched', hint: /no allow rule/ });
  t.match(judge(grpcRule('all', 'deny')), { code: 'denied-by-rule' });
  t.match(judge(grpcRule('all', 'allow')), { code: 'allowed' });
});

t.test('the forward port and CONNECT do not serve gRPC, and say where it is served', async (t) => {
  const all = policy(
    destination('billing', {
      protocol: 'grpc',
      ports: [80, 443],
      rules: [grpcRule('all', 'allow')],
    }),
  );
  const facts = call('/a.B/C');
  const forward = decide(all, { ...facts, entry: 'forward', listener: undefined });
  t.match(forward, { code: 'wrong-entry', hint: /local listener/ });
  const connect = {
    ...facts,
    entry: 'connect' as const,
    listener: undefined,
    http: undefined,
    grpc: undefined,
  };
  t.match(decide(all, { ...connect, port: 443 }), { code: 'wrong-entry' });
  t.match(decide(all, { ...connect, port: 80 }), { code: 'allowed', reason: /is inspected/ });
});
