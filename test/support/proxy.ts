/**
 * A whole proxy in this process over real sockets, with an audit log in memory and policies written
 * as values.
 */
import type { AuditLog } from '../../lib/audit/record.ts';
import { type Cell, cell } from '../../lib/base/cell.ts';
import { systemClock } from '../../lib/base/clock.ts';
import { Fault } from '../../lib/base/fault.ts';
import type { ProxyOptions } from '../../lib/listen/proxy-options.ts';
import { type Proxy, startProxy } from '../../lib/listen/proxy.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { Destination } from '../../lib/policy/protocols/index.ts';
import type { Identity, IdentityState } from '../../lib/spiffe/identity.ts';
import { tlsContexts } from '../../lib/tls/context.ts';
import type { Resolver } from '../../lib/upstream/resolver.ts';
import { type TestAgent, testAgent } from './agent.ts';
import { type MemoryAudit, memoryAudit } from './audit.ts';
import { type TestAuthority, testAuthority } from './authority.ts';
import { policyOf } from './destination.ts';
import { until } from './until.ts';

export interface TestProxy extends TestAgent, AsyncDisposable {
  readonly server: Proxy;
  readonly authority: TestAuthority;
  readonly policy: Cell<Policy>;
  readonly identity: Cell<IdentityState>;
  readonly audit: MemoryAudit;
  readonly shutdown: AbortController;
  readonly asked: readonly string[];
  /** Settles when every exchange that began has ended. */
  quiet(): Promise<void>;
}

export interface TestProxyOptions {
  readonly authority?: TestAuthority;
  readonly destinations: readonly Destination[];
  readonly identity?: Identity | 'none';
  /** Answers of the resolver; names that are not there do not resolve. */
  readonly names?: Readonly<Record<string, readonly string[]>>;
  readonly onFailure?: 'deny' | 'continue';
  readonly fetchJwtSvid?: ProxyOptions['identity']['fetchJwtSvid'];
  readonly options?: Partial<ProxyOptions>;
  readonly audit?: AuditLog;
}

export async function testProxy(given: TestProxyOptions): Promise<TestProxy> {
  const authority = given.authority ?? (await testAuthority());
  const identity = given.identity ?? authority.identity(await authority.svid('/agent'));
  const states = cell<IdentityState>(
    identity === 'none'
      ? { kind: 'waiting', since: 0, problem: 'no socket' }
      : { kind: 'current', identity, problem: undefined },
  );
  const policy = cell<Policy>(policyOf(...given.destinations));
  const audit = memoryAudit();
  const shutdown = new AbortController();
  const asked: string[] = [];
  const resolver: Resolver = {
    resolve: async (name, { absolute }) => {
      asked.push(absolute ? `${name}.` : name);
      const answer = given.names?.[name];
      if (answer === undefined)
        throw new Fault('upstream-unresolved', `${name} cannot be resolved (ENOTFOUND)`);
      return answer;
    },
  };
  const server = await startProxy({
    sidecar: {
      forward: { host: '127.0.0.1', port: 0 },
      audit: { onFailure: given.onFailure ?? 'deny' },
    },
    policy,
    identity: {
      states,
      current: () => currentOf(states),
      fetchJwtSvid:
        given.fetchJwtSvid ??
        (() => Promise.reject(new Fault('workload-api-unavailable', 'there is no Workload API'))),
    },
    audit: given.audit ?? audit,
    contexts: tlsContexts(),
    clock: systemClock,
    shutdown: shutdown.signal,
    resolver,
    ...given.options,
  });
  return {
    server,
    authority,
    policy,
    identity: states,
    audit,
    shutdown,
    asked,
    ...testAgent((name) => server.addresses.get(name)?.port ?? 0),
    quiet: () =>
      until('no exchange is live', () => server.live() === 0 || undefined).then(() => {}),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

function currentOf(states: Cell<IdentityState>): Identity {
  const state = states.get();
  if (state?.kind !== 'current')
    throw new Fault('no-identity', 'no SVID yet', { hint: 'see /readyz' });
  if (state.identity.svid.notAfter <= Date.now())
    throw new Fault('identity-expired', 'our SVID expired', { hint: 'see /readyz' });
  return state.identity;
}
