/**
 * Connections to upstreams, kept by a key that stands for everything they depend on. Rules:
 * - at most so many open at once for a key; who comes later waits in order, for a limited time (one
 *   stuck upstream must not hold everything up);
 * - the connection used last is used first; idle ones end after a time, all after a maximum age
 *   with jitter, and at once when they say anything unasked;
 * - a request that must not be sent twice uses one that served before only where the server is
 *   known not to close those (reuse.ts);
 * - a retired key's connections end as soon as they are idle, and none of them is used for a new
 *   request;
 * - a lease is released exactly once, whatever happened.
 */
import type { Duplex } from 'node:stream';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore, onAbort, reasonOf } from '../base/signal.ts';
import type { ClientConnection } from '../http/client.ts';
import type { Lease } from '../http/lease.ts';
import type { HttpLimits } from '../http/limits.ts';
import { clientConnection } from './client.ts';
import { ConnectionLease } from './lease.ts';
import { type Closing, Reuse, SOON_MS } from './reuse.ts';

interface Dialled<T> {
  readonly socket: Duplex;
  /** Whatever the dialler knows of the connection, such as the peer it verified. */
  readonly info: T;
}

export type Dial<T> = (signal: AbortSignal) => Promise<Dialled<T>>;

export interface PoolCounts {
  readonly keys: number;
  readonly idle: number;
  readonly leased: number;
  readonly dialling: number;
  readonly waiting: number;
}

/** What connections depend on; keys are equal where their texts are. */
export interface Key {
  toString(): string;
}

export interface Pool<T, K extends Key = string> extends AsyncDisposable {
  /**
   * An idle connection; undefined where there is none, or none for a request that may be sent
   * `once` alone.
   */
  take(key: K, once?: boolean): Lease<T> | undefined;
  /**
   * An idle connection, a new one, or one after waiting. Rejects with the dial's error, the
   * signal's reason, or Fault 'too-many'.
   */
  acquire(key: K, dial: Dial<T>, signal: AbortSignal, once?: boolean): Promise<Lease<T>>;
  /**
   * Ends what belongs to keys that are not kept: idle connections now, the others when they are
   * released.
   */
  retire(keep: (key: K) => boolean): void;
  counts(): PoolCounts;
}

export interface PoolOptions {
  readonly limits: HttpLimits;
  readonly clock: Clock;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

export function pool<T, K extends Key = string>(options: PoolOptions): Pool<T, K> {
  return new ConnectionPool<T, K>(options);
}

interface Waiter<T> {
  readonly dial: Dial<T>;
  readonly signal: AbortSignal;
  readonly once: boolean;
  readonly resolve: (lease: Lease<T> | Promise<Lease<T>>) => void;
  readonly reject: (reason: Fault) => void;
  readonly stop: () => void;
}

/** All of one key. */
interface Slot<T, K> {
  readonly key: K;
  readonly idle: Member<T>[];
  readonly leased: Set<Member<T>>;
  readonly waiting: Set<Waiter<T>>;
  /** How its server closes connections. */
  readonly closing: Closing;
  /** It is being looked whether the server leaves a connection open. */
  proving: boolean;
  dialling: number;
  retired: boolean;
}

class ConnectionPool<T, K extends Key> implements Pool<T, K> {
  readonly #limits: HttpLimits;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #slots = new Map<string, Slot<T, K>>();
  /** Retired ones with connections still leased or dialled. */
  readonly #retired = new Set<Slot<T, K>>();
  readonly #reuse: Reuse;
  #sweep: (() => void) | undefined;
  #closed = false;
  /** Connections that are idle, over all slots. */
  #resting = 0;

  constructor({ limits, clock, random = Math.random }: PoolOptions) {
    this.#limits = limits;
    this.#clock = clock;
    this.#random = random;
    this.#reuse = new Reuse(clock);
  }

  take(key: K, once = false): Lease<T> | undefined {
    const slot = this.#slots.get(key.toString());
    if (slot === undefined || this.#closed || !suits(slot, once)) return undefined;
    const idle = this.#idleOf(slot);
    return idle === undefined ? undefined : this.#lease(slot, idle, false);
  }

  async acquire(key: K, dial: Dial<T>, signal: AbortSignal, once = false): Promise<Lease<T>> {
    if (this.#closed) throw new Fault('shutting-down', 'the pool of connections is closed');
    if (signal.aborted) throw reasonOf(signal);
    const idle = this.take(key, once);
    if (idle !== undefined) return idle;
    const slot = this.#slotOf(key);
    if (this.#makesPlace(slot)) return this.#dial(slot, dial, signal);
    if (slot.waiting.size >= this.#limits.poolQueue)
      throw tooMany(`${slot.waiting.size} requests wait already`);
    return this.#queue(slot, { dial, signal, once });
  }

  retire(keep: (key: K) => boolean): void {
    for (const slot of this.#slots.values()) if (!keep(slot.key)) this.#retire(slot);
  }

  counts(): PoolCounts {
    const counts = { keys: this.#slots.size, idle: 0, leased: 0, dialling: 0, waiting: 0 };
    for (const slot of [...this.#slots.values(), ...this.#retired]) {
      counts.idle += slot.idle.length;
      counts.leased += slot.leased.size;
      counts.dialling += slot.dialling;
      counts.waiting += slot.waiting.size;
    }
    return counts;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#sweep?.();
    const reason = new Fault('shutting-down', 'the pool of connections is closed');
    for (const slot of [...this.#slots.values(), ...this.#retired]) {
      this.#retire(slot);
      for (const waiter of slot.waiting) this.#leave(slot, waiter).reject(reason);
      for (const member of slot.leased) member.connection.destroy(reason);
    }
    return Promise.resolve();
  }

  /** Takes the connection of a lease back. */
  released(slot: Slot<T, K>, member: Member<T>): void {
    if (!slot.leased.delete(member)) return;
    const { connection } = member;
    this.#ended(slot, member, member.rested);
    const [waiter] = slot.waiting;
    const unwanted = waiter === undefined ? this.#isSpare(slot) : !suits(slot, waiter.once);
    if (
      unwanted ||
      slot.retired ||
      !connection.reusable ||
      this.#clock.monotonic() >= member.expires
    ) {
      connection.destroy(new Fault('aborted', 'the connection is not used again'));
      this.#vacancy(slot);
      return;
    }
    this.#reuse.open(slot.closing, member.rested);
    if (waiter !== undefined) {
      this.#leave(slot, waiter).resolve(this.#lease(slot, member, false));
      return;
    }
    slot.idle.push(member);
    if (++this.#resting > this.#limits.poolIdle) this.#closeOldest();
    if (slot.closing.state === 'unknown' && !slot.proving) this.#prove(slot, member);
    this.#sweep ??= this.#clock.after(this.#limits.poolIdleMs, this.#onSweep);
  }

  /** Where requests use new connections they leave more behind than the others take. */
  #isSpare(slot: Slot<T, K>): boolean {
    return slot.closing.state !== 'stays' && slot.idle.length >= MAX_SPARE;
  }

  /** Looks a while after an answer whether the server has left the connection open. */
  #prove(slot: Slot<T, K>, { connection }: Member<T>): void {
    slot.proving = true;
    const look = (): void => {
      slot.proving = false;
      if (!connection.socket.destroyed) this.#reuse.open(slot.closing, SOON_MS);
    };
    // Behind what has come in the meantime: this turn may be a late one.
    this.#clock.after(SOON_MS, () => void setImmediate(look));
  }

  #slotOf(key: K): Slot<T, K> {
    let slot = this.#slots.get(key.toString());
    if (slot === undefined) {
      const closing = this.#reuse.of(key.toString());
      slot = {
        key,
        idle: [],
        leased: new Set(),
        waiting: new Set(),
        closing,
        proving: false,
        dialling: 0,
        retired: false,
      };
      this.#slots.set(key.toString(), slot);
    }
    return slot;
  }

  #idleOf(slot: Slot<T, K>): Member<T> | undefined {
    for (let member = slot.idle.pop(); member !== undefined; member = slot.idle.pop()) {
      this.#resting -= 1;
      const now = this.#clock.monotonic();
      member.rested = now - member.connection.idleSince;
      const young = now < member.expires && member.rested < this.#limits.poolIdleMs;
      if (young && member.connection.reusable) return member;
      this.#ended(slot, member, member.rested);
      member.connection.destroy(new Fault('aborted', 'the connection is too old'));
    }
    return undefined;
  }

  /** Whether one more may be opened; one that is idle, and was not wanted, is closed for it. */
  #makesPlace(slot: Slot<T, K>): boolean {
    const others = slot.leased.size + slot.dialling;
    if (others >= this.#limits.poolConnections) return false;
    if (others + slot.idle.length >= this.#limits.poolConnections) this.#closeFirst(slot);
    return true;
  }

  /** Of the slot that was made first, so nearly the one that rests longest. */
  #closeOldest(): void {
    const slot = this.#slots.values().find(({ idle }) => idle.length > 0);
    if (slot === undefined) return;
    this.#closeFirst(slot);
    this.#vacancy(slot);
  }

  #closeFirst(slot: Slot<T, K>): void {
    const [first] = slot.idle.splice(0, 1);
    if (first === undefined) return;
    this.#resting -= 1;
    first.connection.destroy(new Fault('aborted', 'the connection makes place for a new one'));
  }

  #lease(slot: Slot<T, K>, member: Member<T>, fresh: boolean): Lease<T> {
    slot.leased.add(member);
    return new ConnectionLease(this, slot, member, fresh);
  }

  /**
   * Dials for a caller that has a slot; gives up at once when the signal aborts, and destroys what
   * comes too late.
   */
  async #dial(slot: Slot<T, K>, dial: Dial<T>, signal: AbortSignal): Promise<Lease<T>> {
    slot.dialling++;
    const aborted = Promise.withResolvers<never>();
    const off = onAbort(signal, aborted.reject);
    const dialled = (async () => dial(signal))();
    try {
      const { socket, info } = await Promise.race([dialled, aborted.promise]);
      const lifetime =
        this.#limits.poolMaxAgeMs * (1 - this.#limits.poolAgeJitter * this.#random());
      const connection = clientConnection(socket, this.#limits, this.#clock);
      const member: Member<T> = {
        connection,
        info,
        expires: this.#clock.monotonic() + lifetime,
        rested: 0,
      };
      socket.once('close', () => this.#closedBy(slot, member));
      slot.dialling--;
      const lease = this.#lease(slot, member, true);
      if (this.#closed)
        connection.destroy(new Fault('shutting-down', 'the pool of connections is closed'));
      return lease;
    } catch (failure) {
      slot.dialling--;
      ignore(
        dialled.then(({ socket }) => void socket.destroy()),
        'the failure was reported, or the dial was given up',
      );
      this.#vacancy(slot);
      throw failure;
    } finally {
      off();
    }
  }

  #queue(slot: Slot<T, K>, asked: Pick<Waiter<T>, 'dial' | 'signal' | 'once'>): Promise<Lease<T>> {
    const { signal } = asked;
    return new Promise((resolve, reject) => {
      const off = onAbort(signal, (reason) => this.#leave(slot, waiter).reject(reason));
      const cancel = this.#clock.after(this.#limits.poolQueueMs, () =>
        this.#leave(slot, waiter).reject(tooMany('no connection became free')),
      );
      const stop = (): void => (off(), cancel());
      const waiter: Waiter<T> = { ...asked, resolve, reject, stop };
      slot.waiting.add(waiter);
    });
  }

  #leave(slot: Slot<T, K>, waiter: Waiter<T>): Waiter<T> {
    slot.waiting.delete(waiter);
    waiter.stop();
    return waiter;
  }

  /** A place is free: the first who waits dials; a slot that holds nothing is forgotten. */
  #vacancy(slot: Slot<T, K>): void {
    const [waiter] = slot.waiting;
    if (waiter !== undefined && !this.#closed && this.#makesPlace(slot)) {
      this.#leave(slot, waiter).resolve(this.#dial(slot, waiter.dial, waiter.signal));
      return;
    }
    if (slot.idle.length + slot.leased.size + slot.dialling > 0) return;
    this.#retired.delete(slot);
    if (!slot.retired) this.#slots.delete(slot.key.toString());
  }

  #closedBy(slot: Slot<T, K>, member: Member<T>): void {
    const at = slot.idle.indexOf(member);
    if (at < 0) return;
    this.#ended(slot, member, this.#clock.monotonic() - member.connection.idleSince);
    slot.idle.splice(at, 1);
    this.#resting -= 1;
    this.#vacancy(slot);
  }

  /**
   * A connection has ended that was unused for so long; past the time for which one is kept it
   * means nothing.
   */
  #ended({ closing }: Slot<T, K>, { connection }: Member<T>, rested: number): void {
    if (connection.endedEarly && rested < this.#limits.poolIdleMs)
      this.#reuse.closed(closing, rested);
  }

  #retire(slot: Slot<T, K>): void {
    slot.retired = true;
    this.#slots.delete(slot.key.toString());
    this.#retired.add(slot);
    this.#resting -= slot.idle.length;
    for (const member of slot.idle.splice(0))
      member.connection.destroy(new Fault('aborted', 'the connection is retired'));
    this.#vacancy(slot);
  }

  readonly #onSweep = (): void => {
    this.#sweep = undefined;
    const now = this.#clock.monotonic();
    const oldest = now - this.#limits.poolIdleMs;
    let left = 0;
    for (const slot of this.#slots.values()) {
      for (const { connection } of slot.idle)
        this.#reuse.open(slot.closing, now - connection.idleSince);
      const ended = slot.idle.filter(
        ({ connection, expires }) => connection.idleSince <= oldest || expires <= now,
      );
      for (const { connection } of ended)
        connection.destroy(new Fault('aborted', 'the connection was idle too long'));
      left += slot.idle.length - ended.length;
    }
    // Coarse: a connection may idle for one and a half times the limit.
    if (left > 0) this.#sweep = this.#clock.after(this.#limits.poolIdleMs / 2, this.#onSweep);
  };
}

interface Member<T> {
  readonly connection: ClientConnection;
  readonly info: T;
  readonly expires: number;
  /** Milliseconds that it was unused before it was leased. */
  rested: number;
}

/** Idle connections that are kept where those that were used are not used for every request. */
const MAX_SPARE = 8;

/** Whether a request may have a connection that served before. */
function suits({ closing }: Pick<Slot<unknown, unknown>, 'closing'>, once: boolean): boolean {
  return !once || closing.state === 'stays';
}

function tooMany(problem: string): Fault {
  return new Fault('too-many', `too many requests for one upstream at once: ${problem}`, {
    hint: 'try again later',
  });
}
