/**
 * Which rules decided something in a set of decisions, and which did not: what a test of policy has
 * not touched may be wrong.
 */
import type { Decision } from '../decision/decision.ts';
import { protocolOf } from '../protocols/index.ts';
import type { Policy } from '../decision/policy.ts';

export interface Coverage {
  readonly rules: number;
  readonly covered: number;
  /** `destination/rule`, in the order of the documents. */
  readonly missing: readonly string[];
}

export function coverageOf({ destinations }: Policy, decisions: readonly Decision[]): Coverage {
  const seen = new Set(decisions.map(({ destination, rule }) => `${destination?.name}/${rule}`));
  const all = destinations.flatMap((destination) =>
    protocolOf(destination)
      .rules(destination.service)
      .map((rule) => `${destination.name}/${rule.name}`),
  );
  const missing = all.filter((one) => !seen.has(one));
  return { rules: all.length, covered: all.length - missing.length, missing };
}

/** Whole percent, rounded down; 100 where there are no rules. */
export function percent({ rules, covered }: Coverage): number {
  return rules === 0 ? 100 : Math.floor((covered / rules) * 100);
}
