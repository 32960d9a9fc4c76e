/**
 * From host and port to destination. The unit is a pair of host pattern and port: the most specific
 * pattern that has the port wins (exact over wildcard, longer over shorter), so an exact host
 * listed for port 80 leaves its port 443 to a wildcard. Two destinations with the same pair tie,
 * and a set that ties is refused. Cost: one map look-up for the host and one for each of its
 * labels, however many destinations there are.
 */
import type { Destination } from '../protocols/index.ts';
import type { TaskPolicy } from '../model/grant.ts';
import type { Policy } from './policy.ts';

/** What is looked up by host and port. */
export type Claimant = Pick<Destination, 'name' | 'hosts' | 'ports'>;

/** Two destinations that claim the same pattern and port. */
export interface Tie<D extends Claimant = Destination> {
  readonly pattern: string;
  readonly port: number;
  readonly first: D;
  readonly second: D;
}

interface Index<D> {
  readonly exact: Map<string, Map<number, D>>;
  /** By the name behind `*.`. */
  readonly wild: Map<string, Map<number, D>>;
}

export interface PolicyParts extends Pick<
  Policy,
  'generation' | 'digest' | 'destinations' | 'unlisted'
> {
  readonly taskPolicies?: readonly TaskPolicy[];
  readonly dataClasses?: readonly string[];
}

/** Where a Sidecar document declares none. */
const DATA_CLASSES: readonly string[] = Object.freeze([
  'public',
  'internal',
  'confidential',
  'restricted',
]);

/**
 * A frozen policy; a set with ties, or with two destinations of one name, is misuse (lib/config
 * reports it first).
 */
export function buildPolicy({
  generation,
  digest,
  destinations,
  unlisted,
  taskPolicies = [],
  dataClasses = DATA_CLASSES,
}: PolicyParts): Policy {
  const { index, ties } = indexOf(destinations);
  const tie = ties[0];
  if (tie !== undefined)
    throw new TypeError(
      `${tie.first.name} and ${tie.second.name} both have ${tie.pattern}:${tie.port}`,
    );
  const byName = new Map(destinations.map((destination) => [destination.name, destination]));
  if (byName.size !== destinations.length) throw new TypeError('two destinations have one name');
  return Object.freeze({
    generation,
    digest,
    destinations: Object.freeze([...destinations]),
    unlisted,
    byName,
    dataClasses,
    taskPolicies: new Map(
      taskPolicies.flatMap((one) => one.purposes.map((purpose) => [purpose, one] as const)),
    ),
    find: (host: string, port: number) => first(candidates(index, host), port),
    portsOf: (host: string) => portsOf(index, host),
  });
}

/** All ties of a set, in the order of the documents. */
export function tiesOf<D extends Claimant>(destinations: readonly D[]): readonly Tie<D>[] {
  return indexOf(destinations).ties;
}

function indexOf<D extends Claimant>(
  destinations: readonly D[],
): { index: Index<D>; ties: readonly Tie<D>[] } {
  const index: Index<D> = { exact: new Map(), wild: new Map() };
  const ties: Tie<D>[] = [];
  for (const destination of destinations) {
    for (const { kind, host, text } of destination.hosts) {
      const map = kind === 'wildcard' ? index.wild : index.exact;
      let ports = map.get(host);
      if (ports === undefined) map.set(host, (ports = new Map()));
      for (const port of destination.ports) {
        const other = ports.get(port);
        if (other !== undefined)
          ties.push({ pattern: text, port, first: other, second: destination });
        else ports.set(port, destination);
      }
    }
  }
  return { index, ties };
}

/** The ports of each pattern that has the host, most specific pattern first. */
function* candidates(
  index: Index<Destination>,
  host: string,
): Generator<Map<number, Destination>, undefined> {
  const exact = index.exact.get(host);
  if (exact !== undefined) yield exact;
  // An IPv6 address has no dots and a dotted quad is never below a wildcard: patterns over
  // addresses do not parse.
  for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.', dot + 1)) {
    const ports = index.wild.get(host.slice(dot + 1));
    if (ports !== undefined) yield ports;
  }
  return undefined;
}

function first(all: Iterable<Map<number, Destination>>, port: number): Destination | undefined {
  for (const ports of all) {
    const found = ports.get(port);
    if (found !== undefined) return found;
  }
  return undefined;
}

function portsOf(index: Index<Destination>, host: string): readonly number[] {
  const ports = new Set<number>();
  for (const map of candidates(index, host)) for (const port of map.keys()) ports.add(port);
  return [...ports].sort((a, b) => a - b);
}
