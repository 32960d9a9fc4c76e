/**
 * Connections of HTTP/2 to upstreams by the same keys as lib/http1/pool.ts, each shared by many
 * requests. Rules:
 * - one connection for a key, and another only while the places of all are taken; those who come
 *   while it is dialled wait for it;
 * - unused ones end after a time, all take nothing new after a maximum age with jitter, or past the
 *   time they are good for (a peer's certificate);
 * - a retired key's connections take nothing new and close when what runs on them has ended.
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore, onAbort, reasonOf } from '../base/signal.ts';
import type { ClientConnection, ClientResponse, RequestOptions } from '../http/client.ts';
import type { Lease } from '../http/lease.ts';
import type { HttpLimits } from '../http/limits.ts';
import type { Body, OutgoingRequest } from '../http/message.ts';
import type { Dial, Key, Pool, PoolCounts } from '../http1/pool.ts';
import { ClientSession } from './client.ts';
import type { Http2Limits } from './limits.ts';
import type { RequestStream } from './request.ts';

export interface SessionsOptions<T> {
  readonly limits: HttpLimits;
  readonly http2: Http2Limits;
  readonly clock: Clock;
  readonly scheme: (info: T) => 'http' | 'https';
  /** Wall clock until which a connection may take requests; undefined: no end. */
  readonly goodUntil: (info: T) => number | undefined;
  /** Uniform in [0, 1). */
  readonly random?: () => number;
}

export function sessions<T, K extends Key = string>(options: SessionsOptions<T>): Pool<T, K> {
  return new SessionPool<T, K>(options);
}

interface Member<T> {
  readonly session: ClientSession;
  readonly info: T;
  readonly expires: number;
}

interface Slot<T, K> {
  readonly key: K;
  readonly members: Set<Member<T>>;
  dialling: Dialling<T> | undefined;
  retired: boolean;
}

/** A dial that several may wait for; it is given up when nobody does. */
interface Dialling<T> {
  readonly member: Promise<Member<T>>;
  readonly controller: AbortController;
  waiting: number;
}

class SessionPool<T, K extends Key> implements Pool<T, K> {
  readonly #options: SessionsOptions<T>;
  readonly #slots = new Map<string, Slot<T, K>>();
  readonly #retired = new Set<Slot<T, K>>();
  #sweep: (() => void) | undefined;
  #closed = false;

  constructor(options: SessionsOptions<T>) {
    this.#options = options;
  }

  take(key: K): Lease<T> | undefined {
    const slot = this.#slots.get(key.toString());
    const member = slot && this.#free(slot);
    return member && new StreamLease(member, false);
  }

  async acquire(key: K, dial: Dial<T>, signal: AbortSignal): Promise<Lease<T>> {
    for (;;) {
      if (this.#closed) throw new Fault('shutting-down', 'the pool of connections is closed');
      if (signal.aborted) throw reasonOf(signal);
      const slot = this.#slotOf(key);
      const member = this.#free(slot);
      if (member !== undefined) return new StreamLease(member, false);
      const own = slot.dialling === undefined;
      const dialled = await this.#dialled(slot, dial, signal);
      // Who dialled uses it, whatever has become of it; a retired slot is not looked into again.
      if (own || slot.retired) return new StreamLease(dialled, own);
    }
  }

  retire(keep: (key: K) => boolean): void {
    for (const slot of this.#slots.values()) if (!keep(slot.key)) this.#retire(slot);
  }

  counts(): PoolCounts {
    const counts = { keys: this.#slots.size, idle: 0, leased: 0, dialling: 0, waiting: 0 };
    for (const slot of [...this.#slots.values(), ...this.#retired]) {
      for (const { session } of slot.members) counts[session.active > 0 ? 'leased' : 'idle']++;
      if (slot.dialling === undefined) continue;
      counts.dialling++;
      counts.waiting += slot.dialling.waiting - 1;
    }
    return counts;
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true;
    this.#sweep?.();
    const reason = new Fault('shutting-down', 'the pool of connections is closed');
    for (const slot of [...this.#slots.values(), ...this.#retired]) {
      slot.dialling?.controller.abort(reason);
      for (const { session } of slot.members) session.destroy(reason);
    }
    return Promise.resolve();
  }

  #slotOf(key: K): Slot<T, K> {
    let slot = this.#slots.get(key.toString());
    if (slot === undefined) {
      slot = { key, members: new Set(), dialling: undefined, retired: false };
      this.#slots.set(key.toString(), slot);
    }
    return slot;
  }

  #free(slot: Slot<T, K>): Member<T> | undefined {
    for (const member of slot.members) {
      const { session } = member;
      if (!this.#isGood(member)) session.close();
      if (session.open && !session.full) return member;
    }
    return undefined;
  }

  #isGood({ expires, info }: Member<T>): boolean {
    const { clock, goodUntil } = this.#options;
    return clock.monotonic() < expires && clock.now() < (goodUntil(info) ?? Infinity);
  }

  async #dialled(slot: Slot<T, K>, dial: Dial<T>, signal: AbortSignal): Promise<Member<T>> {
    const dialling = (slot.dialling ??= this.#dial(slot, dial));
    dialling.waiting++;
    const gone = Promise.withResolvers<never>();
    const off = onAbort(signal, gone.reject);
    try {
      return await Promise.race([dialling.member, gone.promise]);
    } finally {
      off();
      dialling.waiting--;
      if (dialling.waiting === 0 && slot.dialling === dialling)
        dialling.controller.abort(new Fault('aborted', 'nobody waits for the connection'));
    }
  }

  #dial(slot: Slot<T, K>, dial: Dial<T>): Dialling<T> {
    const controller = new AbortController();
    const member = this.#connect(slot, dial, controller.signal);
    ignore(member, 'whoever waits for it is told');
    return { member, controller, waiting: 0 };
  }

  async #connect(slot: Slot<T, K>, dial: Dial<T>, signal: AbortSignal): Promise<Member<T>> {
    const { limits, http2, clock, scheme, random = Math.random } = this.#options;
    try {
      const { socket, info } = await dial(signal);
      if (this.#closed || signal.aborted) {
        socket.destroy();
        throw new Fault('shutting-down', 'the connection is not wanted any more');
      }
      const lifetime = limits.poolMaxAgeMs * (1 - limits.poolAgeJitter * random());
      const onChange = (): void => this.#changed(slot, member);
      const session = new ClientSession(socket, {
        limits,
        http2,
        clock,
        scheme: scheme(info),
        onChange,
      });
      const member: Member<T> = { session, info, expires: clock.monotonic() + lifetime };
      slot.members.add(member);
      this.#sweep ??= clock.after(limits.poolIdleMs, this.#onSweep);
      return member;
    } finally {
      slot.dialling = undefined;
      this.#forget(slot);
    }
  }

  #changed(slot: Slot<T, K>, member: Member<T>): void {
    if (slot.retired) member.session.close();
    if (!member.session.closed) return;
    slot.members.delete(member);
    this.#forget(slot);
  }

  #forget(slot: Slot<T, K>): void {
    if (slot.members.size > 0 || slot.dialling !== undefined) return;
    this.#retired.delete(slot);
    if (!slot.retired) this.#slots.delete(slot.key.toString());
  }

  #retire(slot: Slot<T, K>): void {
    slot.retired = true;
    this.#slots.delete(slot.key.toString());
    this.#retired.add(slot);
    for (const { session } of slot.members) session.close();
    this.#forget(slot);
  }

  readonly #onSweep = (): void => {
    const { clock, limits } = this.#options;
    this.#sweep = undefined;
    const oldest = clock.monotonic() - limits.poolIdleMs;
    let left = 0;
    for (const { members } of this.#slots.values()) {
      for (const { session } of members) {
        if (session.active === 0 && session.idleSince <= oldest) session.close();
        left++;
      }
    }
    // Coarse: a connection may idle for one and a half times the limit.
    if (left > 0) this.#sweep = clock.after(limits.poolIdleMs / 2, this.#onSweep);
  };
}

/** The right to send one request. Whatever becomes of it, the connection serves on. */
class StreamLease<T> implements Lease<T>, ClientConnection {
  readonly info: T;
  readonly fresh: boolean;
  readonly #session: ClientSession;
  #stream: RequestStream | undefined;

  constructor({ session, info }: Member<T>, fresh: boolean) {
    this.#session = session;
    this.info = info;
    this.fresh = fresh;
  }

  get connection(): ClientConnection {
    return this;
  }

  get socket(): ClientConnection['socket'] {
    return this.#session.socket;
  }

  get reusable(): boolean {
    return this.#session.open && !this.#session.full;
  }

  get idleSince(): number {
    return this.#session.idleSince;
  }

  /** A session says goodbye. */
  get endedEarly(): boolean {
    return false;
  }

  request(
    head: OutgoingRequest,
    body: Buffer | Body | undefined,
    options: RequestOptions,
  ): Promise<ClientResponse> {
    const { stream, answer } = this.#session.request(head, body, options);
    this.#stream = stream;
    return answer;
  }

  destroy(reason: Error): void {
    const fault = Fault.from(reason, 'aborted');
    this.#stream?.destroy(fault);
    if (fault.code === 'upstream-timeout') this.#session.prove();
  }

  release(): void {
    this.#stream?.release(new Fault('aborted', 'the answer is not wanted any more'));
  }

  discard(reason: Error): void {
    this.#stream?.release(Fault.from(reason, 'aborted'));
  }
}
