/**
 * The certificates shown in place of servers, each with its key inside a context: the least
 * recently used goes when there are too many, one that is near its end is replaced before it is
 * shown again, and a host that many ask for at once is issued for once.
 */
import type { SecureContext } from 'node:tls';

/** Hosts under a wildcard are the agent's to choose: so many are kept. */
export const MAX_LEAVES = 256;

export interface Leaf {
  readonly context: SecureContext;
  /** Milliseconds since the epoch. */
  readonly renewAt: number;
}

export interface LeafCounts {
  readonly kept: number;
  /** Since the start. */
  readonly issued: number;
}

export interface LeafCache {
  contextFor(host: string): Promise<SecureContext>;
  counts(): LeafCounts;
}

export interface LeafCacheOptions {
  readonly issue: (host: string) => Promise<Leaf>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly most?: number;
}

export function leafCache({ issue, now, most = MAX_LEAVES }: LeafCacheOptions): LeafCache {
  // A Map keeps the order of insertion: the first key is the least recently used.
  const kept = new Map<string, Leaf>();
  const underWay = new Map<string, Promise<SecureContext>>();
  let issued = 0;

  const obtain = async (host: string): Promise<SecureContext> => {
    try {
      const leaf = await issue(host);
      issued += 1;
      kept.delete(host);
      kept.set(host, leaf);
      for (const oldest of kept.keys()) {
        if (kept.size <= most) break;
        kept.delete(oldest);
      }
      return leaf.context;
    } finally {
      underWay.delete(host);
    }
  };

  return {
    contextFor(host) {
      const leaf = kept.get(host);
      if (leaf !== undefined && now() < leaf.renewAt) {
        kept.delete(host);
        kept.set(host, leaf);
        return Promise.resolve(leaf.context);
      }
      const waiting = underWay.get(host) ?? obtain(host);
      underWay.set(host, waiting);
      return waiting;
    },
    counts: () => ({ kept: kept.size, issued }),
  };
}
