/**
 * A way in, as the corpus sees it: what of an exchange can be bent there, and how an attempt is
 * rendered for it.
 */
import type { Socket } from 'node:net';
import type { EntryPoint } from '../../../lib/policy/model/facts.ts';
import type { Outcome } from '../../../lib/policy/model/access-matrix.ts';
import type { Attempt, Facet } from '../case.ts';
import type { Setting, Stage } from '../stage.ts';

export interface Entry {
  /** In the coverage table. */
  readonly name: string;
  /** Which row of the access matrix it stands for. */
  readonly door: EntryPoint;
  readonly outcome: Exclude<Outcome, 'refused'>;
  readonly facets: ReadonlySet<Facet>;
  readonly setting: Setting;
  /** Status of the answer when an attempt gets through; 0 where there is none. */
  readonly passes: number;
  /** Requests are judged one by one here: records have a path, and the upstream sees a request. */
  readonly requests: boolean;
  /**
   * Every exchange is a stream: a head that is none may be answered by a reset of its stream, and
   * the connection goes on.
   */
  readonly streams?: true;
  /**
   * Its exchanges lie inside a tunnel, which is an exchange of its own and none of the attempt's.
   */
  readonly inside?: true;
  /** Makes one attempt and waits for its end. */
  strike(stage: Stage, attempt: Attempt, how: Manner): Promise<Seen>;
  /** Begins an honest exchange and leaves it open. */
  hold(stage: Stage): Promise<Socket>;
}

export interface Manner {
  /** Another request is sent right behind it, which nobody may ever read. */
  readonly probing: boolean;
  /**
   * Called before the attempt itself, where an honest exchange goes before it on the same
   * connection.
   */
  readonly begins: () => void;
}

/** What the agent saw. */
export interface Seen {
  readonly text: string;
  /** Of every answer but interim ones, in order. */
  readonly statuses: readonly number[];
  /** The connection was reset, or ended where an end means nothing else. */
  readonly cut: boolean;
  /** Milliseconds of the whole attempt. */
  readonly took?: number;
}

export const facets = (...names: readonly Facet[]): ReadonlySet<Facet> =>
  new Set([...names, 'any']);
