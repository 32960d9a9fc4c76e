/** What every rule of a destination says, whatever it is about. */
import type { Condition } from '../../policy/model/condition.ts';
import type { Limits } from '../../policy/model/destination.ts';
import type { RuleBase } from '../../policy/model/rule.ts';
import { choice, integer, optional, record, required } from '../../schema/decode.ts';
import type { Read } from '../../schema/schema.ts';
import { action, condition, name, rate } from './scalars.ts';

export const NAMED = {
  name: required(name, 'Stands in answers and records; unique in the destination.'),
  effect: required(
    choice(['allow', 'deny']),
    'Deny rules are read first and win; a request that no allow rule matches is denied.',
  ),
  action: optional(
    action,
    'What kind of call it is: read, write, admin, execute or your own word. Needed on ' +
      'allow rules.',
  ),
};

export const LIMITED = {
  when: optional(
    condition,
    'What must hold besides, in CEL: see [conditions.md](conditions.md). Where it cannot ' +
      'be evaluated, a deny rule denies and an allow rule does not allow.',
  ),
  limits: optional(
    record({
      concurrent: optional(
        integer(1, 100_000),
        'Exchanges of each agent at one time; more are refused with 503.',
      ),
      rate: optional(
        rate,
        'Exchanges of each agent in a second, minute or hour; more are refused with 503 ' +
          'and Retry-After.',
      ),
      burst: optional(
        integer(1, 1_000_000),
        'With `rate` alone: how many may come at once after a rest.',
      ),
    }),
    'Allow rules alone: what the calls that this rule allows may take, besides the ' +
      'limits of the destination. At an MCP destination each tool is counted for itself.',
  ),
};

export type RuleDocument = Read<typeof NAMED> & Read<typeof LIMITED>;

/**
 * What was compiled of one document: by the index of the rule, or `own` for the document itself.
 */
export type Conditions = ReadonlyMap<number | 'own', Condition>;

/** The rules that have a key, each with what it is about. */
export function compileRules<R extends RuleDocument, About>(
  rules: readonly R[],
  conditions: Conditions,
  about: (rule: R) => About | undefined,
): readonly (RuleBase & About)[] {
  return Object.freeze(
    rules.flatMap((rule, i) => {
      const part = about(rule);
      return part === undefined
        ? []
        : [Object.freeze({ ...compileBase(rule, conditions.get(i)), ...part })];
    }),
  );
}

function compileBase(
  { name: named, effect, action: done, limits }: RuleDocument,
  when: Condition | undefined,
): RuleBase {
  return {
    name: named,
    effect,
    action: done,
    when,
    limits: limits && Object.freeze({ concurrent: limits.concurrent, rate: compileRate(limits) }),
  };
}

interface RateDocument {
  readonly rate: Omit<NonNullable<Limits['rate']>, 'burst'> | undefined;
  readonly burst: number | undefined;
}

export function compileRate({ rate: written, burst }: RateDocument): Limits['rate'] {
  return written && Object.freeze({ ...written, burst: burst ?? written.count });
}
