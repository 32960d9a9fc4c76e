/** What happened to our identity so far, counted; read by metrics at each scrape. */
import type { Fault } from '../base/fault.ts';
import { statusOf } from './status.ts';

export interface IdentityCounts {
  /** New generations after the first. */
  readonly rotations: number;
  /** Ended attempts by gRPC status; `OK` is a stream that the server closed. */
  readonly errorsByCode: ReadonlyMap<string, number>;
  /** Attempts that ended, of all streams. */
  readonly reconnects: number;
  /** Bundles of single trust domains that were not usable. */
  readonly droppedBundles: number;
  readonly discardedMessages: number;
  /** Whether asking again cannot help and is not done. */
  readonly final: boolean;
  /** Revocation lists in the newest message; they are not enforced. */
  readonly crls: number;
  /** When the newest good message of X.509-SVIDs came, milliseconds since the epoch. */
  readonly lastUpdate: number | undefined;
}

export interface Counter {
  generation(): void;
  update(
    received: { readonly dropped: readonly Fault[]; readonly crls: number },
    now: number,
  ): void;
  dropped(count: number): void;
  discarded(): void;
  final(): void;
  lost(fault: Fault): void;
}

export function identityCounts(): {
  readonly counter: Counter;
  readonly read: () => IdentityCounts;
} {
  let [generations, reconnects, droppedBundles, discardedMessages, crls] = [0, 0, 0, 0, 0];
  let lastUpdate: number | undefined;
  let final = false;
  const errors = new Map<string, number>();
  const counter: Counter = {
    generation: () => void (generations += 1),
    update(received, now) {
      droppedBundles += received.dropped.length;
      crls = received.crls;
      lastUpdate = now;
    },
    dropped: (count) => void (droppedBundles += count),
    discarded: () => void (discardedMessages += 1),
    final: () => void (final = true),
    lost(fault) {
      const status = statusOf(fault);
      errors.set(status, (errors.get(status) ?? 0) + 1);
      reconnects += 1;
    },
  };
  const read = (): IdentityCounts => ({
    rotations: Math.max(0, generations - 1),
    errorsByCode: new Map(errors),
    reconnects,
    droppedBundles,
    discardedMessages,
    final,
    crls,
    lastUpdate,
  });
  return { counter, read };
}
