/**
 * The world of the interception tests: https://api.example.com/ with rules, an upstream that proves
 * that name, and a running authority.
 */
import type { Test } from 'tap';
import { systemClock } from '../../lib/base/clock.ts';
import { type Interception, openInterception } from '../../lib/interception/authority.ts';
import { testAuthority, type TestAuthority } from './authority.ts';
import { mtlsUpstream, type MtlsUpstream } from './upstream.ts';
import { bench, rule, site, type Bench, type BenchOptions, type Site } from './proxy.ts';

const RULES = [
  rule('no-exports', 'deny', { paths: ['/export/**'] }),
  rule('read', 'allow', { methods: ['GET', 'POST'], paths: ['/**'] }),
];

/**
 * Stands for https://api.example.com/; the upstream proves that DNS name to us and asks for no
 * certificate.
 */
export function saas(
  port: number,
  authority: TestAuthority,
  more: Site = {},
): ReturnType<typeof site> {
  return site({
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

export interface World extends AsyncDisposable {
  readonly b: Bench;
  readonly upstream: MtlsUpstream;
  readonly authority: TestAuthority;
  readonly interception: Interception;
  readonly ca: string;
}

export async function world(
  t: Test,
  more: {
    readonly site?: Site;
    readonly upstream?: object;
    readonly bench?: Partial<BenchOptions>;
    readonly refusals?: Interception['refusals'];
  } = {},
): Promise<World> {
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
  const b = await bench({
    authority,
    identity: 'none',
    destinations: [saas(upstream.port, authority, more.site)],
    ...more.bench,
    options: { interception, ...more.bench?.options },
  });
  return {
    b,
    upstream,
    authority,
    interception,
    ca: interception.authority().toString(),
    async [Symbol.asyncDispose]() {
      await b[Symbol.asyncDispose]();
      await upstream[Symbol.asyncDispose]();
    },
  };
}
