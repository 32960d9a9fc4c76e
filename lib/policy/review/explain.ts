/**
 * Why a decision is what it is: the decision of decide(), and beside it every rule of the
 * destination in the order in which it is read, with what became of it and of each part of its
 * condition. Nothing here decides; a test holds the two together. No value of a request is in an
 * explanation.
 */
import type { SpiffeId } from '../../spiffe/id.ts';
import { ConditionContext } from '../conditions/scope.ts';
import { type ConditionTrace, trace } from '../conditions/trace.ts';
import { decide } from '../decision/decide.ts';
import { type MatrixRow } from '../model/access-matrix.ts';
import { type Destination, matrixRow, protocolOf } from '../protocols/index.ts';
import type { Decision } from '../decision/decision.ts';
import { type Facts, type RequestFacts, isRequest } from '../model/facts.ts';
import type { Policy } from '../decision/policy.ts';
import type { RuleBase } from '../model/rule.ts';

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
  readonly effect: RuleBase['effect'];
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

/** `self`: our own SPIFFE ID; undefined while there is none. */
export function explain(policy: Policy, facts: Facts, self?: SpiffeId): Explanation {
  const decision = decide(policy, facts, self);
  const { destination } = decision;
  const row = destination && matrixRow(facts, destination);
  if (
    destination === undefined ||
    row?.outcome !== 'request' ||
    !isRequest(facts) ||
    !READ.has(decision.code)
  ) {
    const condition = READ.has(decision.code) ? conditionOf(destination, facts, self) : undefined;
    return { decision, row, condition, steps: [] };
  }
  return {
    decision,
    row,
    condition: undefined,
    steps: stepsOf(destination, facts, { decision, self }),
  };
}

function conditionOf(
  destination: Destination | undefined,
  facts: Facts,
  self: SpiffeId | undefined,
): ConditionTrace | undefined {
  if (destination === undefined) return undefined;
  const condition = protocolOf(destination).condition(destination.service);
  return condition && trace(condition, () => new ConditionContext(facts, destination, self));
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
  readonly self: SpiffeId | undefined;
}

function stepsOf(
  destination: Destination,
  facts: RequestFacts,
  { decision, self }: Decided,
): readonly RuleStep[] {
  const context = (): ConditionContext => new ConditionContext(facts, destination, self);
  const protocol = protocolOf(destination);
  let decided = false;
  return inOrder(protocol.rules(destination.service)).map((rule) => {
    if (decided) return step(rule, 'not read');
    const mismatch = protocol.mismatch(rule, facts);
    if (mismatch !== undefined) return step(rule, 'matches not', mismatch);
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
function inOrder(rules: readonly RuleBase[]): readonly RuleBase[] {
  return [
    ...rules.filter(({ effect }) => effect === 'deny'),
    ...rules.filter(({ effect }) => effect === 'allow'),
  ];
}

function step(
  { name, effect }: RuleBase,
  outcome: RuleOutcome,
  why?: string,
  condition?: ConditionTrace,
): RuleStep {
  return { rule: name, effect, outcome, why: outcome === 'holds not' ? undefined : why, condition };
}
