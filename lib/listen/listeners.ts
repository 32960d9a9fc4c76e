/**
 * Sockets that are listened on: the forward port, and one for each destination with `listen`. Only
 * accepting happens here. Rules:
 * - a listener that cannot be bound is a Fault that names address and destination; nothing else is
 *   touched by it;
 * - what a new policy needs can be bound before the policy is current, and what it no longer needs
 *   is closed once it is: connections that have something under way finish it, idle ones end;
 * - our own addresses are known, so that nobody is sent back to us.
 */
import { type AddressInfo, type Server, type Socket, createServer } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import type { Caller, Shares } from '../exchange/shares.ts';
import { abortSocket } from '../http1/sockets.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { ListenAddress } from '../policy/model/destination.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Task } from '../tasks/task.ts';
import type { Bound } from './bound.ts';
import type { Inherited } from './inherited.ts';
import { type TcpPlace, covers, listenOn } from './listen-on.ts';
import { SocketSet } from './socket-set.ts';
import {
  type SocketFolder,
  type TaskSockets,
  type UnixPlace,
  closeTaskSockets,
  listenAt,
  openTaskSockets,
} from './task-sockets.ts';

const FORWARD = 'forward';

export interface Listeners extends AsyncDisposable {
  /**
   * Binds what the policy needs and is not bound yet: all of it or, with a Fault `listen`, nothing.
   */
  prepare(policy: Policy): Promise<void>;
  /** Closes what the policy does not need. */
  settle(policy: Policy): void;
  readonly addresses: ReadonlyMap<string, AddressInfo>;
  /** True if a listener of ours has this address and port. */
  has(address: string, port: number): boolean;
  /** The forward proxy on a Unix socket in an agent's folder. Fault `listen`. */
  openForward(agent: Agent, place: UnixPlace): Promise<void>;
  /**
   * A Unix socket in a folder of the task for each of these destinations; name to path. Fault
   * `listen` or `too-many`, and then none is left.
   */
  openFor(
    task: Task,
    where: SocketFolder,
    names: readonly string[],
  ): Promise<Readonly<Record<string, string>>>;
  /** Closes them and removes the folder. */
  closeFor(task: Task): Promise<void>;
  /** Stops accepting everywhere; idle connections end. */
  close(): void;
  /** Settles when no connection is left. */
  empty(): Promise<void>;
  /** Cuts the connections that are left. */
  cutAll(): void;
}

export interface ListenersOptions {
  readonly forward: ListenAddress | undefined;
  /** Listeners of ours outside this folder. */
  readonly others: readonly ListenAddress[];
  readonly accept: (socket: Socket, bound: Bound, caller: Caller) => void;
  readonly shares: Shares;
  /** Sockets that the process was started with: others listen on them too. */
  readonly inherited?: Inherited | undefined;
  readonly clock: Clock;
}

/**
 * Milliseconds that idle connections are kept for one more request, which is answered and told that
 * it is the last, where another process listens on: a client never writes into a closing
 * connection.
 */
const LAST_CALL_MS = 5_000;

interface Leaving {
  readonly server: Server;
  readonly stop: AbortController;
  readonly last: AbortController;
  /** The process was started with the socket. */
  readonly inherited: boolean;
}

interface Listener extends Bound, Leaving {
  name: string;
  readonly key: string;
}

export function listeners(options: ListenersOptions): Listeners {
  return new ListenerSet(options);
}

class ListenerSet implements Listeners {
  readonly #options: ListenersOptions;
  readonly #listeners = new Map<string, Listener>();
  readonly #ofTasks = new Map<Task, TaskSockets>();
  readonly #ofAgents: Leaving[] = [];
  readonly #sockets = new SocketSet();
  #closed = false;

  constructor(options: ListenersOptions) {
    this.#options = options;
  }

  async prepare(policy: Policy): Promise<void> {
    const fresh = [...this.#wantedBy(policy)].filter(([key]) => !this.#listeners.has(key));
    const opened = await Promise.allSettled(fresh.map(([key, wanted]) => this.#open(key, wanted)));
    const bound = opened.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
    const failed = opened.find((result) => result.status === 'rejected');
    if (failed === undefined && !this.#closed) {
      for (const listener of bound) this.#listeners.set(listener.key, listener);
      return;
    }
    for (const listener of bound) this.#shut(listener);
    throw failed === undefined
      ? new Fault('shutting-down', 'the proxy is closing')
      : Fault.from(failed.reason, 'listen');
  }

  settle(policy: Policy): void {
    const wanted = this.#wantedBy(policy);
    for (const listener of this.#listeners.values()) {
      const use = wanted.get(listener.key);
      if (use === undefined) this.#shut(listener);
      else listener.name = use.name;
    }
  }

  get addresses(): ReadonlyMap<string, AddressInfo> {
    const found = new Map<string, AddressInfo>();
    for (const listener of this.#listeners.values()) {
      const info = addressOf(listener);
      if (info !== undefined) found.set(listener.name, info);
    }
    return found;
  }

  has(address: string, port: number): boolean {
    const ours = [...this.#listeners.values()].flatMap((listener) => addressOf(listener) ?? []);
    if (ours.some((info) => info.port === port && covers(info.address, address))) return true;
    return this.#options.others.some((other) => other.port === port && covers(other.host, address));
  }

  async openForward(agent: Agent, place: UnixPlace): Promise<void> {
    const [stop, last] = [new AbortController(), new AbortController()];
    const signals = { closing: stop.signal, lastCall: last.signal };
    const bound: Bound = { name: FORWARD, forward: true, agent, task: undefined, ...signals };
    try {
      const server = await listenAt(place, (socket) => this.#track(socket, bound));
      this.#ofAgents.push({ server, stop, last, inherited: place.fd !== undefined });
    } catch (failure) {
      throw Fault.from(
        failure,
        'listen',
        `the forward proxy of agent ${agent.name} cannot listen on ${place.path}`,
      );
    }
  }

  async openFor(
    task: Task,
    where: SocketFolder,
    names: readonly string[],
  ): Promise<Readonly<Record<string, string>>> {
    if (names.length === 0 || this.#closed) return {};
    const { shares } = this.#options;
    const share = shares.of(task.agent);
    // Each is a descriptor, and agents open tasks as they like.
    if (share.sockets + names.length > shares.limits.sockets)
      throw new Fault(
        'too-many',
        `${share.sockets} sockets of tasks of agent ${share.name} are open already`,
      );
    share.sockets += names.length;
    try {
      const sockets = await openTaskSockets(task, { ...where, names }, this.#track);
      this.#ofTasks.set(task, sockets);
      if (!task.open) await this.closeFor(task);
      return sockets.paths;
    } catch (failure) {
      share.sockets -= names.length;
      throw failure;
    }
  }

  async closeFor(task: Task): Promise<void> {
    const sockets = this.#ofTasks.get(task);
    this.#ofTasks.delete(task);
    if (sockets === undefined) return;
    this.#options.shares.of(task.agent).sockets -= sockets.servers.length;
    await closeTaskSockets(sockets);
  }

  close(): void {
    this.#closed = true;
    for (const task of this.#ofTasks.keys())
      ignore(this.closeFor(task), 'the sockets are closed whatever becomes of the folder');
    for (const listener of [...this.#listeners.values(), ...this.#ofAgents.splice(0)])
      this.#leave(listener);
    this.#listeners.clear();
  }

  empty(): Promise<void> {
    return this.#sockets.empty();
  }

  cutAll(): void {
    this.#sockets.cutAll();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    this.cutAll();
    await this.empty();
  }

  readonly #track = (socket: Socket, listener: Bound): void => {
    const { accept, shares } = this.#options;
    const caller = shares.admit(listener.agent, socket);
    this.#sockets.add(socket, () => {
      if (caller !== undefined) shares.leave(caller);
    });
    if (caller === undefined) abortSocket(socket);
    else accept(socket, listener, caller);
  };

  #wantedBy(policy: Policy): Map<string, TcpPlace> {
    const { forward } = this.#options;
    const wanted: TcpPlace[] = policy.destinations.flatMap(({ name, listen }) =>
      listen === undefined ? [] : [{ name, forward: false, ...listen }],
    );
    if (forward !== undefined) wanted.push({ name: FORWARD, forward: true, ...forward });
    return new Map(wanted.map((place) => [keyOf(place), place]));
  }

  async #open(key: string, wanted: TcpPlace): Promise<Listener> {
    const { inherited } = this.#options;
    const [stop, last] = [new AbortController(), new AbortController()];
    const { name, forward } = wanted;
    const bound = {
      name,
      forward,
      agent: undefined,
      task: undefined,
      closing: stop.signal,
      lastCall: last.signal,
    };
    const server = createServer({ allowHalfOpen: true, noDelay: true, keepAlive: true });
    const fd = inherited?.take(wanted);
    const listener = { ...bound, key, server, stop, last, inherited: fd !== undefined };
    server.on('connection', (socket) => this.#track(socket, listener));
    await listenOn(server, wanted, fd);
    return listener;
  }

  /**
   * Another process listens on where the socket was inherited: who is connected is told so first.
   */
  #leave(listener: Leaving): void {
    if (!listener.inherited) {
      end(listener);
      return;
    }
    listener.server.close();
    listener.last.abort(new Fault('shutting-down', 'this listener is closing'));
    this.#options.clock.after(LAST_CALL_MS, () => end(listener));
  }

  #shut(listener: Listener): void {
    this.#listeners.delete(listener.key);
    end(listener);
  }
}

function end({ server, stop }: Leaving): void {
  server.close();
  stop.abort(new Fault('shutting-down', 'this listener is closing'));
}

/** Port 0 is another port each time. */
function keyOf({ name, host, port, forward }: TcpPlace): string {
  return port === 0 || forward ? `${forward ? '' : name}@${host}:${port}` : `${host}:${port}`;
}

function addressOf({ server }: Listener): AddressInfo | undefined {
  const info = server.address();
  return typeof info === 'object' && info !== null ? info : undefined;
}
