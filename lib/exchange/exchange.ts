/**
 * The ledger of one exchange, from the moment it is accepted until its `ended` record is written.
 * Rules:
 * - it is in the live set (live-set.ts) for its whole life, from before it is decided;
 * - it is aborted with a Fault, once; the first reason stands and is what the `ended` record says;
 * - deadlines are fields that the live set's one coarse timer looks at: no exchange has a timer of
 *   its own.
 */
import { randomUUID } from 'node:crypto';
import { Fault } from '../base/fault.ts';
import type { Agent } from '../policy/model/agent.ts';
import type { Decision } from '../policy/decision/decision.ts';
import type { Timeouts } from '../policy/model/destination.ts';
import type { EntryPoint, Facts } from '../policy/model/facts.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Identity } from '../spiffe/identity.ts';
import type { Task } from '../tasks/task.ts';
import type { UpstreamConnection } from '../upstream/dial.ts';
import type { Described, Reader } from './described.ts';
import type { Share } from './shares.ts';
import type { Slots } from './slots.ts';

/** Byte counters of the agent's connection; what moves them is progress. */
export interface Transport {
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

/** The thing that is waited for, by the name of the limit that ends it. */
export type Phase = 'deciding' | 'message' | 'hello' | 'handshake' | 'connect' | 'headers' | 'idle';

/** A decision with everything that it was made of, at one moment. */
export interface Authorization {
  readonly described: Described;
  readonly policy: Policy;
  readonly facts: Facts;
  readonly decision: Decision;
  /** Undefined when there was none at that moment. */
  readonly identity: Identity | undefined;
}

/** Ended by hand on an abort, because it waits for something that the signal does not reach. */
export interface Abortable {
  abort(reason: Fault): void;
}

export class Exchange {
  readonly id: string = randomUUID();
  readonly entry: EntryPoint;
  /** Monotonic milliseconds. */
  readonly started: number;
  /** The exchange of the CONNECT inside which this one came. */
  tunnel: string | undefined;
  /** Its owner, by its task or by the folder of its socket; undefined: nobody has proved it. */
  agent: Agent | undefined;
  /** It is a refusal that was counted and has no records of its own. */
  counted = false;
  #share: Share | undefined;
  /** The exchange before whose decision the sidecar itself asks this. */
  asker: string | undefined;
  /** The task it belongs to, from before it is decided. */
  task: Task | undefined;
  authorization: Authorization | undefined;
  /** undefined: what was read depends on no policy. */
  reader: Reader | undefined;
  upstream: UpstreamConnection | undefined;
  /** Kind of the credential that was added in the agent's stead. */
  credential: string | undefined;
  /** Index in the live set, while it is in it. */
  index: number | undefined;
  /** Slot of its destination, and of its rule or tool where that has a limit (slots.ts). */
  slot: Slots | undefined;
  ruleSlot: Slots | undefined;
  /** Parts of an answer that were not passed on, in words. */
  withheld: string[] | undefined;
  /** It was aborted, and its stream of events ended in order. */
  inOrder = false;
  /** Status sent to the agent. */
  status: number | undefined;
  /** Status of a gRPC call, as the agent is told. */
  grpcStatus: number | undefined;
  /** True if the refusal was answered inside the tunnel, where clients show it. */
  toldInside = false;
  /** Bytes of content (a tunnel's bytes) from the agent, and to it. */
  sent = 0;
  received = 0;
  readonly #transport: Transport;
  #controller: AbortController | undefined;
  #reason: Fault | undefined;
  #abortable: Abortable | undefined;
  #phase: Phase = 'deciding';
  #limit = Infinity;
  #lastProgressAt: number;
  #progress = 0;
  /**
   * The head of an answer is awaited so long, since when, and what of the request had gone then.
   */
  #headLimit = Infinity;
  #headAwaitedAt = 0;
  #headProgress = 0;
  /** The content of the request on its way, and how long it may pause. */
  #content: { readonly ended: boolean } | undefined;
  #pause = Infinity;
  #totalTimeout = Infinity;
  /** True if the deadline came from the client (grpc-timeout). */
  #clientDeadline = false;

  constructor(entry: EntryPoint, transport: Transport, started: number) {
    this.entry = entry;
    this.#transport = transport;
    this.started = started;
    this.#lastProgressAt = started;
  }

  /** The share in which it is counted, while it is under way. */
  get share(): Share {
    if (this.#share === undefined) throw new TypeError('an exchange that is nowhere counted');
    return this.#share;
  }

  set share(share: Share | undefined) {
    this.#share = share;
  }

  get hasShare(): boolean {
    return this.#share !== undefined;
  }

  /**
   * Aborts with the reason this exchange was aborted for. Made on first use: what is refused never
   * needs one.
   */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  get reason(): Fault | undefined {
    return this.#reason;
  }

  abort(reason: Fault): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    this.#controller?.abort(reason);
    this.#abortable?.abort(reason);
  }

  /** From here on an abort ends this too, and nothing else. Throws the reason of one that came. */
  onAbort(abortable: Abortable | undefined): void {
    this.throwIfAborted();
    this.#abortable = abortable;
  }

  throwIfAborted(): void {
    if (this.#reason !== undefined) throw this.#reason;
  }

  /** Starts the clock of the whole exchange (`total`). */
  setTotalTimeout(total: number): void {
    this.#totalTimeout = total;
  }

  /** The client's own deadline, in milliseconds from the start. */
  setClientDeadline(limit: number): void {
    if (limit >= this.#totalTimeout) return;
    this.#totalTimeout = limit;
    this.#clientDeadline = true;
  }

  /**
   * The head of the answer is awaited from when this has ended; before that it may pause for so
   * long.
   */
  sends(content: { readonly ended: boolean }, pause: number): void {
    this.#content = content;
    this.#pause = pause;
  }

  /**
   * From `now` on, `phase` may take `limit` milliseconds: `connect` and `message` in all, the
   * others without progress. The time of `headers` runs from its first call on, over all attempts
   * of a request; content of the request that goes out starts it anew, interim answers do not.
   */
  enter(phase: Phase, limit: number, now: number): void {
    this.#phase = phase;
    if (phase === 'idle') this.#headLimit = Infinity;
    else if (phase === 'headers') {
      this.#limit = Infinity;
      if (this.#headLimit === Infinity) this.#awaitHead(limit, now);
      return;
    }
    this.#limit = limit;
    this.#lastProgressAt = now;
    this.#progress = this.#moved();
  }

  /** The Fault of the first limit that is exceeded at `now`. */
  overdue(now: number): Fault | undefined {
    if (now - this.started >= this.#totalTimeout)
      return tooLong(this.#clientDeadline ? 'deadline' : 'total', this.#totalTimeout);
    if (this.#headLimit !== Infinity) {
      const late = this.#headLate(now);
      if (late !== undefined) return late;
    }
    if (this.#limit === Infinity) return undefined;
    const moved = this.#moved();
    if (moved !== this.#progress && this.#phase !== 'connect' && this.#phase !== 'message') {
      this.#progress = moved;
      this.#lastProgressAt = now;
    }
    return now - this.#lastProgressAt >= this.#limit
      ? tooLong(this.#phase, this.#limit)
      : undefined;
  }

  #awaitHead(limit: number, now: number): void {
    this.#headLimit = limit;
    this.#headAwaitedAt = now;
    this.#headProgress = this.sent;
  }

  #headLate(now: number): Fault | undefined {
    if (this.sent !== this.#headProgress) this.#awaitHead(this.#headLimit, now);
    const phase = this.#content?.ended === false ? 'content' : 'headers';
    const limit = phase === 'content' ? this.#pause : this.#headLimit;
    return now - this.#headAwaitedAt >= limit ? tooLong(phase, limit) : undefined;
  }

  #moved(): number {
    const content = this.sent + this.received;
    // What we say ourselves to keep a stream open moves nothing.
    if (this.#phase === 'idle') return content;
    return this.#transport.bytesRead + this.#transport.bytesWritten + content;
  }
}

type Limit = Phase | 'content' | 'total' | 'deadline';

const WAITS: Readonly<
  Record<
    Limit,
    readonly [
      'upstream-timeout' | 'timeout' | 'request-timeout',
      string,
      keyof Timeouts | undefined,
    ]
  >
> = {
  deciding: ['timeout', 'the exchange was not decided', undefined],
  message: ['request-timeout', 'the message in the body was not complete', 'message'],
  content: ['request-timeout', 'nothing more of the request body came', 'idle'],
  hello: ['request-timeout', 'no complete TLS ClientHello came through the tunnel', undefined],
  handshake: [
    'request-timeout',
    'the TLS handshake inside the tunnel was not completed',
    undefined,
  ],
  connect: ['upstream-timeout', 'the upstream was not reached', 'connect'],
  headers: ['upstream-timeout', 'the upstream did not answer', 'headers'],
  idle: ['timeout', 'nothing moved in either direction', 'idle'],
  total: ['timeout', 'the exchange did not end', 'total'],
  deadline: ['timeout', 'the call did not end before its deadline,', undefined],
};

function tooLong(phase: Limit, limit: number): Fault {
  const [code, what, setting] = WAITS[phase];
  const options =
    setting === undefined ? {} : { hint: `the limit is timeouts.${setting} of the destination` };
  return new Fault(code, `${what} within ${limit} ms`, options);
}

/** Milliseconds without a byte that its destination allows. */
export function idleOf({ authorization }: Exchange): number {
  return authorization?.decision.destination?.timeouts.idle ?? Infinity;
}
