/**
 * From what was refused or only let through to the least that would allow it: rules of exact
 * methods and paths, tools, calls, and destinations that are not listed yet. A segment of a path
 * becomes `*` only where several identifiers were seen in its place. Nothing here is in force: it
 * is for a person to review.
 */
import type { Observation, ProposedRule } from '../model/observation.ts';
import type { Policy } from '../decision/policy.ts';
import { suggestHttp } from '../protocols/http-suggest.ts';
import { type Destination, protocolOf } from '../protocols/index.ts';

export interface SuggestedRule extends ProposedRule {
  readonly name: string;
}

export interface SuggestedDestination {
  readonly name: string;
  readonly host: string;
  readonly ports: readonly number[];
  /** The agent spoke TLS itself, in a tunnel. */
  readonly tunnel: boolean;
  readonly rules: readonly SuggestedRule[];
}

export interface Suggestion {
  /** Rules to add, by the name of a destination that is there. */
  readonly rules: ReadonlyMap<string, readonly SuggestedRule[]>;
  readonly destinations: readonly SuggestedDestination[];
  /** What was seen and is not suggested, and why. */
  readonly left: readonly string[];
}

export function suggest(observations: readonly Observation[], policy: Policy): Suggestion {
  const left = new Set<string>();
  const usable = observations.filter((one) => {
    const why = unusable(one, policy);
    if (why !== undefined) left.add(why);
    return why === undefined;
  });
  const rules = new Map<string, readonly SuggestedRule[]>();
  for (const [name, seen] of Map.groupBy(usable.filter(isListed), (one) => one.destination)) {
    const destination = policy.byName.get(name);
    if (destination !== undefined) rules.set(name, rulesOf(destination, seen));
  }
  return {
    rules,
    destinations: destinationsOf(
      usable.filter((one) => !isListed(one)),
      policy,
    ),
    left: [...left],
  };
}

function isListed(one: Observation): one is Observation & { readonly destination: string } {
  return one.destination !== undefined;
}

/** A record cuts longer paths to this. */
const CUT = 512;

function unusable(one: Observation, policy: Policy): string | undefined {
  const { destination, rule, host, port, path, entry, method } = one;
  if (isForeign(one))
    return 'a record that the sidecar did not write: its text is of characters that no record has';
  const asked = `${method ?? entry} ${path ?? host}`;
  if (destination !== undefined && !policy.byName.has(destination))
    return `destination ${destination} is no longer there`;
  if (destination !== undefined && rule !== undefined) {
    return (
      `${asked}: rule ${rule} of destination ${destination} denies it, and deny rules win: ` +
      'change that rule if it is to be allowed'
    );
  }
  if (path !== undefined && path.length >= CUT)
    return `${asked.slice(0, 80)}…: the path is too long for a record`;
  if (path?.includes('%3B...') === true)
    return `${asked.slice(0, 80)}: what follows a ; in a path is not recorded`;
  if (one.resource?.includes('...') === true)
    return `${one.resource.slice(0, 80)}: not all of this URI is recorded`;
  if (destination !== undefined) return undefined;
  if (/^[\d.]+$|:/.test(host))
    return `${asked}: ${host} is an address: write its destination yourself`;
  return HOST.test(host) && port >= 1 && port <= 65_535
    ? undefined
    : `${asked}: ${host} is no host`;
}

const HOST = /^[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?$/;

/** A log can be changed: what stands in it goes into documents that people read. */
function isForeign(one: Observation): boolean {
  return Object.values(one).some(
    (value) => typeof value === 'string' && !/^[\x20-\x7e]*$/.test(value),
  );
}

function rulesOf(destination: Destination, seen: readonly Observation[]): readonly SuggestedRule[] {
  const protocol = protocolOf(destination);
  const taken = new Set(protocol.rules(destination.service).map(({ name }) => name));
  return named(protocol.suggest(destination.service, seen), taken);
}

function named(rules: readonly ProposedRule[], taken: Set<string>): readonly SuggestedRule[] {
  return rules.map((rule) => {
    const name = free(`seen-${rule.action}`, taken);
    return { name, ...rule };
  });
}

/** A name that is not taken; then it is. */
function free(wanted: string, taken: Set<string>): string {
  let name = wanted;
  for (let i = 2; taken.has(name); i += 1) name = `${wanted}-${i}`;
  taken.add(name);
  return name;
}

function destinationsOf(
  seen: readonly Observation[],
  policy: Policy,
): readonly SuggestedDestination[] {
  const taken = new Set(policy.byName.keys());
  const groups = Map.groupBy(
    seen,
    ({ host, entry }) => `${entry === 'connect' ? 'tunnel' : 'plain'} ${host}`,
  );
  return Array.from(groups, ([key, members]) => {
    const [kind, host = ''] = key.split(' ');
    const tunnel = kind === 'tunnel';
    const ports = [...new Set(members.map(({ port }) => port))].toSorted((a, b) => a - b);
    const rules = tunnel ? [] : named(suggestHttp(members), new Set());
    return { name: free(slug(host), taken), host, ports, tunnel, rules };
  });
}

/** A host as a name of a document. */
function slug(host: string): string {
  const name = host.replaceAll(/[^a-z0-9]+/g, '-').slice(0, 56);
  return name.replaceAll(/^-+|-+$/g, '') || 'destination';
}
