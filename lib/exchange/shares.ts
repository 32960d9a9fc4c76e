/**
 * The agents' shares of what all of them use: connections, exchanges, half-read messages, places
 * and rates at destinations. Each agent has a share of its own, and so has what nobody has proved
 * to be an agent's, so that the flood of one refuses no other. Rules:
 * - a connection counts for the agent whose socket it came by, or that it has shown a task of last;
 * - of a full share the next connection is cut; of that which is nobody's the oldest connection on
 *   which nothing is under way is cut instead, because the next one may be about to show its task;
 * - what was cut is told.
 */
import type { Socket } from 'node:net';
import { Fault } from '../base/fault.ts';
import { abortSocket } from '../http1/sockets.ts';
import { type Agent, UNKNOWN } from '../policy/model/agent.ts';
import { type Rates, rates } from './rate-limits.ts';
import { type SlotTable, slotTable } from './slots.ts';

/** Of each share. */
export interface ShareLimits {
  readonly connections: number;
  /** Requests, tunnels and raw connections under way; each may take a connection to an upstream. */
  readonly exchanges: number;
  /** Bytes of messages that are being received. */
  readonly held: number;
  /** Unix sockets of tasks. */
  readonly sockets: number;
}

/** Bytes of messages that are being received, from both sides. */
export interface Held {
  bytes: number;
  readonly most: number;
}

export interface ShareCounts {
  /** Name of the agent, or `unknown`. */
  readonly agent: string;
  readonly connections: number;
  readonly exchanges: number;
}

/** An exchange, which takes part of a share while it is under way. */
export interface Member {
  readonly agent: Agent | undefined;
  readonly hasShare: boolean;
  get share(): Share;
  set share(share: Share | undefined);
}

export interface SharesOptions {
  readonly limits: ShareLimits;
  /** Told of each connection that is cut, with the name of the agent, or `unknown`. */
  readonly onDropped: (agent: string) => void;
}

/** The default. */
export const SHARE: ShareLimits = Object.freeze({
  connections: 4096,
  exchanges: 8192,
  held: 67_108_864,
  sockets: 1024,
});

export class Share {
  readonly agent: Agent | undefined;
  readonly name: string;
  /** The oldest first. */
  readonly callers = new Set<Caller>();
  readonly held: Held;
  readonly slots: SlotTable = slotTable();
  readonly rates: Rates = rates();
  /** Connections on which something is under way. */
  busy = 0;
  exchanges = 0;
  /** Unix sockets of tasks. */
  sockets = 0;

  constructor(agent: Agent | undefined, { held }: ShareLimits) {
    this.agent = agent;
    this.name = agent?.name ?? UNKNOWN;
    this.held = { bytes: 0, most: held };
  }
}

/** The other end of a connection of ours. */
export class Caller {
  /** The agent whose socket it came by. */
  readonly agent: Agent | undefined;
  readonly socket: Socket;
  readonly #shares: Shares;
  share: Share;
  #exchanges = 0;

  constructor(agent: Agent | undefined, socket: Socket, shares: Shares) {
    this.agent = agent;
    this.socket = socket;
    this.#shares = shares;
    this.share = shares.of(agent);
  }

  get idle(): boolean {
    return this.#exchanges === 0;
  }

  /**
   * One more exchange, of the agent that it has proved. It leaves by `leave`, refused or not.
   * @throws Fault `too-many`
   */
  enter(exchange: Member): void {
    const { agent } = exchange;
    if (agent !== undefined && this.share.agent !== agent) this.#move(agent);
    const { share } = this;
    exchange.share = share;
    if (this.#exchanges === 0) share.busy += 1;
    this.#exchanges += 1;
    share.exchanges += 1;
    const { exchanges } = this.#shares.limits;
    if (share.exchanges > exchanges) throw full(share, `${exchanges} exchanges`);
    if (share.agent === undefined && share.busy > this.#shares.mostBusy)
      throw full(share, `${this.#shares.mostBusy} connections in use`);
  }

  leave(exchange: Member): void {
    if (!exchange.hasShare) return;
    const { share } = exchange;
    exchange.share = undefined;
    share.exchanges -= 1;
    this.#exchanges -= 1;
    if (this.#exchanges === 0) this.share.busy -= 1;
  }

  #move(agent: Agent): void {
    const next = this.#shares.of(agent);
    const { connections } = this.#shares.limits;
    if (next.callers.size >= connections) throw full(next, `${connections} connections`);
    if (this.share.callers.delete(this)) next.callers.add(this);
    if (this.#exchanges > 0) [this.share.busy, next.busy] = [this.share.busy - 1, next.busy + 1];
    this.share = next;
  }
}

function full({ agent, name }: Share, what: string): Fault {
  const whose = agent === undefined ? 'what is no agent’s' : `agent ${name}`;
  const hint =
    agent === undefined
      ? 'show the credentials of a task, or use the forward socket of an agent'
      : 'try again shortly, or raise listeners.maxConnections and the limit of open files';
  return new Fault('too-many', `${whose} already has ${what} at one time`, { hint });
}

export class Shares {
  readonly limits: ShareLimits;
  /**
   * Connections of nobody's that may be in use; the rest is for those that have said nothing yet.
   */
  readonly mostBusy: number;
  readonly #options: SharesOptions;
  readonly #all = new Map<Agent | undefined, Share>();

  constructor(options: SharesOptions) {
    this.#options = options;
    this.limits = options.limits;
    const { connections } = options.limits;
    this.mostBusy = connections - Math.floor(connections / 8);
  }

  of(agent: Agent | undefined): Share {
    let share = this.#all.get(agent);
    if (share === undefined) this.#all.set(agent, (share = new Share(agent, this.limits)));
    return share;
  }

  /** A place for a connection; undefined where there is none, and then it is to be cut. */
  admit(agent: Agent | undefined, socket: Socket): Caller | undefined {
    const share = this.of(agent);
    if (share.callers.size >= this.limits.connections && !this.#makeRoom(share)) return undefined;
    const caller = new Caller(agent, socket, this);
    share.callers.add(caller);
    return caller;
  }

  leave(caller: Caller): void {
    caller.share.callers.delete(caller);
  }

  counts(): readonly ShareCounts[] {
    return Array.from(this.#all.values(), ({ name, callers, exchanges }) => ({
      agent: name,
      connections: callers.size,
      exchanges,
    }));
  }

  dropped({ name }: Share): void {
    this.#options.onDropped(name);
  }

  #makeRoom(share: Share): boolean {
    this.dropped(share);
    if (share.agent !== undefined) return false;
    for (const caller of share.callers) {
      if (!caller.idle) continue;
      share.callers.delete(caller);
      abortSocket(caller.socket);
      return true;
    }
    return false;
  }
}
