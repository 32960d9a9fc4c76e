/** The parts of a proxy, made in the order in which they need each other. */
import { randomBytes } from 'node:crypto';
import { turns } from '../base/turns.ts';
import { credentialProvider } from '../credentials/kinds.ts';
import type { CredentialProvider } from '../credentials/provider.ts';
import type { ExchangeContext } from '../exchange/context.ts';
import { evidence } from '../exchange/evidence.ts';
import { fieldRules } from '../exchange/headers.ts';
import { liveSet } from '../exchange/live-set.ts';
import { type Reauthorization, reauthorization } from '../exchange/reauthorize.ts';
import { SHARE, Shares } from '../exchange/shares.ts';
import { listings } from '../forward/mcp-list.ts';
import { mcpParts } from '../forward/mcp-endpoint.ts';
import type { ForwardContext } from '../forward/context.ts';
import { type HttpLimits, httpLimits } from '../http/limits.ts';
import { type Definitions, definitions } from '../mcp/definitions.ts';
import { identities } from '../upstream/identities.ts';
import { type Upstreams, upstreams } from '../upstream/pools.ts';
import { type Resolver, dnsResolver } from '../upstream/resolver.ts';
import { acceptor } from './accept.ts';
import { interceptor } from './intercepted.ts';
import { type Listeners, listeners } from './listeners.ts';
import type { ProxyOptions } from './proxy-options.ts';

export interface ProxyParts {
  readonly context: ExchangeContext;
  readonly listeners: Listeners;
  readonly shares: Shares;
  readonly resolver: Resolver;
  readonly upstreams: Upstreams;
  readonly reauthorization: Reauthorization;
  readonly credentials: CredentialProvider;
  readonly definitions: Definitions;
  readonly limits: HttpLimits;
}

/** @param signal ends what is obtained for credentials */
export function proxyParts(options: ProxyOptions, signal: AbortSignal): ProxyParts {
  const { clock, identity, contexts, limits = httpLimits() } = options;
  const { resolver = dnsResolver({ clock }) } = options;
  const context = exchangeContext(options);
  const shares = sharesOf(options);
  // Our own addresses are known once there are listeners, which need what dials.
  const own = (address: string, port: number): boolean => bound.has(address, port);
  const outward = upstreams({ resolver, contexts, clock, own, limits });
  const again = reauthorization({ context, upstreams: outward, contexts });
  const credentials = credentialProvider({ issuer: identity, clock, signal });
  const known = definitions(() => clock.monotonic());
  const forward = forwardContext(options, context, {
    upstreams: outward,
    credentials,
    known,
    again,
  });
  const bound = listenersOf(options, shares, { context, forward, limits });
  return {
    context,
    listeners: bound,
    shares,
    resolver,
    upstreams: outward,
    reauthorization: again,
    credentials,
    definitions: known,
    limits,
  };
}

function exchangeContext(options: ProxyOptions): ExchangeContext {
  const { sidecar, policy, identity, audit, clock, agents = [], tasks } = options;
  const { states } = identity;
  return {
    policy,
    identity: identities({ states, current: () => identity.current(), agents, clock }),
    clock,
    live: liveSet(clock),
    evidence: evidence({ audit, clock, ...sidecar.audit }),
    tasks,
    turns: turns(),
  };
}

function sharesOf({ shares, onDropped = () => {} }: ProxyOptions): Shares {
  return new Shares({ limits: { ...SHARE, ...shares }, onDropped });
}

interface Outward {
  readonly upstreams: Upstreams;
  readonly credentials: CredentialProvider;
  readonly known: Definitions;
  readonly again: Reauthorization;
}

function forwardContext(
  { clock, onNotice, limits = httpLimits() }: ProxyOptions,
  { identity, turns: pacing }: ExchangeContext,
  { upstreams: outward, credentials, known, again }: Outward,
): ForwardContext {
  const outbound = {
    upstreams: outward,
    fields: fieldRules({ pseudonym: `chaperone-${randomBytes(6).toString('hex')}` }),
    credentials,
    now: () => clock.monotonic(),
    reauthorize: again.connected,
  };
  const mcp = mcpParts({
    definitions: known,
    turns: pacing,
    identity: (agent) => identity.of(agent)?.svid.id,
    onNotice,
  });
  return {
    ...outbound,
    mcp,
    listings: listings(outbound),
    farewell: { clock, ms: limits.farewellMs },
  };
}

interface Serving {
  readonly context: ExchangeContext;
  readonly forward: ForwardContext;
  readonly limits: HttpLimits;
}

function listenersOf(options: ProxyOptions, shares: Shares, serving: Serving): Listeners {
  const { sidecar, interception, inherited, clock } = options;
  const others = [sidecar.health, sidecar.agentApi?.tcp?.address].filter(
    (address) => address !== undefined,
  );
  const accept = acceptor({ ...serving, interceptor: interceptor({ ...serving, interception }) });
  return listeners({ forward: sidecar.forward, others, shares, inherited, accept, clock });
}
