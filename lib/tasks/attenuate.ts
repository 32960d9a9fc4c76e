/**
 * From intent to grant: the intersection with a ceiling, which is a TaskPolicy for a root task and
 * the parent's grant for a derived one. Pure, and decidable: sets and numbers only, so that a grant
 * is never wider than what it was cut from. What is refused is named with its reason.
 */
import type { Destination } from '../policy/protocols/index.ts';
import type { Grant, StepUpPolicy, TaskPolicy } from '../policy/model/grant.ts';
import type { Policy } from '../policy/decision/policy.ts';
import { shownTarget } from '../policy/model/shown.ts';
import {
  type HostTarget,
  type HostTargets,
  asked,
  meetAll,
  parseTarget,
  targetText,
} from '../policy/model/targets.ts';
import type { Intent } from './intent.ts';

export interface Refused {
  readonly part: 'targets' | 'actions' | 'dataClasses' | 'lifetime' | 'maxCalls' | 'isolated';
  readonly value: string;
  readonly reason: string;
}

export interface Attenuation {
  readonly grant: Grant;
  /** Milliseconds. */
  readonly lifetime: number;
  readonly isolated: boolean;
  readonly refused: readonly Refused[];
}

/** The most that may be granted, and the words for it. */
export interface Ceiling {
  readonly name: string;
  readonly destinations: ReadonlySet<string>;
  /** What of them; a destination that is not in it is had whole. */
  readonly hosts?: HostTargets;
  readonly actions: ReadonlySet<string>;
  readonly stepUp: ReadonlyMap<string, StepUpPolicy>;
  readonly dataClasses: ReadonlySet<string>;
  readonly lifetime: number;
  readonly maxCalls: number;
  readonly isolated: boolean;
}

export function ceilingOf(policy: TaskPolicy): Ceiling {
  const stepUp = new Map<string, StepUpPolicy>();
  for (const rule of policy.stepUp) for (const action of rule.actions) stepUp.set(action, rule);
  return {
    ...policy,
    name: `task policy ${policy.name}`,
    actions: new Set([...policy.actions].filter((action) => !stepUp.has(action))),
    stepUp,
  };
}

/** What is left of a task for one derived from it. */
export function ceilingUnder(
  id: string,
  grant: Grant,
  left: { readonly lifetime: number; readonly maxCalls: number },
): Ceiling {
  return { ...grant, ...left, name: `the grant of task ${id}`, isolated: false };
}

export function attenuate(intent: Intent, ceiling: Ceiling, policy: Policy): Attenuation {
  const refused: Refused[] = [];
  const refuse = (part: Refused['part'], value: string, reason: string): void =>
    void refused.push({ part, value, reason });
  const kept = targetsOf(intent, ceiling, policy, refuse);
  const classes = classesOf(intent, ceiling, [...kept.keys()], refuse);
  for (const action of intent.actions) {
    if (!ceiling.actions.has(action) && !ceiling.stepUp.has(action))
      refuse('actions', action, `${ceiling.name} does not have it`);
  }
  const lifetime = Math.min(intent.lifetime, ceiling.lifetime);
  if (lifetime < intent.lifetime)
    refuse('lifetime', `${intent.lifetime}ms`, `${ceiling.name} ends after ${ceiling.lifetime}ms`);
  const maxCalls = Math.min(intent.maxCalls ?? ceiling.maxCalls, ceiling.maxCalls);
  if (intent.maxCalls !== undefined && maxCalls < intent.maxCalls)
    refuse('maxCalls', String(intent.maxCalls), `${ceiling.name} has ${ceiling.maxCalls}`);
  if (intent.isolated && !ceiling.isolated)
    refuse('isolated', 'true', `${ceiling.name} does not allow a history of its own`);
  const named = [...kept].filter(([{ dataClass }]) => classes.has(dataClass));
  const grant: Grant = Object.freeze({
    purpose: intent.purpose,
    destinations: new Set(named.map(([{ name }]) => name)),
    hosts: new Map(
      named.flatMap(([{ name }, hosts]) => (hosts === undefined ? [] : [[name, hosts] as const])),
    ),
    actions: new Set(intent.actions.filter((action) => ceiling.actions.has(action))),
    stepUp: new Map([...ceiling.stepUp].filter(([action]) => intent.actions.includes(action))),
    dataClasses: classes,
    maxCalls,
  });
  return { grant, lifetime, isolated: intent.isolated && ceiling.isolated, refused };
}

/** The grant under a ceiling that has changed: never wider than it was. */
export function narrow(grant: Grant, ceiling: Ceiling): Grant {
  const both = (a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> =>
    a.intersection(b);
  const stepUp = [...ceiling.stepUp].filter(
    ([action]) => grant.stepUp.has(action) || grant.actions.has(action),
  );
  return Object.freeze({
    purpose: grant.purpose,
    destinations: both(grant.destinations, ceiling.destinations),
    ...(grant.hosts && { hosts: grant.hosts }),
    actions: both(grant.actions, ceiling.actions),
    stepUp: new Map(stepUp),
    dataClasses: both(grant.dataClasses, ceiling.dataClasses),
    maxCalls: Math.min(grant.maxCalls, ceiling.maxCalls),
  });
}

/** Whether every call that `inner` grants is granted by `outer` too. */
export function within(inner: Grant, outer: Grant): boolean {
  return (
    inner.destinations.isSubsetOf(outer.destinations) &&
    [...inner.destinations].every((name) =>
      hostsWithin(inner.hosts?.get(name), outer.hosts?.get(name)),
    ) &&
    inner.actions.isSubsetOf(outer.actions) &&
    inner.dataClasses.isSubsetOf(outer.dataClasses) &&
    inner.maxCalls <= outer.maxCalls &&
    [...inner.stepUp].every(
      ([action, rule]) => outer.actions.has(action) || outer.stepUp.get(action) === rule,
    )
  );
}

type Refuse = (part: Refused['part'], value: string, reason: string) => void;

/** Destinations, each with what of it is granted; undefined: all of it. */
type Targets = Map<Destination, readonly HostTarget[] | undefined>;

function targetsOf({ targets }: Intent, ceiling: Ceiling, policy: Policy, refuse: Refuse): Targets {
  const found: Targets = new Map();
  for (const target of targets) {
    let any = false;
    for (const [destination, hosts] of destinationsOf(target, policy)) {
      if (!ceiling.destinations.has(destination.name)) continue;
      const left = meetAll(hosts, ceiling.hosts?.get(destination.name));
      if (left?.length === 0) continue;
      any = true;
      const before = found.has(destination) ? found.get(destination) : [];
      found.set(
        destination,
        before === undefined || left === undefined ? undefined : [...before, ...left],
      );
    }
    // In the same words whether it is there or not: which destinations there are is not for the
    // agent to find out.
    if (!any) refuse('targets', shownTarget(target), `${ceiling.name} does not have it`);
  }
  return found;
}

/** A target is the name of a destination, or hosts of one with or without port. */
function destinationsOf(target: string, policy: Policy): Targets {
  const named = policy.byName.get(target);
  if (named !== undefined) return new Map([[named, undefined]]);
  const hosts = parseTarget(target);
  if (hosts === undefined) return new Map();
  const ports = hosts.port === undefined ? policy.portsOf(asked(hosts)) : [hosts.port];
  return new Map(
    ports.flatMap((one) => policy.find(asked(hosts), one) ?? []).map((one) => [one, [hosts]]),
  );
}

/** Whether each of the one is in one of the other; undefined is a whole destination. */
function hostsWithin(
  inner: readonly HostTarget[] | undefined,
  outer: readonly HostTarget[] | undefined,
): boolean {
  if (outer === undefined) return true;
  return (
    inner?.every((one) =>
      meetAll([one], outer)?.some((met) => targetText(met) === targetText(one)),
    ) === true
  );
}

function classesOf(
  { dataClasses }: Intent,
  ceiling: Ceiling,
  destinations: readonly Destination[],
  refuse: Refuse,
): ReadonlySet<string> {
  const asked = dataClasses ?? [...new Set(destinations.map(({ dataClass }) => dataClass))];
  for (const one of asked)
    if (!ceiling.dataClasses.has(one))
      refuse('dataClasses', one, `${ceiling.name} does not have it`);
  return new Set(asked.filter((one) => ceiling.dataClasses.has(one)));
}
