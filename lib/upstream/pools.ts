/**
 * The way to the upstreams: routes, dialling and the pools together. A connection is taken from the
 * pool of its route's key and goes back to it only if that key is still of use: what a change of
 * policy or identity retired is never used again.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Asker } from '../credentials/jwt-svid.ts';
import type { Lease } from '../http/lease.ts';
import { type HttpLimits, httpLimits } from '../http/limits.ts';
import { type Pool, type PoolCounts, pool } from '../http1/pool.ts';
import { http2Limits } from '../http2/limits.ts';
import { sessions } from '../http2/sessions.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { Destination } from '../policy/protocols/index.ts';
import type { Facts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Identity } from '../spiffe/identity.ts';
import { type Dialler, type DiallerOptions, type Reached, dialler } from './dial.ts';
import { type Route, routes } from './route.ts';

interface Borrower extends Asker {
  /** The request must not be sent twice. */
  readonly once?: boolean;
  /** The agent for whom names are looked up. */
  readonly by?: Agent | undefined;
}

/** The right to use one pooled connection for one request. */
export interface Loan {
  readonly lease: Lease<Reached>;
  /** Keeps the connection if it may serve another request. */
  giveBack(): void;
}

export interface Upstreams extends AsyncDisposable, Dialler {
  readonly route: (destination: Destination, facts: Facts) => Route;
  /**
   * An idle connection of the pool, as `borrow` gives it, at once; undefined where there is none.
   */
  readonly idle: (
    route: Route,
    identity: Identity | undefined,
    asker: Pick<Borrower, 'task' | 'once'>,
  ) => Loan | undefined;
  /** A connection for one request, verified; pooled by everything it depends on. */
  readonly borrow: (route: Route, identity: Identity | undefined, asker: Borrower) => Promise<Loan>;
  /** Closes the connections that carried credentials of a task that has ended. */
  readonly forget: (task: string) => void;
  /** Lets go of what this policy and identity no longer call for. */
  readonly retire: (policy: Policy, generation: number) => void;
  readonly counts: () => PoolCounts;
}

/** A connection that carried a credential of one identity or one task is not for another. */
function keyFor(route: Route, identity: Identity | undefined, task = ''): string {
  const key = route.key(identity);
  return route.destination.credential === undefined
    ? key
    : `${key}|${identity?.svid.id ?? ''}|${task}`;
}

/**
 * A destination's `limits.concurrent` bounds its connections; the pool's own bound stands above it.
 */
const POOL_CONNECTIONS = 4096;

/** Keys whose currency is remembered; names under a wildcard are the agent's to choose. */
const MAX_KEYS = 4096;

/**
 * What was decided before a change may still take, after it, a connection that nobody should take
 * again.
 */
class Currency {
  #keep: (key: string) => boolean = () => true;
  readonly #known = new Map<string, boolean>();

  isCurrent(key: string): boolean {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= MAX_KEYS) this.#known.clear();
    const verdict = this.#keep(key);
    this.#known.set(key, verdict);
    return verdict;
  }

  change(keep: (key: string) => boolean): (key: string) => boolean {
    this.#keep = keep;
    this.#known.clear();
    return keep;
  }
}

export function upstreams(
  options: DiallerOptions & { readonly clock: Clock; readonly limits?: HttpLimits },
): Upstreams {
  const { clock } = options;
  const dial = dialler(options);
  const table = routes();
  const limits = httpLimits({ ...options.limits, poolConnections: POOL_CONNECTIONS });
  const connections = pool<Reached>({ limits, clock });
  const shared = sharedPool(limits, clock);
  const poolOf = ({ destination }: Route): Pool<Reached> =>
    destination.http2 === true ? shared : connections;
  const retire = (keeps: (key: string) => boolean): void => {
    connections.retire(keeps);
    shared.retire(keeps);
  };
  const keys = new Currency();

  const loanOf = (key: string, lease: Lease<Reached>): Loan => ({
    lease,
    giveBack() {
      if (keys.isCurrent(key)) return lease.release();
      lease.discard(new Fault('aborted', 'the connection is retired'));
      shared.retire((one) => keys.isCurrent(one));
    },
  });
  const idle: Upstreams['idle'] = (route, identity, { task, once }) => {
    const key = keyFor(route, identity, task);
    const from = poolOf(route);
    for (let lease = from.take(key, once); lease !== undefined; lease = from.take(key, once))
      if (isFit(lease, clock)) return loanOf(key, lease);
    return undefined;
  };

  const borrow: Upstreams['borrow'] = async (route, identity, { signal, by, task, once }) => {
    const key = keyFor(route, identity, task);
    const reach = async (
      until: AbortSignal,
    ): Promise<{ socket: Reached['socket']; info: Reached }> => {
      const addresses = await dial.resolve(route, until, by?.name);
      const reached = await dial.connect(route, addresses, { identity, signal: until });
      return { socket: reached.socket, info: reached };
    };
    for (;;) {
      const lease = await poolOf(route).acquire(key, reach, signal, once);
      if (isFit(lease, clock)) return loanOf(key, lease);
    }
  };

  return {
    route: table.to,
    idle,
    borrow,
    ...dial,
    retire(policy, generation) {
      retire(keys.change(table.keep(policy, generation)));
    },
    forget: (task) => retire((key) => !key.endsWith(`|${task}`)),
    counts: () => sum(connections.counts(), shared.counts()),
    async [Symbol.asyncDispose]() {
      await connections[Symbol.asyncDispose]();
      await shared[Symbol.asyncDispose]();
    },
  };
}

/** Connections of HTTP/2, each for many requests. */
function sharedPool(limits: HttpLimits, clock: Clock): Pool<Reached> {
  return sessions<Reached>({
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
function isFit(lease: Lease<Reached>, clock: Clock): boolean {
  const { peer } = lease.info;
  if (lease.fresh || peer === undefined || peer.notAfter > clock.now()) return true;
  lease.discard(new Fault('aborted', "the peer's certificate has expired since it was verified"));
  return false;
}
