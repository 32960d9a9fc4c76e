/**
 * What a change of policy opens and what it closes. The names that can be asked for fall into
 * regions, each of which the old and the new policy give to one destination; within a region a
 * permission is opened when nothing of the old policy includes it, and everything that leads there,
 * proves the peer or is sent along is as it was or stricter. Renaming documents and rules opens
 * nothing; where in doubt, it is opened.
 */
import type { HostPattern } from '../../net/host.ts';
import { type Destination, protocolOf } from '../protocols/index.ts';
import type { Policy } from '../decision/policy.ts';
import {
  EVERYTHING,
  type Permission,
  type Permitted,
  covers,
  overlaps,
} from '../model/permission.ts';
import type { RuleBase } from '../model/rule.ts';
import { loosened } from './access-paths-context.ts';
import { type Purpose, type Setting, entriesOf, purposeText, purposesOf } from './access-paths.ts';

export interface PathChange {
  readonly destination: string;
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
  readonly what: string;
  readonly action: string;
  readonly dataClass: string;
  /** What was different before, or after where it is closed. */
  readonly why: string;
}

export interface PathsDiff {
  readonly opened: readonly PathChange[];
  readonly closed: readonly PathChange[];
}

export interface Side {
  readonly policy: Policy;
  readonly setting: Setting;
}

export function diffPaths(before: Side, after: Side): PathsDiff {
  return { opened: openedBy(before, after), closed: openedBy(after, before) };
}

/** What `after` permits and `before` did not. */
function openedBy(before: Side, after: Side): readonly PathChange[] {
  const found = new Map<string, PathChange>();
  for (const destination of after.policy.destinations) {
    for (const [host, port] of regionsOf(destination, before.policy, after.policy)) {
      const owner = before.policy.find(representative(host), port);
      for (const permitted of permittedIn(destination, after)) {
        const why = objection(
          permitted,
          { destination, side: after },
          { destination: owner, side: before },
        );
        if (why === undefined) continue;
        const what = permitted.permission.text;
        const key = JSON.stringify([destination.name, what, permitted.action, why]);
        found.set(
          key,
          merged(found.get(key), { destination, host, port, what, action: permitted.action, why }),
        );
      }
    }
  }
  return [...found.values()];
}

interface Opened extends Pick<PathChange, 'what' | 'action' | 'why'> {
  readonly destination: Destination;
  readonly host: string;
  readonly port: number;
}

function merged(
  known: PathChange | undefined,
  { destination, host, port, ...rest }: Opened,
): PathChange {
  return {
    destination: destination.name,
    hosts: [...new Set([...(known?.hosts ?? []), host])],
    ports: [...new Set([...(known?.ports ?? []), port])],
    ...rest,
    dataClass: destination.dataClass,
  };
}

function permittedIn(destination: Destination, { policy, setting }: Side): readonly Permitted[] {
  if (entriesOf(destination, setting).length === 0) return [];
  return protocolOf(destination)
    .permitted(destination)
    .filter(({ action }) => purposesOf(policy, destination, action)?.length !== 0);
}

/**
 * Host patterns and ports of a destination, with those of the old policy that lie inside of its
 * wildcards and that it answers for itself.
 */
function* regionsOf(
  destination: Destination,
  before: Policy,
  after: Policy,
): Generator<readonly [string, number]> {
  const inside = destination.hosts.some(({ kind }) => kind === 'wildcard')
    ? before.destinations.flatMap(({ hosts }) => hosts)
    : [];
  for (const pattern of destination.hosts) {
    const regions = new Set([
      pattern.text,
      ...inside.filter((one) => isWithin(one, pattern)).map(({ text }) => text),
    ]);
    for (const port of destination.ports)
      for (const host of regions)
        if (after.find(representative(host), port) === destination) yield [host, port];
  }
}

function isWithin(inner: HostPattern, { kind, host }: HostPattern): boolean {
  return kind === 'wildcard' && inner.host.endsWith(`.${host}`);
}

/**
 * A name of the region that no narrower pattern has: its first label is none that a pattern can
 * hold.
 */
function representative(host: string): string {
  return host.startsWith('*.') ? `\u0000${host.slice(1)}` : host.replace(/^\[|\]$/g, '');
}

interface Place<D> {
  readonly destination: D;
  readonly side: Side;
}

/** Why the old policy did not permit it; undefined: it did. */
function objection(
  permitted: Permitted,
  now: Place<Destination>,
  then: Place<Destination | undefined>,
): string | undefined {
  const { destination: old, side } = then;
  if (old === undefined) return 'no destination had it';
  const entries = entriesOf(now.destination, now.side.setting).filter(
    (entry) => !entriesOf(old, side.setting).includes(entry),
  );
  if (entries.length > 0) return `it was not reached by ${entries.join(', ')}`;
  const change = loosened(old, now.destination);
  if (change !== undefined) return change;
  return (
    purposeChange(permitted, now, { destination: old, side }) ??
    ruleChange(permitted, now, { destination: old, side })
  );
}

function purposeChange(
  { action }: Permitted,
  now: Place<Destination>,
  then: Place<Destination>,
): string | undefined {
  const old = purposesOf(then.side.policy, then.destination, action);
  const purposes = purposesOf(now.side.policy, now.destination, action);
  if (old === undefined) return undefined;
  if (purposes === undefined) return 'it needed a task';
  const more = purposes.filter((one) => !old.some((each) => isWider(each, one)));
  return more.length === 0
    ? undefined
    : `tasks for ${more.map(purposeText).join(', ')} had no grant for it`;
}

function isWider(old: Purpose, { purpose, stepUp, when }: Purpose): boolean {
  return (
    old.purpose === purpose &&
    (!old.stepUp || stepUp) &&
    (old.when === undefined || old.when === when)
  );
}

function ruleChange(
  permitted: Permitted,
  now: Place<Destination>,
  then: Place<Destination>,
): string | undefined {
  const old = permittedIn(then.destination, then.side);
  const about = old.filter(({ permission }) => covers(permission, permitted.permission));
  if (about.length === 0) return 'no rule allowed it';
  if (about.every(({ permission }) => permission === EVERYTHING)) return undefined;
  const classes = (side: Side): string => side.policy.dataClasses.join();
  const ranked = classes(now.side) !== classes(then.side);
  const equal = (a: string | undefined, b: string | undefined): boolean =>
    a === b && !(ranked && a?.includes('rank(') === true);
  const action = about.filter((one) => one.action === permitted.action);
  if (action.length === 0)
    return `it was ${[...new Set(about.map((one) => one.action))].join(', ')}`;
  if (!action.some(({ when }) => when === undefined || equal(when, permitted.when)))
    return 'it had another condition';
  const denied = denials(then.destination).filter(({ about: part }) =>
    part.some((one) => overlaps(one, permitted.permission)),
  );
  const gone = denied.find((rule) => !stillDenied(rule, denials(now.destination), equal));
  return gone === undefined ? undefined : `rule ${gone.rule.name} denied a part of it`;
}

/** A deny rule that is in force, and what it is about. */
interface Denial {
  readonly rule: RuleBase;
  readonly about: readonly Permission[];
}

function denials(destination: Destination): readonly Denial[] {
  if (destination.mode === 'report') return [];
  const protocol = protocolOf(destination);
  return protocol
    .rules(destination.service)
    .filter(({ effect }) => effect === 'deny')
    .map((rule) => ({ rule, about: protocol.permissionsOf(rule) }));
}

function stillDenied(
  { rule, about }: Denial,
  now: readonly Denial[],
  equal: (a: string | undefined, b: string | undefined) => boolean,
): boolean {
  return about.every((part) =>
    now.some(
      (other) =>
        (other.rule.when === undefined || equal(other.rule.when.text, rule.when?.text)) &&
        other.about.some((wide) => covers(wide, part)),
    ),
  );
}
