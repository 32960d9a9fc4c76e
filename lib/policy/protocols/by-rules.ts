/**
 * Rules held against what is asked, for every protocol that has rules: a deny rule that matches
 * denies; else an allow rule that matches allows; else nothing does. A rule with a condition
 * matches where that is true; where it cannot be evaluated a deny rule denies and an allow rule
 * does not allow, and the verdict says so. `mode: report` turns what rules deny into `reported`.
 */
import type { Answer, NoAnswer } from '../model/condition.ts';
import type { AnyService, DestinationOf } from '../model/destination.ts';
import { EVERYTHING, type Permission, type Permitted, covers } from '../model/permission.ts';
import type { Question } from '../model/question.ts';
import type { RuleBase } from '../model/rule.ts';
import type { Verdict } from '../model/verdict.ts';

/** What a protocol says of its rules and of what is asked. */
export interface RuleTerms<R extends RuleBase, Asked> {
  /** What the rule says but for its condition. */
  isAbout(rule: R, asked: Asked): boolean;
  /** What is asked, for people; never a query, a header, an argument or a body. */
  words(asked: Asked): string;
  /** What to write to allow it. */
  hint(rules: readonly R[], asked: Asked): string;
  /** What the rule that allows it leaves to say. */
  allowed?(rule: R, asked: Asked): Pick<Verdict, 'action' | 'streams'> | undefined;
  /** What is allowed where no rule is about it; undefined: nothing. */
  unruled?(
    question: Question,
    asked: Asked,
  ): Pick<Verdict, 'action' | 'conversation' | 'rule'> | undefined;
}

export function judgeByRules<R extends RuleBase, Asked>(
  question: Question,
  asked: Asked,
  rules: readonly R[],
  terms: RuleTerms<R, Asked>,
): Verdict {
  const { destination } = question;
  for (const rule of rules) {
    if (rule.effect !== 'deny' || !terms.isAbout(rule, asked)) continue;
    const answer = rule.when === undefined || question.ask(rule.when);
    if (answer !== false) return refusal(destination, rule, answer, terms.words(asked));
  }
  let policyError: string | undefined;
  for (const rule of rules) {
    if (rule.effect !== 'allow' || !terms.isAbout(rule, asked)) continue;
    const answer = rule.when === undefined || question.ask(rule.when);
    if (answer === true) {
      const reason = `rule ${rule.name} of destination ${destination.name} allows ${terms.words(asked)}`;
      return { code: 'allowed', reason, rule, policyError, ...terms.allowed?.(rule, asked) };
    }
    if (answer !== false) policyError = unanswered(policyError, rule, answer);
  }
  const unruled = terms.unruled?.(question, asked);
  if (unruled !== undefined) {
    const reason = `destination ${destination.name} allows ${terms.words(asked)}, which its protocol needs`;
    return { code: 'allowed', reason, policyError, ...unruled };
  }
  const why =
    policyError === undefined ? '' : `; a condition could not be evaluated: ${policyError}`;
  const reason = `no rule of destination ${destination.name} allows ${terms.words(asked)}${why}`;
  return { code: 'no-rule-matched', reason, hint: terms.hint(rules, asked), policyError };
}

function refusal(
  { name }: Question['destination'],
  rule: RuleBase,
  answer: Exclude<Answer, false>,
  words: string,
): Verdict {
  const about = `rule ${rule.name} of destination ${name}`;
  if (answer === true) {
    const hint = 'deny rules win over allow rules';
    return { code: 'denied-by-rule', reason: `${about} denies ${words}`, hint, rule };
  }
  return {
    code: 'condition-failed',
    reason:
      `the condition of ${about} could not be evaluated for ${words} (${answer.problem}), and ` +
      'a deny rule then denies',
    hint: 'guard what may be missing with has()',
    rule,
    policyError: unanswered(undefined, rule, answer),
  };
}

const MAX_ERROR = 200;

function unanswered(before: string | undefined, { name }: RuleBase, { problem }: NoAnswer): string {
  const all = `${before === undefined ? '' : `${before}; `}${name}: ${problem}`;
  return all.length > MAX_ERROR ? (before ?? all.slice(0, MAX_ERROR)) : all;
}

/** What rules deny is let through at a destination that reports. */
export function reported({ mode }: Question['destination'], verdict: Verdict): Verdict {
  if (mode !== 'report' || verdict.code === 'allowed') return verdict;
  return {
    ...verdict,
    code: 'reported',
    reason: `${verdict.reason}; let through because its mode is report`,
  };
}

/** Facts that do not fit the destination: what cannot be inspected is denied. */
export function uninspectable({ name }: Question['destination']): Verdict {
  return {
    code: 'wrong-entry',
    reason: `destination ${name} was reached in a way that its rules cannot be held against`,
    hint: 'this is a defect of the sidecar: please report it',
  };
}

export const NO_ALLOW_RULE = 'the destination has no allow rule: add one';

export function onlyDeny(rules: readonly RuleBase[]): boolean {
  return rules.every(({ effect }) => effect === 'deny');
}

export function failsCondition({ name }: RuleBase): string {
  return `rule ${name} would allow it, but its condition does not hold`;
}

/** Of what is only reported: any. */
export const EVERY_ACTION = 'any';

/** What rules let through, without what deny rules without a condition take away altogether. */
export function permittedByRules<R extends RuleBase>(
  mode: DestinationOf<AnyService>['mode'],
  rules: readonly R[],
  permissionsOf: (rule: R) => readonly Permission[],
): readonly Permitted[] {
  if (mode === 'report')
    return [{ permission: EVERYTHING, action: EVERY_ACTION, rule: undefined, when: undefined }];
  const gone = rules
    .filter(({ effect, when }) => effect === 'deny' && when === undefined)
    .flatMap(permissionsOf);
  return rules
    .filter(({ effect }) => effect === 'allow')
    .flatMap((rule) =>
      permissionsOf(rule)
        .filter((one) => !gone.some((denied) => covers(denied, one)))
        .map((permission) => ({
          permission,
          action: rule.action ?? '',
          rule: rule.name,
          when: rule.when?.text,
        })),
    );
}

/** No condition and no rule of a protocol is about it. */
export const OTHER_CALLS = 'it is about other calls';

/** Defaults of a row. */
export const nothing = (): undefined => undefined;
