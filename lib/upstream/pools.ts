/**
 * The way to the upstreams: routes, dialling and the pools together. A connection is taken from the
 * pool of its route's key and goes back to it only if that key is still of use: what a change of
 * policy or identity retired is never used again.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { ClientConnection } from '../http/client.ts';
import type { Lease } from '../http/lease.ts';
import { type HttpLimits, httpLimits } from '../http/limits.ts';
import { type Dial, type Pool, type PoolCounts, pool } from '../http1/pool.ts';
import { http2Limits } from '../http2/limits.ts';
import { sessions } from '../http2/sessions.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Identity } from '../spiffe/identity.ts';
import { type Dialler, type DiallerOptions, type UpstreamConnection, dialler } from './dial.ts';
import type { PoolKey } from './pool-key.ts';
import { type Route, routes } from './route.ts';

/** The request that a connection is taken for. */
export interface ConnectionUse {
  readonly task: string | undefined;
  /** The request must not be sent twice. */
  readonly once?: boolean;
}

interface AcquireOptions extends ConnectionUse {
  readonly signal: AbortSignal;
  /** The agent for whom names are looked up. */
  readonly agent?: Agent | undefined;
}

export interface Upstreams extends AsyncDisposable, Dialler {
  readonly route: (destination: Destination, facts: Facts) => Route;
  /** An idle connection of the pool, at once; undefined where there is none. */
  readonly take: (
    route: Route,
    identity: Identity | undefined,
    use: ConnectionUse,
  ) => Lease<UpstreamConnection> | undefined;
  /** A connection for one request, verified; pooled by everything it depends on. */
  readonly acquire: (
    route: Route,
    identity: Identity | undefined,
    options: AcquireOptions,
  ) => Promise<Lease<UpstreamConnection>>;
  /** Closes the connections that carried credentials of a task that has ended. */
  readonly forget: (task: string) => void;
  /** Lets go of what this policy and identity no longer call for. */
  readonly retire: (policy: Policy, generation: number) => void;
  readonly counts: () => PoolCounts;
}

/**
 * A destination's `limits.concurrent` bounds its connections; the pool's own bound stands above it.
 */
const POOL_CONNECTIONS = 4096;

/** Keys whose currency is remembered; names under a wildcard are the agent's to choose. */
const MAX_KEYS = 4096;

/**
 * An exchange decided before a change may take, after it, a connection that nobody should take
 * again.
 */
class Currency {
  #keep: (key: PoolKey) => boolean = () => true;
  readonly #known = new Map<string, boolean>();

  isCurrent(key: PoolKey): boolean {
    const text = key.toString();
    const known = this.#known.get(text);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_KEYS) this.#known.clear();
    const verdict = this.#keep(key);
    this.#known.set(text, verdict);
    return verdict;
  }

  change(keep: (key: PoolKey) => boolean): void {
    this.#keep = keep;
    this.#known.clear();
  }
}

/** A lease whose connection is kept only if its key is still of use. */
class CurrentLease implements Lease<UpstreamConnection> {
  readonly connection: ClientConnection;
  readonly info: UpstreamConnection;
  readonly fresh: boolean;
  readonly #lease: Lease<UpstreamConnection>;
  readonly #key: PoolKey;
  readonly #pools: Pools;

  constructor(lease: Lease<UpstreamConnection>, key: PoolKey, pools: Pools) {
    this.connection = lease.connection;
    this.info = lease.info;
    this.fresh = lease.fresh;
    this.#lease = lease;
    this.#key = key;
    this.#pools = pools;
  }

  release(): void {
    if (this.#pools.isCurrent(this.#key)) this.#lease.release();
    else this.#pools.discardRetired(this.#lease);
  }

  discard(reason: Error): void {
    this.#lease.discard(reason);
  }
}

/** The pools of both versions of HTTP, and which of their keys are of use. */
class Pools {
  readonly #clock: Clock;
  readonly #currency = new Currency();
  /** Of HTTP/1.1: a connection for each request. */
  readonly #exclusive: Pool<UpstreamConnection, PoolKey>;
  /** Of HTTP/2: a connection for many requests. */
  readonly #shared: Pool<UpstreamConnection, PoolKey>;

  constructor(limits: HttpLimits, clock: Clock) {
    this.#clock = clock;
    this.#exclusive = pool({ limits, clock });
    this.#shared = sharedPool(limits, clock);
  }

  take(route: Route, key: PoolKey, once?: boolean): CurrentLease | undefined {
    const from = this.#of(route);
    for (let lease = from.take(key, once); lease !== undefined; lease = from.take(key, once))
      if (isFit(lease, this.#clock)) return new CurrentLease(lease, key, this);
    return undefined;
  }

  async acquire(
    route: Route,
    key: PoolKey,
    dial: Dial<UpstreamConnection>,
    { signal, once }: AcquireOptions,
  ): Promise<CurrentLease> {
    for (;;) {
      const lease = await this.#of(route).acquire(key, dial, signal, once);
      if (isFit(lease, this.#clock)) return new CurrentLease(lease, key, this);
    }
  }

  isCurrent(key: PoolKey): boolean {
    return this.#currency.isCurrent(key);
  }

  discardRetired(lease: Lease<UpstreamConnection>): void {
    lease.discard(new Fault('aborted', 'the connection is retired'));
    this.#shared.retire((key) => this.isCurrent(key));
  }

  change(keep: (key: PoolKey) => boolean): void {
    this.#currency.change(keep);
    this.retire(keep);
  }

  retire(keep: (key: PoolKey) => boolean): void {
    this.#exclusive.retire(keep);
    this.#shared.retire(keep);
  }

  counts(): PoolCounts {
    return sum(this.#exclusive.counts(), this.#shared.counts());
  }

  async close(): Promise<void> {
    await this.#exclusive[Symbol.asyncDispose]();
    await this.#shared[Symbol.asyncDispose]();
  }

  #of({ destination }: Route): Pool<UpstreamConnection, PoolKey> {
    return destination.http2 === true ? this.#shared : this.#exclusive;
  }
}

export function upstreams(
  options: DiallerOptions & { readonly clock: Clock; readonly limits?: HttpLimits },
): Upstreams {
  const dial = dialler(options);
  const table = routes();
  const limits = httpLimits({ ...options.limits, poolConnections: POOL_CONNECTIONS });
  const pools = new Pools(limits, options.clock);
  return {
    route: table.to,
    take: (route, identity, { task, once }) => pools.take(route, route.key(identity, task), once),
    acquire(route, identity, use) {
      const reach: Dial<UpstreamConnection> = async (signal) => {
        const addresses = await dial.resolve(route, signal, use.agent?.name);
        const info = await dial.connect(route, addresses, { identity, signal });
        return { socket: info.socket, info };
      };
      return pools.acquire(route, route.key(identity, use.task), reach, use);
    },
    ...dial,
    retire: (policy, generation) => pools.change(table.keep(policy, generation)),
    forget: (task) => pools.retire((key) => key.task !== task),
    counts: () => pools.counts(),
    [Symbol.asyncDispose]: () => pools.close(),
  };
}

/** Connections of HTTP/2, each for many requests. */
function sharedPool(limits: HttpLimits, clock: Clock): Pool<UpstreamConnection, PoolKey> {
  return sessions<UpstreamConnection, PoolKey>({
    limits,
    http2: http2Limits(),
    clock,
    scheme: ({ tls }) => (tls === undefined ? 'http' : 'https'),
    goodUntil: ({ peer }) => peer?.notAfter,
  });
}

function sum(a: PoolCounts, b: PoolCounts): PoolCounts {
  return {
    keys: a.keys + b.keys,
    idle: a.idle + b.idle,
    leased: a.leased + b.leased,
    dialling: a.dialling + b.dialling,
    waiting: a.waiting + b.waiting,
  };
}

/** Discards a connection whose peer may no longer be spoken to. */
function isFit(lease: Lease<UpstreamConnection>, clock: Clock): boolean {
  const { peer } = lease.info;
  if (lease.fresh || peer === undefined || peer.notAfter > clock.now()) return true;
  lease.discard(new Fault('aborted', "the peer's certificate has expired since it was verified"));
  return false;
}
