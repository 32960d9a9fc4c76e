/**
 * The proxy put together: listeners hand connections to exchanges, and whatever takes away what an
 * exchange lives on (a new policy, a new identity, shutdown) goes through the live set. A policy
 * that needs other listeners is best announced by `prepare` before it is set, so that an address
 * that cannot be bound refuses the reload; otherwise they are bound when it is set, and a failure
 * is told to `onFault`.
 */
import { randomBytes } from 'node:crypto';
import type { AddressInfo } from 'node:net';
import type { AuditLog } from '../audit/record.ts';
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { type Linked, ignore, link, onAbort } from '../base/signal.ts';
import { turns } from '../base/turns.ts';
import { type IssuedToken, type JwtSvids, jwtSvids } from '../credentials/jwt-svid.ts';
import { evidence } from '../exchange/evidence.ts';
import type { Standing } from '../exchange/handle.ts';
import { fieldRules } from '../exchange/headers.ts';
import { liveSet } from '../exchange/live-set.ts';
import { type Reconsider, reconsider } from '../exchange/reauthorize.ts';
import {
  SHARE,
  type ShareCounts,
  type ShareLimits,
  Shares,
  type SharesOptions,
} from '../exchange/shares.ts';
import type { Farewell } from '../forward/copy.ts';
import { listings } from '../forward/mcp-list.ts';
import { mcpParts } from '../forward/mcp.ts';
import { type HttpLimits, httpLimits } from '../http/limits.ts';
import type { PoolCounts } from '../http1/pool.ts';
import type { Interception } from '../interception/authority.ts';
import { type Definitions, definitions } from '../mcp/definitions.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { ListenAddress } from '../policy/model/destination.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Rate } from '../policy/model/rule.ts';
import type { SpiffeId } from '../spiffe/id.ts';
import type { Identity, IdentityState } from '../spiffe/identity.ts';
import type { Tasks } from '../tasks/registry.ts';
import type { Task } from '../tasks/task.ts';
import type { TlsContexts } from '../tls/context.ts';
import { type Identities, identities } from '../upstream/identities.ts';
import { type Upstreams, upstreams } from '../upstream/pools.ts';
import { type Resolver, dnsResolver } from '../upstream/resolver.ts';
import { acceptor } from './accept.ts';
import type { Inherited } from './inherited.ts';
import { interceptor } from './intercepted.ts';
import { type Listeners, listeners } from './listeners.ts';
import type { DoorFolder, UnixPlace } from './task-sockets.ts';

/** What the proxy needs to know of the Sidecar document. */
interface ProxySettings {
  readonly forward?: ListenAddress | undefined;
  /** Never dialled, like our own listeners. */
  readonly health?: ListenAddress | undefined;
  readonly agentApi?:
    { readonly tcp?: { readonly address: ListenAddress } | undefined } | undefined;
  readonly audit: { readonly onFailure: 'deny' | 'continue'; readonly refusals?: Rate };
}

/** What the proxy needs of the identity source. */
interface IdentityView {
  readonly states: Cell<IdentityState>;
  /** The identity that may be used now; throws a Fault `no-identity` or `identity-expired`. */
  current(): Identity;
  /** A fresh JWT-SVID for one audience, of that identity or of the one that is named. */
  fetchJwtSvid(audience: string, signal: AbortSignal, as?: SpiffeId): Promise<IssuedToken>;
}

export interface ProxyOptions {
  readonly sidecar: ProxySettings;
  readonly policy: Cell<Policy>;
  readonly identity: IdentityView;
  readonly audit: AuditLog;
  readonly contexts: TlsContexts;
  /** Stands in for the hosts of intercepted destinations; without it their tunnels are refused. */
  readonly interception?: Interception | undefined;
  readonly clock: Clock;
  /** undefined: a reference to a task is always wrong. */
  readonly tasks?: Tasks | undefined;
  /** Aborting it cuts everything at once. */
  readonly shutdown: AbortSignal;
  readonly resolver?: Resolver;
  /** Listening sockets that the process was started with. */
  readonly inherited?: Inherited | undefined;
  readonly limits?: HttpLimits;
  /** Those with identities of their own, at least; default none. */
  readonly agents?: readonly Agent[];
  /** Of each agent, and of what is nobody's. */
  readonly shares?: Partial<ShareLimits>;
  /** Told of each connection that is cut because its agent has too many. */
  readonly onDropped?: SharesOptions['onDropped'];
  /** Told of a listener that could not be bound after a reload. */
  readonly onFault?: (fault: Fault) => void;
  /** Told in words of what an operator may want to know of an upstream. */
  readonly onNotice?: (what: string) => void;
}

export interface Proxy extends AsyncDisposable {
  /** `forward` and the names of destinations with `listen`. */
  readonly addresses: ReadonlyMap<string, AddressInfo>;
  /** Binds what a policy needs, before it is set; Fault `listen`, and then nothing has changed. */
  prepare(policy: Policy): Promise<void>;
  /**
   * Decides again all that is live and lets go of connections that nothing calls for any more.
   * Follows policy and identity by itself.
   */
  redecide(): void;
  /** Decides again all that is live, when what a task did or holds has changed. */
  reconsider(): void;
  /** The forward proxy on a Unix socket that the agent alone can reach. Fault `listen`. */
  openForward(agent: Agent, place: UnixPlace): Promise<void>;
  /**
   * Unix sockets of a task, one for each destination of its grant with a local listener; they go
   * with it.
   */
  taskSockets(task: Task, where: DoorFolder): Promise<Readonly<Record<string, string>>>;
  /** Lets go of what was obtained for a task that has ended. */
  release(task: Task): Promise<readonly string[]>;
  /**
   * Accepts nothing more, finishes what is under way, and cuts what is left when the signal aborts.
   * Settles when nothing is left.
   */
  drain(signal: AbortSignal): Promise<void>;
  /** Exchanges, tunnels and raw connections under way. */
  live(): number;
  /** Connections to upstreams. */
  pools(): PoolCounts;
  /** What each agent has, and what is nobody's. */
  shares(): readonly ShareCounts[];
  /** What MCP servers have said about their tools. */
  readonly definitions: Definitions;
}

/** Binds the listeners of the current policy and serves. Throws a Fault `listen`. */
export async function startProxy(options: ProxyOptions): Promise<Proxy> {
  const running = new Running(options);
  try {
    await running.start();
    return running;
  } catch (failure) {
    await running[Symbol.asyncDispose]();
    throw failure;
  }
}

function sharesOf({ shares, onDropped = () => {} }: ProxyOptions): Shares {
  return new Shares({ limits: { ...SHARE, ...shares }, onDropped });
}

function identitiesOf({ identity, agents = [], clock }: ProxyOptions): Identities {
  return identities({ states: identity.states, current: () => identity.current(), agents, clock });
}

class Running implements Proxy {
  readonly definitions: Definitions;
  readonly #options: ProxyOptions;
  readonly #standing: Standing;
  readonly #upstreams: Upstreams;
  readonly #listeners: Listeners;
  readonly #shares: Shares;
  readonly #reconsider: Reconsider;
  readonly #tokens: JwtSvids;
  readonly #resolver: Resolver;
  readonly #following: Linked;
  readonly #farewell: Farewell;
  /** Settles when what was cut was told so. */
  #told: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(options: ProxyOptions) {
    const {
      sidecar,
      policy,
      identity,
      audit,
      contexts,
      clock,
      limits = httpLimits(),
      resolver = dnsResolver({ clock }),
    } = options;
    this.#options = options;
    this.#resolver = resolver;
    this.definitions = definitions(() => clock.monotonic());
    const pacing = turns();
    this.#shares = sharesOf(options);
    const records = evidence({ audit, clock, ...sidecar.audit });
    const own = identitiesOf(options);
    const standing = {
      policy,
      identity: own,
      clock,
      live: liveSet(clock),
      evidence: records,
      tasks: options.tasks,
      turns: pacing,
    };
    const ours = (address: string, port: number): boolean => this.#listeners.has(address, port);
    const ways = upstreams({ resolver, contexts, clock, own: ours, limits });
    this.#reconsider = reconsider({ standing, upstreams: ways, contexts });
    const fields = fieldRules({ pseudonym: `chaperone-${randomBytes(6).toString('hex')}` });
    this.#following = link(options.shutdown);
    const tokens = (this.#tokens = jwtSvids({
      issuer: identity,
      clock,
      signal: this.#following.signal,
    }));
    const mcp = mcpParts({
      definitions: this.definitions,
      turns: pacing,
      identity: (agent) => own.of(agent)?.svid.id,
      onNotice: options.onNotice,
    });
    this.#farewell = { clock, ms: limits.farewellMs };
    const out = {
      upstreams: ways,
      fields,
      tokens,
      now: () => clock.monotonic(),
      recheck: this.#reconsider.one,
    };
    const farewell = this.#farewell;
    const relay = { ...out, mcp, farewell, listings: listings(out) };
    const serve = { standing, relay, limits };
    const others = [sidecar.health, sidecar.agentApi?.tcp?.address].filter(
      (one) => one !== undefined,
    );
    const accept = acceptor({
      ...serve,
      interceptor: interceptor({ ...serve, interception: options.interception }),
    });
    const listening = {
      forward: sidecar.forward,
      others,
      shares: this.#shares,
      inherited: options.inherited,
    };
    this.#listeners = listeners({ ...listening, accept, clock });
    this.#standing = standing;
    this.#upstreams = ways;
  }

  async start(): Promise<void> {
    const { policy, identity } = this.#options;
    const { signal } = this.#following;
    const first = policy.get();
    if (first !== undefined) await this.#listeners.prepare(first);
    policy.follow((next) => {
      this.redecide();
      this.#listeners
        .prepare(next)
        .catch((failure: unknown) => this.#options.onFault?.(Fault.from(failure, 'listen')));
    }, signal);
    identity.states.follow(() => this.redecide(), signal);
    onAbort(signal, (reason) => {
      this.#listeners.close();
      this.#cutAll(reason);
    });
  }

  get addresses(): ReadonlyMap<string, AddressInfo> {
    return this.#listeners.addresses;
  }

  prepare(policy: Policy): Promise<void> {
    return this.#listeners.prepare(policy);
  }

  redecide(): void {
    const { policy, identity } = this.#options;
    const now = policy.get();
    if (now === undefined) return;
    this.#listeners.settle(now);
    const state = identity.states.get();
    this.#upstreams.retire(now, state?.kind === 'current' ? state.identity.generation : 0);
    this.#reconsider.all();
  }

  reconsider(): void {
    this.#reconsider.all();
  }

  openForward(agent: Agent, place: UnixPlace): Promise<void> {
    return this.#listeners.openForward(agent, place);
  }

  async taskSockets(task: Task, where: DoorFolder): Promise<Readonly<Record<string, string>>> {
    const policy = this.#options.policy.get();
    const names = [...task.grant.destinations].filter(
      (name) => policy?.byName.get(name)?.listen !== undefined,
    );
    return this.#listeners.openFor(task, where, names);
  }

  async release(task: Task): Promise<readonly string[]> {
    const left = this.#tokens.forget(task.id);
    this.#upstreams.forget(task.id);
    await this.#listeners.closeFor(task);
    return left;
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#listeners.close();
    const off = onAbort(signal, (reason) => this.#cutAll(reason));
    await this.#standing.live.empty();
    await this.#listeners.empty();
    off();
    await this.#standing.evidence.settled();
  }

  live(): number {
    return this.#standing.live.size;
  }

  shares(): readonly ShareCounts[] {
    return this.#shares.counts();
  }

  pools(): PoolCounts {
    return this.#upstreams.counts();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  /** Aborts what is live; connections are cut once it was told, or could have been. */
  #cutAll(cause: Fault): void {
    const reason = new Fault('shutting-down', 'the sidecar is shutting down', { cause });
    const exchanges = this.#standing.live.all();
    for (const exchange of exchanges) exchange.abort(reason);
    if (exchanges.length === 0) {
      this.#listeners.cutAll();
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const { ms } = this.#farewell;
    const cancel = this.#options.clock.after(ms, resolve, true);
    ignore(this.#listeners.empty().then(resolve), 'it settles when there is no connection');
    this.#told = promise.then(() => {
      cancel();
      this.#listeners.cutAll();
    });
  }

  async #close(): Promise<void> {
    this.#following.abort(new Fault('shutting-down', 'the proxy is closed'));
    this.#following[Symbol.dispose]();
    await this.#told;
    await this.#listeners[Symbol.asyncDispose]();
    await this.#standing.live.empty();
    await this.#upstreams[Symbol.asyncDispose]();
    this.#resolver.close?.();
    await this.#standing.evidence.settled();
  }
}
