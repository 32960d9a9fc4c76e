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
import {
  type DoorFolder,
  type TaskDoors,
  type UnixPlace,
  closeTaskDoors,
  listenAt,
  openTaskDoors,
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
  /** Whether a listener of ours has this address and port. */
  has(address: string, port: number): boolean;
  /** The forward proxy on a Unix socket in an agent's folder. Fault `listen`. */
  openForward(agent: Agent, place: UnixPlace): Promise<void>;
  /**
   * A Unix socket in a folder of the task for each of these destinations; name to path. Fault
   * `listen` or `too-many`, and then none is left.
   */
  openFor(
    task: Task,
    where: DoorFolder,
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

interface Door extends Bound, Leaving {
  name: string;
  readonly key: string;
}

export function listeners(options: ListenersOptions): Listeners {
  return new Doors(options);
}

class Doors implements Listeners {
  readonly #options: ListenersOptions;
  readonly #doors = new Map<string, Door>();
  readonly #ofTasks = new Map<Task, TaskDoors>();
  readonly #ofAgents: Leaving[] = [];
  readonly #sockets = new Set<Socket>();
  #waiting: (() => void)[] = [];
  #closed = false;

  constructor(options: ListenersOptions) {
    this.#options = options;
  }

  async prepare(policy: Policy): Promise<void> {
    const fresh = [...this.#wantedBy(policy)].filter(([key]) => !this.#doors.has(key));
    const opened = await Promise.allSettled(fresh.map(([key, wanted]) => this.#open(key, wanted)));
    const bound = opened.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    const failed = opened.find((one) => one.status === 'rejected');
    if (failed === undefined && !this.#closed) {
      for (const door of bound) this.#doors.set(door.key, door);
      return;
    }
    for (const door of bound) this.#shut(door);
    throw failed === undefined
      ? new Fault('shutting-down', 'the proxy is closing')
      : Fault.from(failed.reason, 'listen');
  }

  settle(policy: Policy): void {
    const wanted = this.#wantedBy(policy);
    for (const door of this.#doors.values()) {
      const use = wanted.get(door.key);
      if (use === undefined) this.#shut(door);
      else door.name = use.name;
    }
  }

  get addresses(): ReadonlyMap<string, AddressInfo> {
    const found = new Map<string, AddressInfo>();
    for (const door of this.#doors.values()) {
      const info = addressOf(door);
      if (info !== undefined) found.set(door.name, info);
    }
    return found;
  }

  has(address: string, port: number): boolean {
    const ours = [...this.#doors.values()].flatMap((door) => addressOf(door) ?? []);
    if (ours.some((one) => one.port === port && covers(one.address, address))) return true;
    return this.#options.others.some((one) => one.port === port && covers(one.host, address));
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
    where: DoorFolder,
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
      const doors = await openTaskDoors(task, { ...where, names }, this.#track);
      this.#ofTasks.set(task, doors);
      if (!task.open) await this.closeFor(task);
      return doors.paths;
    } catch (failure) {
      share.sockets -= names.length;
      throw failure;
    }
  }

  async closeFor(task: Task): Promise<void> {
    const doors = this.#ofTasks.get(task);
    this.#ofTasks.delete(task);
    if (doors === undefined) return;
    this.#options.shares.of(task.agent).sockets -= doors.servers.length;
    await closeTaskDoors(doors);
  }

  close(): void {
    this.#closed = true;
    for (const task of this.#ofTasks.keys())
      ignore(this.closeFor(task), 'the sockets are closed whatever becomes of the folder');
    for (const door of [...this.#doors.values(), ...this.#ofAgents.splice(0)]) this.#leave(door);
    this.#doors.clear();
  }

  empty(): Promise<void> {
    return this.#sockets.size === 0
      ? Promise.resolve()
      : new Promise((resolve) => this.#waiting.push(resolve));
  }

  cutAll(): void {
    for (const socket of this.#sockets) abortSocket(socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close();
    this.cutAll();
    await this.empty();
  }

  readonly #track = (socket: Socket, door: Bound): void => {
    const { accept, shares } = this.#options;
    this.#sockets.add(socket);
    // Whoever serves the socket listens too; before that, an error has nobody to tell.
    socket.on('error', () => {});
    const caller = shares.admit(door.agent, socket);
    socket.once('close', () => {
      if (caller !== undefined) shares.leave(caller);
      this.#forget(socket);
    });
    if (caller === undefined) abortSocket(socket);
    else accept(socket, door, caller);
  };

  #forget(socket: Socket): void {
    this.#sockets.delete(socket);
    if (this.#sockets.size > 0) return;
    const told = this.#waiting;
    this.#waiting = [];
    for (const tell of told) tell();
  }

  #wantedBy(policy: Policy): Map<string, TcpPlace> {
    const { forward } = this.#options;
    const wanted: TcpPlace[] = policy.destinations.flatMap(({ name, listen }) =>
      listen === undefined ? [] : [{ name, forward: false, ...listen }],
    );
    if (forward !== undefined) wanted.push({ name: FORWARD, forward: true, ...forward });
    return new Map(wanted.map((one) => [keyOf(one), one]));
  }

  async #open(key: string, wanted: TcpPlace): Promise<Door> {
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
    const door = { ...bound, key, server, stop, last, inherited: fd !== undefined };
    server.on('connection', (socket) => this.#track(socket, door));
    await listenOn(server, wanted, fd);
    return door;
  }

  /**
   * Another process listens on where the socket was inherited: who is connected is told so first.
   */
  #leave(door: Leaving): void {
    if (!door.inherited) {
      end(door);
      return;
    }
    door.server.close();
    door.last.abort(new Fault('shutting-down', 'this listener is closing'));
    this.#options.clock.after(LAST_CALL_MS, () => end(door));
  }

  #shut(door: Door): void {
    this.#doors.delete(door.key);
    end(door);
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

function addressOf({ server }: Door): AddressInfo | undefined {
  const info = server.address();
  return typeof info === 'object' && info !== null ? info : undefined;
}
