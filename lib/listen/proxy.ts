/**
 * The proxy put together: listeners hand connections to exchanges, and whatever takes away what an
 * exchange lives on (a new policy, a new identity, shutdown) goes through the live set. A policy
 * that needs other listeners is best announced by `prepare` before it is set, so that an address
 * that cannot be bound refuses the reload; otherwise they are bound when it is set, and a failure
 * is told to `onFault`.
 */
import type { AddressInfo } from 'node:net';
import { Fault } from '../base/fault.ts';
import { type Linked, ignore, link, onAbort } from '../base/signal.ts';
import type { ShareCounts } from '../exchange/shares.ts';
import type { PoolCounts } from '../http1/pool.ts';
import type { Definitions } from '../mcp/definitions.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { Task } from '../tasks/task.ts';
import type { ProxyOptions } from './proxy-options.ts';
import { type ProxyParts, proxyParts } from './proxy-parts.ts';
import type { SocketFolder, UnixPlace } from './task-sockets.ts';

export interface Proxy extends AsyncDisposable {
  /** `forward` and the names of destinations with `listen`. */
  readonly addresses: ReadonlyMap<string, AddressInfo>;
  /** Binds what a policy needs, before it is set; Fault `listen`, and then nothing has changed. */
  prepare(policy: Policy): Promise<void>;
  /**
   * Authorizes again all that is live, when an identity has expired, or what a task did or holds
   * has changed. Policy and identity are followed without it.
   */
  reauthorize(): void;
  /** The forward proxy on a Unix socket that the agent alone can reach. Fault `listen`. */
  openForward(agent: Agent, place: UnixPlace): Promise<void>;
  /**
   * Unix sockets of a task, one for each destination of its grant with a local listener; they go
   * with it.
   */
  taskSockets(task: Task, where: SocketFolder): Promise<Readonly<Record<string, string>>>;
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
  /** Counts of each agent, and of what is nobody's. */
  shares(): readonly ShareCounts[];
  /** Tools as MCP servers have defined them. */
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

class Running implements Proxy {
  readonly #options: ProxyOptions;
  readonly #parts: ProxyParts;
  readonly #following: Linked;
  /** Settles when agents have been told why their exchanges were aborted. */
  #farewells: Promise<void> = Promise.resolve();
  #closing: Promise<void> | undefined;

  constructor(options: ProxyOptions) {
    this.#options = options;
    this.#following = link(options.shutdown);
    this.#parts = proxyParts(options, this.#following.signal);
  }

  get definitions(): Definitions {
    return this.#parts.definitions;
  }

  async start(): Promise<void> {
    const { policy, identity } = this.#options;
    const { signal } = this.#following;
    const first = policy.get();
    if (first !== undefined) await this.#parts.listeners.prepare(first);
    policy.follow((next) => {
      this.#follow();
      this.#parts.listeners
        .prepare(next)
        .catch((failure: unknown) => this.#options.onFault?.(Fault.from(failure, 'listen')));
    }, signal);
    identity.states.follow(() => this.#follow(), signal);
    onAbort(signal, (reason) => {
      this.#parts.listeners.close();
      this.#cutAll(reason);
    });
  }

  get addresses(): ReadonlyMap<string, AddressInfo> {
    return this.#parts.listeners.addresses;
  }

  prepare(policy: Policy): Promise<void> {
    return this.#parts.listeners.prepare(policy);
  }

  reauthorize(): void {
    this.#parts.reauthorization.all();
  }

  openForward(agent: Agent, place: UnixPlace): Promise<void> {
    return this.#parts.listeners.openForward(agent, place);
  }

  async taskSockets(task: Task, where: SocketFolder): Promise<Readonly<Record<string, string>>> {
    const policy = this.#options.policy.get();
    const names = [...task.grant.destinations].filter(
      (name) => policy?.byName.get(name)?.listen !== undefined,
    );
    return this.#parts.listeners.openFor(task, where, names);
  }

  async release(task: Task): Promise<readonly string[]> {
    const left = this.#parts.credentials.forget(task.id);
    this.#parts.upstreams.forget(task.id);
    await this.#parts.listeners.closeFor(task);
    return left;
  }

  async drain(signal: AbortSignal): Promise<void> {
    this.#parts.listeners.close();
    const off = onAbort(signal, (reason) => this.#cutAll(reason));
    await this.#parts.context.live.empty();
    await this.#parts.listeners.empty();
    off();
    await this.#parts.context.evidence.settled();
  }

  live(): number {
    return this.#parts.context.live.size;
  }

  shares(): readonly ShareCounts[] {
    return this.#parts.shares.counts();
  }

  pools(): PoolCounts {
    return this.#parts.upstreams.counts();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  /** Lets go of listeners and connections that nothing calls for any more; authorizes again. */
  #follow(): void {
    const { policy, identity } = this.#options;
    const now = policy.get();
    if (now === undefined) return;
    this.#parts.listeners.settle(now);
    const state = identity.states.get();
    this.#parts.upstreams.retire(now, state?.kind === 'current' ? state.identity.generation : 0);
    this.#parts.reauthorization.all();
  }

  /** Aborts what is live; connections are cut once it was told, or could have been. */
  #cutAll(cause: Fault): void {
    const reason = new Fault('shutting-down', 'the sidecar is shutting down', { cause });
    const exchanges = this.#parts.context.live.all();
    for (const exchange of exchanges) exchange.abort(reason);
    if (exchanges.length === 0) {
      this.#parts.listeners.cutAll();
      return;
    }
    const { promise, resolve } = Promise.withResolvers<void>();
    const ms = this.#parts.limits.farewellMs;
    const cancel = this.#options.clock.after(ms, resolve, true);
    ignore(this.#parts.listeners.empty().then(resolve), 'it settles when there is no connection');
    this.#farewells = promise.then(() => {
      cancel();
      this.#parts.listeners.cutAll();
    });
  }

  async #close(): Promise<void> {
    this.#following.abort(new Fault('shutting-down', 'the proxy is closed'));
    this.#following[Symbol.dispose]();
    await this.#farewells;
    await this.#parts.listeners[Symbol.asyncDispose]();
    await this.#parts.context.live.empty();
    await this.#parts.upstreams[Symbol.asyncDispose]();
    this.#parts.resolver.close?.();
    await this.#parts.context.evidence.settled();
  }
}
