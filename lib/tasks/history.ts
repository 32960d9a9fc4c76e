/**
 * What an agent session has done, so that policy can stop a flow and not a call alone. Rules:
 * - history only grows; it belongs to the session and not to one task, so that a second task, or
 *   traffic without one, does not wash it off;
 * - it is marked in the same synchronous step as the decision;
 * - a task apart begins with a copy of it: what the session has done is not washed off, and what
 *   the task does then does not flow back;
 * - an exchange does not see its own marks when it is decided again, or a rule about what came
 *   before would cut what came first. Two exchanges a mark are remembered: whoever asks, one of
 *   them is not the one who asks;
 * - `read` marks what was read, `write` what was written, every other action both: what cannot be
 *   told counts as either.
 */

/** Classes that were read or written, and what was done where. */
interface HistoryFacts {
  readonly read: readonly string[];
  readonly wrote: readonly string[];
  readonly actions: readonly string[];
  readonly destinations: readonly string[];
}

interface Mark {
  readonly action: string;
  readonly destination: string;
  readonly dataClass: string;
}

export interface History {
  /** Notes what an exchange was allowed; true when a decision could now turn out otherwise. */
  mark(exchange: string, mark: Mark): boolean;
  /** What was done by all exchanges but this one. */
  before(exchange: string | undefined): HistoryFacts;
  /** Another one that begins with all of this. */
  copy(): History;
}

type Kind = keyof HistoryFacts;
type Markers = Map<string, readonly [string, string?]>;

/** Stands for exchanges of a life of the sidecar that is over and not known. */
const UNKNOWN = 'unknown';

/**
 * `assumed`: classes that must be taken for read and written already, because what was done before
 * is not known.
 */
export function history(assumed: readonly string[] = []): History {
  const unknown = (): Markers => new Map(assumed.map((name) => [name, [UNKNOWN, UNKNOWN]]));
  return historyOf({
    read: unknown(),
    wrote: unknown(),
    actions: new Map(),
    destinations: new Map(),
  });
}

function historyOf(marks: Readonly<Record<Kind, Markers>>): History {
  let all: HistoryFacts | undefined;
  const seen = (kind: Kind, exchange: string | undefined): readonly string[] => {
    const names = [...marks[kind]].filter(
      ([, [first, second]]) => second !== undefined || first !== exchange,
    );
    return Object.freeze(names.map(([name]) => name));
  };
  const facts = (exchange: string | undefined): HistoryFacts =>
    Object.freeze({
      read: seen('read', exchange),
      wrote: seen('wrote', exchange),
      actions: seen('actions', exchange),
      destinations: seen('destinations', exchange),
    });
  const add = (kind: Kind, name: string, exchange: string): boolean => {
    const markers = marks[kind].get(name);
    if (markers === undefined) marks[kind].set(name, [exchange]);
    else if (markers[1] === undefined && markers[0] !== exchange)
      marks[kind].set(name, [markers[0], exchange]);
    else return false;
    // The second marker changes what the first one sees, and nothing else.
    return true;
  };
  return {
    mark(exchange, { action, destination, dataClass }) {
      let grown = add('actions', action, exchange);
      grown = add('destinations', destination, exchange) || grown;
      if (action !== 'write') grown = add('read', dataClass, exchange) || grown;
      if (action !== 'read') grown = add('wrote', dataClass, exchange) || grown;
      if (grown) all = undefined;
      return grown;
    },
    copy() {
      const { read, wrote, actions, destinations } = marks;
      return historyOf({
        read: new Map(read),
        wrote: new Map(wrote),
        actions: new Map(actions),
        destinations: new Map(destinations),
      });
    },
    before: (exchange) => (exchange === undefined ? (all ??= facts(undefined)) : facts(exchange)),
  };
}

/**
 * The last of the classes, ordered from the least sensitive, that was found; one that is no longer
 * declared counts as the highest.
 */
export function highest(found: readonly string[], classes: readonly string[]): string {
  let most = -1;
  for (const one of found) {
    const rank = classes.indexOf(one);
    if (rank < 0) return classes.at(-1) ?? 'none';
    most = Math.max(most, rank);
  }
  return classes[most] ?? 'none';
}
