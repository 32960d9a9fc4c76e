/** Settings that pooled connections depend on: one serves only requests with an equal key. */
import type { Destination } from '../policy/protocols/index.ts';
import { type Identity, identityKey } from '../spiffe/identity.ts';
import { showsIdentity } from './shown-identity.ts';

interface Target {
  readonly destination: Destination;
  /** Digest of the settings that the connection depends on. */
  readonly settings: string;
  /** Host that the agent asked for. */
  readonly matched: string;
  /** Host and port that are dialled. */
  readonly reached: string;
}

/** Keys are equal where their texts are. */
export class PoolKey {
  /** Name of the destination. */
  readonly destination: string;
  readonly settings: string;
  /** Of the identity that is shown, 0 where there is none; undefined: none is shown. */
  readonly generation: number | undefined;
  /** The task whose credential the connection carries. */
  readonly task: string | undefined;
  readonly #text: string;

  constructor(target: Target, identity: Identity | undefined, task?: string) {
    const { destination, settings, matched, reached } = target;
    const shows = showsIdentity(destination);
    this.destination = destination.name;
    this.settings = settings;
    this.generation = shows ? (identity?.generation ?? 0) : undefined;
    this.task = task;
    const shown = !shows ? '-' : identity === undefined ? '0' : identityKey(identity);
    const text = `${destination.name}|${settings}|${shown}|${matched}|${reached}`;
    // A connection that carried a credential of one identity or one task is not for another.
    const owner = `|${identity?.svid.id ?? ''}|${task ?? ''}`;
    this.#text = destination.credential === undefined ? text : text + owner;
  }

  toString(): string {
    return this.#text;
  }
}
