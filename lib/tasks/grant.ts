/**
 * From intent to grant: the intersection with a ceiling, which is a TaskPolicy for a root task and the parent's grant for a derived one. Pure, and decidable: sets
 * and numbers only, so that a grant is never wider than what it was cut from. What is refused is named with its reason.
 */
import type { Grant, StepUpPolicy, TaskPolicy } from '../policy/grant.ts';
import type { Destination, Policy } from '../policy/model.ts';
import type { Intent } from './intent.ts';

export interface Refused {
  readonly part: 'targets' | 'actions' | 'dataClasses' | 'lifetime' | 'uses' | 'isolated';
  readonly value: string;
  readonly reason: string;
}

export interface Cut {
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
  readonly actions: ReadonlySet<string>;
  readonly stepUp: ReadonlyMap<string, StepUpPolicy>;
  readonly dataClasses: ReadonlySet<string>;
  readonly lifetime: number;
  readonly uses: number;
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
  left: { readonly lifetime: number; readonly uses: number },
): Ceiling {
  return { ...grant, ...left, name: `the grant of task ${id}`, isolated: false };
}

export function cutIntent(intent: Intent, ceiling: Ceiling, policy: Policy): Cut {
  const refused: Refused[] = [];
  const refuse = (part: Refused['part'], value: string, reason: string): void =>
    void refused.push({ part, value, reason });
  const kept = targetsOf(intent, ceiling, policy, refuse);
  const classes = classesOf(intent, ceiling, kept, refuse);
  for (const action of intent.actions) {
    if (!ceiling.actions.has(action) && !ceiling.stepUp.has(action))
      refuse('actions', action, `${ceiling.name} does not have it`);
  }
  const lifetime = Math.min(intent.lifetime, ceiling.lifetime);
  if (lifetime < intent.lifetime)
    refuse('lifetime', `${intent.lifetime}ms`, `${ceiling.name} ends after ${ceiling.lifetime}ms`);
  const uses = Math.min(intent.uses ?? ceiling.uses, ceiling.uses);
  if (intent.uses !== undefined && uses < intent.uses)
    refuse('uses', String(intent.uses), `${ceiling.name} has ${ceiling.uses}`);
  if (intent.isolated && !ceiling.isolated)
    refuse('isolated', 'true', `${ceiling.name} does not allow a history of its own`);
  const grant: Grant = Object.freeze({
    purpose: intent.purpose,
    destinations: new Set(kept.filter(({ dataClass }) => classes.has(dataClass)).map(({ name }) => name)),
    actions: new Set(intent.actions.filter((action) => ceiling.actions.has(action))),
    stepUp: new Map([...ceiling.stepUp].filter(([action]) => intent.actions.includes(action))),
    dataClasses: classes,
    uses,
  });
  return { grant, lifetime, isolated: intent.isolated && ceiling.isolated, refused };
}

/** The grant under a ceiling that has changed: never wider than it was. */
export function narrow(grant: Grant, ceiling: Ceiling): Grant {
  const both = (a: ReadonlySet<string>, b: ReadonlySet<string>): ReadonlySet<string> => a.intersection(b);
  const stepUp = [...ceiling.stepUp].filter(([action]) => grant.stepUp.has(action) || grant.actions.has(action));
  return Object.freeze({
    purpose: grant.purpose,
    destinations: both(grant.destinations, ceiling.destinations),
    actions: both(grant.actions, ceiling.actions),
    stepUp: new Map(stepUp),
    dataClasses: both(grant.dataClasses, ceiling.dataClasses),
    uses: Math.min(grant.uses, ceiling.uses),
  });
}

/** Whether every call that `inner` grants is granted by `outer` too. */
export function within(inner: Grant, outer: Grant): boolean {
  return (
    inner.destinations.isSubsetOf(outer.destinations) &&
    inner.actions.isSubsetOf(outer.actions) &&
    inner.dataClasses.isSubsetOf(outer.dataClasses) &&
    inner.uses <= outer.uses &&
    [...inner.stepUp].every(([action, rule]) => outer.actions.has(action) || outer.stepUp.get(action) === rule)
  );
}

type Refuse = (part: Refused['part'], value: string, reason: string) => void;

function targetsOf(
  { targets }: Intent,
  { destinations, name }: Ceiling,
  policy: Policy,
  refuse: Refuse,
): readonly Destination[] {
  const found = targets.flatMap((target): readonly Destination[] => {
    const hits = destinationsOf(target, policy);
    const kept = hits.filter((destination) => destinations.has(destination.name));
    // In the same words whether it is there or not: which destinations there are is not for the agent to find out.
    if (kept.length === 0) refuse('targets', target, `${name} does not have it`);
    return kept;
  });
  return [...new Set(found)];
}

/** A target is the name of a destination, or a host with or without port. */
function destinationsOf(target: string, policy: Policy): readonly Destination[] {
  const named = policy.byName.get(target);
  if (named !== undefined) return [named];
  const [, host = target, port] = /^(.*?)(?::(\d{1,5}))?$/.exec(target) ?? [];
  const ports = port === undefined ? policy.portsOf(host) : [Number(port)];
  return ports.flatMap((one) => policy.find(host, one) ?? []);
}

function classesOf(
  { dataClasses }: Intent,
  ceiling: Ceiling,
  destinations: readonly Destination[],
  refuse: Refuse,
): ReadonlySet<string> {
  const asked = dataClasses ?? [...new Set(destinations.map(({ dataClass }) => dataClass))];
  for (const one of asked)
    if (!ceiling.dataClasses.has(one)) refuse('dataClasses', one, `${ceiling.name} does not have it`);
  return new Set(asked.filter((one) => ceiling.dataClasses.has(one)));
}
