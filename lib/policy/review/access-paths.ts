/**
 * Every access path that a policy can ever permit: who we are, by which way in, to which
 * destination, for what, as which action, over which data class, with which credential, for which
 * tasks. Conditions and deny rules stand beside a path as what narrows it: they may or may not
 * hold, so the list is never too short.
 */
import { HTTPS_PORT, transportOnly } from '../model/access-matrix.ts';
import { type Destination, matrixRow, protocolOf } from '../protocols/index.ts';
import type { EntryPoint } from '../model/facts.ts';
import type { Policy } from '../decision/policy.ts';
import { type Permitted, overlaps } from '../model/permission.ts';
import { EVERY_ACTION } from '../protocols/by-rules.ts';

/** What the policy alone does not say. */
export interface Setting {
  /** Our own SPIFFE ID, or how it is chosen. */
  readonly identity: string;
  /** There is a forward proxy. */
  readonly forward: boolean;
}

export interface AccessPath {
  readonly identity: string;
  readonly destination: string;
  readonly hosts: readonly string[];
  readonly ports: readonly number[];
  readonly entries: readonly EntryPoint[];
  /** tls.mode. */
  readonly protection: string;
  /** Who must answer. */
  readonly peers: readonly string[];
  /** Where it really leads; undefined: to the host that is asked for. */
  readonly upstream: string | undefined;
  readonly what: readonly string[];
  readonly action: string;
  readonly dataClass: string;
  readonly credential: string | undefined;
  readonly rule: string | undefined;
  readonly when: string | undefined;
  /** Deny rules that may take a part of it away. */
  readonly except: readonly string[];
  /** Purposes of the tasks that it may be done for; undefined: no task is needed. */
  readonly purposes: readonly Purpose[] | undefined;
}

export interface Purpose {
  readonly purpose: string;
  /** It waits for an approval. */
  readonly stepUp: boolean;
  /** Text of the condition on the intents of such tasks. */
  readonly when: string | undefined;
}

/** In words: `triage (after a step-up)`. */
export function purposeText({ purpose, stepUp, when }: Purpose): string {
  const notes = [
    ...(stepUp ? ['after a step-up'] : []),
    ...(when === undefined ? [] : [`when ${when}`]),
  ];
  return notes.length === 0 ? purpose : `${purpose} (${notes.join(', ')})`;
}

export function pathsOf(policy: Policy, setting: Setting): readonly AccessPath[] {
  return policy.destinations.flatMap((destination) => {
    const entries = entriesOf(destination, setting);
    if (entries.length === 0) return [];
    const groups = Map.groupBy(
      protocolOf(destination).permitted(destination),
      ({ rule, action }) => `${rule ?? ''} ${action}`,
    );
    return Array.from(groups.values()).flatMap((permitted) => {
      const [first] = permitted;
      const purposes = first && purposesOf(policy, destination, first.action);
      // For tasks alone, and no task may be granted it.
      if (first === undefined || purposes?.length === 0) return [];
      return [pathOf(destination, permitted, { identity: setting.identity, entries, purposes })];
    });
  });
}

type Rest = Pick<AccessPath, 'identity' | 'entries' | 'purposes'>;

function pathOf(destination: Destination, permitted: readonly Permitted[], rest: Rest): AccessPath {
  const { name, hosts, ports, tls, upstream, dataClass, credential } = destination;
  const [first] = permitted;
  const protocol = protocolOf(destination);
  const touching = protocol
    .rules(destination.service)
    .filter(
      (rule) =>
        rule.effect === 'deny' &&
        protocol
          .permissionsOf(rule)
          .some((deny) => permitted.some(({ permission }) => overlaps(deny, permission))),
    );
  return {
    ...rest,
    destination: name,
    hosts: hosts.map(({ text }) => text),
    ports,
    protection: tls.mode,
    peers: tls.peers.map(({ text }) => text),
    upstream: upstream && `${upstream.host}:${upstream.port}`,
    what: permitted.map(({ permission }) => permission.text),
    action: first?.action ?? '',
    dataClass,
    credential: credential && `${credential.kind} for ${credential.audience}`,
    rule: first?.rule,
    when: first?.when,
    except: destination.mode === 'report' ? [] : touching.map((rule) => rule.name),
  };
}

const ENTRIES: readonly EntryPoint[] = Object.freeze([
  'forward',
  'connect',
  'intercept',
  'cleartext',
  'listener',
]);

/** Ways in by which the destination is served. */
export function entriesOf(destination: Destination, { forward }: Setting): readonly EntryPoint[] {
  return ENTRIES.filter((entry) => {
    if (entry === 'listener' ? destination.listen === undefined : !forward) return false;
    return destination.ports.some((port) => {
      const row = matrixRow({ entry, port }, destination);
      if (entry === 'cleartext' && port === HTTPS_PORT) return false;
      return row.outcome !== 'refused' && !transportOnly(row);
    });
  });
}

/** Purposes for which a task may be granted it; undefined: no task is needed. */
export function purposesOf(
  policy: Policy,
  destination: Destination,
  action: string,
): readonly Purpose[] | undefined {
  if (destination.task === 'optional') return undefined;
  const purposes: Purpose[] = [];
  for (const [
    purpose,
    { destinations, dataClasses, actions, stepUp, when },
  ] of policy.taskPolicies) {
    if (!destinations.has(destination.name) || !dataClasses.has(destination.dataClass)) continue;
    const now = action === EVERY_ACTION || actions.has(action);
    const later = !now && stepUp.some((one) => one.actions.has(action));
    if (now || later) purposes.push({ purpose, stepUp: later, when: when?.text });
  }
  return purposes;
}
