/**
 * Why a decision is what it is: the decision of decide(), and beside it every rule of the
 * destination in the order in which it is read, with what became of it and of each part of its
 * condition. Nothing here decides; a test holds the two together. No value of a request is in an
 * explanation.
 */
import type { SpiffeId } from '../../spiffe/id.ts';
import { ConditionContext } from '../conditions/scope.ts';
import { type ConditionTrace, trace } from '../conditions/trace.ts';
import { decide, isAbout } from '../decision/decide.ts';
import { type MatrixRow, matrixRow } from '../model/access-matrix.ts';
import type { Decision } from '../model/decision.ts';
import type { Destination } from '../model/destination.ts';
import { type Facts, type RequestFacts, isRequest } from '../model/facts.ts';
import type { Policy } from '../model/policy.ts';
import type { Rule } from '../model/rule.ts';
import { httpMismatch } from '../protocols/http.ts';

/**
 * decides      it matched, and that was the decision
 * matches not  it is about something else; `why` says what
 * holds not    it is about this, but its condition is false
 * no answer    it is about this, and its condition cannot be evaluated
 * not read     another rule had decided before
 */
type RuleOutcome = 'decides' | 'matches not' | 'holds not' | 'no answer' | 'not read';

export interface RuleStep {
  readonly rule: string;
  readonly effect: Rule['effect'];
  readonly outcome: RuleOutcome;
  readonly why: string | undefined;
  readonly condition: ConditionTrace | undefined;
}

export interface Explanation {
  readonly decision: Decision;
  /** What the access matrix does with the destination here; undefined without one. */
  readonly row: MatrixRow | undefined;
  /** The condition of a destination of connections. */
  readonly condition: ConditionTrace | undefined;
  /** Deny rules, then allow rules; [] where rules are not read. */
  readonly steps: readonly RuleStep[];
}

/** `as`: our own SPIFFE ID; undefined while there is none. */
export function explain(policy: Policy, facts: Facts, as?: SpiffeId): Explanation {
  const decision = decide(policy, facts, as);
  const { destination } = decision;
  const row = destination && matrixRow(facts, destination);
  if (
    destination === undefined ||
    row?.outcome !== 'request' ||
    !isRequest(facts) ||
    !READ.has(decision.code)
  ) {
    const condition = READ.has(decision.code) ? conditionOf(destination, facts, as) : undefined;
    return { decision, row, condition, steps: [] };
  }
  return {
    decision,
    row,
    condition: undefined,
    steps: stepsOf(destination, facts, { decision, as }),
  };
}

function conditionOf(
  destination: Destination | undefined,
  facts: Facts,
  as: SpiffeId | undefined,
): ConditionTrace | undefined {
  if (destination?.when === undefined) return undefined;
  return trace(destination.when, () => new ConditionContext(facts, destination, as));
}

/** Codes of decisions for which the rules were read. */
const READ: ReadonlySet<Decision['code']> = new Set([
  'allowed',
  'reported',
  'denied-by-rule',
  'condition-failed',
  'no-rule-matched',
]);

interface Decided {
  readonly decision: Decision;
  readonly as: SpiffeId | undefined;
}

function stepsOf(
  destination: Destination,
  facts: RequestFacts,
  { decision, as }: Decided,
): readonly RuleStep[] {
  const context = (): ConditionContext => new ConditionContext(facts, destination, as);
  let decided = false;
  return inOrder(destination).map((rule) => {
    if (decided) return step(rule, 'not read');
    if (!isAbout(rule, facts)) return step(rule, 'matches not', mismatch(rule, facts));
    const condition = rule.when && trace(rule.when, context);
    decided = rule.name === decision.rule;
    if (decided) return step(rule, 'decides', undefined, condition);
    return step(
      rule,
      condition?.answer === 'false' ? 'holds not' : 'no answer',
      condition?.answer,
      condition,
    );
  });
}

/** The rules in the order in which they are read. */
function inOrder({ rules }: Destination): readonly Rule[] {
  return [
    ...rules.filter(({ effect }) => effect === 'deny'),
    ...rules.filter(({ effect }) => effect === 'allow'),
  ];
}

function step(
  { name, effect }: Rule,
  outcome: RuleOutcome,
  why?: string,
  condition?: ConditionTrace,
): RuleStep {
  return { rule: name, effect, outcome, why: outcome === 'holds not' ? undefined : why, condition };
}

const PARTS = Object.freeze({
  method: 'it is about other methods',
  path: 'it is about other paths',
  upgrade: 'it does not allow WebSocket',
  content: 'it does not allow content on GET',
});

function mismatch(rule: Rule, { http }: RequestFacts): string {
  const part = rule.http === undefined ? undefined : httpMismatch(rule, http);
  return part === undefined ? 'it is about other calls' : PARTS[part];
}
