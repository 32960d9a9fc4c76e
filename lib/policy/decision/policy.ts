/** A compiled set of documents, frozen. */
import type { Destination } from '../protocols/index.ts';
import type { TaskPolicy } from '../model/grant.ts';

export interface Policy {
  /** 1, 2, 3 … in this process; a record names it. */
  readonly generation: number;
  /** Hex SHA-256 over the canonical documents: equal documents, equal digest. */
  readonly digest: string;
  readonly destinations: readonly Destination[];
  /**
   * Host (and port) to destination; built by lib/policy/decision/lookup.ts: cost does not grow with
   * the number of destinations.
   */
  readonly find: (host: string, port: number) => Destination | undefined;
  /** Ports for which some destination has the host, ascending: for hints. */
  readonly portsOf: (host: string) => readonly number[];
  readonly byName: ReadonlyMap<string, Destination>;
  /** Data classes, the least sensitive first. */
  readonly dataClasses: readonly string[];
  /** By purpose. */
  readonly taskPolicies: ReadonlyMap<string, TaskPolicy>;
  /** `deny`, or `report`: records what was refused, still refuses. */
  readonly unlisted: 'deny' | 'report';
}
