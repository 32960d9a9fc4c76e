/**
 * What the interception tests stand on: https://api.example.com/ with rules, an upstream that proves
 * that name, and a running authority.
 */
import type { Test } from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { type Interception, openInterception } from '../../lib/interception/authority.ts';
import { type TestAuthority, testAuthority } from './authority.ts';
import { type DestinationOptions, rule, testDestination } from './destination.ts';
import { type TestProxy, type TestProxyOptions, testProxy } from './proxy.ts';
import { type MtlsUpstream, mtlsUpstream } from './upstream.ts';

const RULES = [
  rule('no-exports', 'deny', { paths: ['/export/**'] }),
  rule('read', 'allow', { methods: ['GET', 'POST'], paths: ['/**'] }),
];

/**
 * Stands for https://api.example.com/; the upstream proves that DNS name to us and asks for no
 * certificate.
 */
export function saasDestination(
  port: number,
  authority: TestAuthority,
  more: DestinationOptions = {},
): ReturnType<typeof testDestination> {
  return testDestination({
    name: 'saas',
    hosts: ['api.example.com'],
    ports: [443],
    mode: 'web',
    roots: [authority.pem],
    intercept: true,
    upstream: { host: '127.0.0.1', port },
    rules: RULES,
    ...more,
  });
}

export interface TestInterception extends AsyncDisposable {
  readonly proxy: TestProxy;
  readonly upstream: MtlsUpstream;
  readonly authority: TestAuthority;
  readonly interception: Interception;
  readonly ca: string;
}

export async function testInterception(
  t: Test,
  more: {
    readonly destination?: DestinationOptions;
    readonly upstream?: object;
    readonly proxy?: Partial<TestProxyOptions>;
    readonly refusals?: Interception['refusals'];
  } = {},
): Promise<TestInterception> {
  const authority = await testAuthority();
  const svid = await authority.svid('/saas', { dns: ['api.example.com'] });
  const upstream = await mtlsUpstream({ authority, svid, client: 'none', ...more.upstream });
  const interception = await openInterception({
    domains: ['example.com'],
    folder: undefined,
    clock: systemClock,
    refusals: more.refusals ?? 'inside',
  });
  t.teardown(() => interception[Symbol.dispose]());
  const proxy = await testProxy({
    authority,
    identity: 'none',
    destinations: [saasDestination(upstream.port, authority, more.destination)],
    ...more.proxy,
    options: { interception, ...more.proxy?.options },
  });
  return {
    proxy,
    upstream,
    authority,
    interception,
    ca: interception.authority().toString(),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}
