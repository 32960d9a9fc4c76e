/**
 * What loads and is still likely a mistake: rules that can never decide, conditions that are always
 * the same, destinations that nothing reaches. Warnings: a policy with them decides as it says.
 */
import { ConditionContext } from '../conditions/scope.ts';
import { constantOf } from '../conditions/trace.ts';
import { type Destination, protocolOf, rulesOf } from '../protocols/index.ts';
import type { Facts } from '../model/facts.ts';
import type { Policy } from '../decision/policy.ts';
import { type Permission, covers } from '../model/permission.ts';
import type { RuleBase } from '../model/rule.ts';
import { type Setting, entriesOf, purposesOf } from './access-paths.ts';
import { leaks } from './lint-flows.ts';

/** By what they are called in output; docs/policy.md explains each. */
type LintCode =
  | 'flow-leak'
  | 'dead-rule'
  | 'shadowed-rule'
  | 'constant-condition'
  | 'dead-destination'
  | 'rebinding-name'
  | 'confusable-name'
  | 'path-as-text';

export interface LintFinding {
  readonly code: LintCode;
  /** `file:line:column` of the document. */
  readonly at: string;
  /** `destination crm` or `rule read of destination crm`. */
  readonly about: string;
  readonly message: string;
  readonly fix: string;
}

export function lintPolicy(policy: Policy, setting: Setting): readonly LintFinding[] {
  return policy.destinations.flatMap((destination) => [
    ...unreachable(destination, policy, setting),
    ...rebinding(destination),
    ...constant(destination),
    ...flows(destination, policy),
    ...rulesOf(destination).flatMap((rule) => ruleFindings(destination, rule)),
  ]);
}

type Said = Pick<LintFinding, 'code' | 'message' | 'fix'>;

function ofDestination({ name, at }: Destination, said: Said): LintFinding {
  return { ...said, at, about: `destination ${name}` };
}

function unreachable(
  destination: Destination,
  policy: Policy,
  setting: Setting,
): readonly LintFinding[] {
  const code = 'dead-destination';
  if (entriesOf(destination, setting).length === 0) {
    const message =
      'nothing leads to it: there is no forward proxy that serves it, and it has no listen';
    return [
      ofDestination(destination, {
        code,
        message,
        fix: 'write listen, or forward in the Sidecar document',
      }),
    ];
  }
  const rules = rulesOf(destination);
  const actions =
    rules.length === 0 ? [destination.action] : rules.flatMap((rule) => rule.action ?? []);
  if (
    actions.length === 0 ||
    actions.some((one) => purposesOf(policy, destination, one)?.length !== 0)
  )
    return [];
  const message = 'it is for tasks alone, and no TaskPolicy lets a task do anything there';
  return [
    ofDestination(destination, {
      code,
      message,
      fix: 'name it in a TaskPolicy, with its data class and an action',
    }),
  ];
}

/** Names that anybody can point at any address (facts of DNS services, not of an attack). */
const REBINDING =
  /(?:^|\.)(?:nip\.io|sslip\.io|xip\.io|localtest\.me|lvh\.me|traefik\.me|vcap\.me|lacolhost\.com)$/;

function rebinding(destination: Destination): readonly LintFinding[] {
  return destination.hosts
    .filter(({ host }) => REBINDING.test(host))
    .map(({ text }) =>
      ofDestination(destination, {
        code: 'rebinding-name',
        message: `${text} is a name of a service that answers with any address that is asked for`,
        fix: 'write the name or the address of the upstream itself',
      }),
    );
}

function constant(destination: Destination): readonly LintFinding[] {
  const condition = protocolOf(destination).condition(destination.service);
  const always =
    condition && constantOf(condition, new ConditionContext(NOTHING, destination, undefined));
  if (always === undefined) return [];
  const message = always
    ? 'its condition is always true'
    : 'its condition is always false: nothing is let through';
  return [
    ofDestination(destination, {
      code: 'constant-condition',
      message,
      fix: 'remove when, or mend it',
    }),
  ];
}

function flows(destination: Destination, policy: Policy): readonly LintFinding[] {
  const found = leaks(destination, policy);
  if (found === undefined) return [];
  const { rule, ...said } = found;
  return [
    {
      code: 'flow-leak',
      at: destination.at,
      about: `rule ${rule.name} of destination ${destination.name}`,
      ...said,
    },
  ];
}

function ruleFindings(destination: Destination, rule: RuleBase): readonly LintFinding[] {
  const value =
    rule.when && constantOf(rule.when, new ConditionContext(NOTHING, destination, undefined));
  const say = (said: Said): readonly LintFinding[] => [
    { ...said, at: destination.at, about: `rule ${rule.name} of destination ${destination.name}` },
  ];
  if (value === false) {
    return say({
      code: 'dead-rule',
      message: 'its condition is always false: it never matches',
      fix: 'remove the rule, or mend the condition',
    });
  }
  const always =
    value === true
      ? say({
          code: 'constant-condition',
          message: 'its condition is always true',
          fix: 'remove when, or mend it',
        })
      : [];
  return [...always, ...asText(rule).flatMap(say), ...covered(destination, rule).flatMap(say)];
}

/** A deny rule that an escape gets past: `%3A` is `:` to most servers, and another text. */
function asText({ effect, when }: RuleBase): readonly Said[] {
  if (effect !== 'deny' || when === undefined || !/\brequest\.path\b/.test(when.text)) return [];
  const message =
    'its condition compares request.path as text, in which an escape (%3A for :) is another text';
  const fix = 'write http.paths, which undoes escapes: {name} stands for a part of a segment';
  return [{ code: 'path-as-text', message, fix }];
}

/** What is sound and still may surprise: for people, never a problem. */
export function notesOn({ destinations }: Policy): readonly Omit<LintFinding, 'code'>[] {
  return destinations.flatMap((destination) => {
    const note = protocolOf(destination).note(destination);
    if (note === undefined) return [];
    return [{ at: destination.at, about: `destination ${destination.name}`, ...note }];
  });
}

/** Read by no condition that is constant. */
const NOTHING: Facts = Object.freeze({
  entry: 'forward',
  host: 'x.invalid',
  port: 1,
  listener: undefined,
  http: undefined,
  time: 0,
});

function covered(destination: Destination, rule: RuleBase): readonly Said[] {
  const protocol = protocolOf(destination);
  const about = protocol.permissionsOf(rule);
  if (about.length === 0) return [];
  const rules = rulesOf(destination);
  const coveringAll = (wide: readonly RuleBase[]): string | undefined =>
    covering(about, wide, (one) => protocol.permissionsOf(one));
  const before = rules.slice(0, rules.indexOf(rule));
  const denies = rules.filter(({ effect }) => effect === 'deny');
  if (rule.effect === 'allow') {
    const dead = coveringAll(denies);
    if (dead !== undefined) {
      return [
        {
          code: 'dead-rule',
          message: `deny ${dead} takes away all that it allows`,
          fix: 'remove it, or narrow the deny rules',
        },
      ];
    }
  }
  const shadow = coveringAll(before.filter(({ effect }) => effect === rule.effect));
  if (shadow === undefined) return [];
  const message =
    `${rule.effect} ${shadow} before it ${rule.effect === 'allow' ? 'allows' : 'denies'} all ` +
    'that it is about: it never decides';
  return [{ code: 'shadowed-rule', message, fix: 'remove it, or move it up' }];
}

/**
 * The rules without a condition that together cover all of `about`, in words; undefined when they
 * do not.
 */
function covering(
  about: readonly Permission[],
  rules: readonly RuleBase[],
  permissionsOf: (rule: RuleBase) => readonly Permission[],
): string | undefined {
  const plain = rules
    .filter(({ when }) => when === undefined)
    .map((rule) => ({ rule, wide: permissionsOf(rule) }));
  const names = new Set<string>();
  for (const part of about) {
    const found = plain.find(({ wide }) => wide.some((one) => covers(one, part)));
    if (found === undefined) return undefined;
    names.add(found.rule.name);
  }
  return `${names.size === 1 ? 'rule' : 'rules'} ${[...names].join(', ')}`;
}
