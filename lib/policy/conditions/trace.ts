/**
 * A condition taken apart at `&& || ! ?:`: which part came out how. For explanations and lints
 * alone; each part is a condition of its own, so a trace asks exactly what the whole asks. What a
 * loop binds stays inside of it.
 */
import type { Answer, Condition } from '../model/condition.ts';
import type { ConditionContext } from './scope.ts';

export interface ConditionTrace {
  readonly text: string;
  /** `true`, `false`, or why there is no answer. */
  readonly answer: string;
  readonly parts: readonly ConditionTrace[];
}

/**
 * `context` makes a new one for each part, so that what one part scans is not missing for the next.
 */
export function trace(condition: Condition, context: () => ConditionContext): ConditionTrace {
  const parts = condition.parts().of.map((part) => trace(part, context));
  return { text: condition.text, answer: words(condition.evaluate(context())), parts };
}

function words(answer: Answer): string {
  return typeof answer === 'boolean' ? String(answer) : answer.problem;
}

/**
 * What a condition is whatever is asked: true or false; undefined where that depends. `context` is
 * read for nothing but its bounds.
 */
export function constantOf(condition: Condition, context: ConditionContext): boolean | undefined {
  if (condition.variables.size === 0) {
    const answer = condition.evaluate(context);
    return typeof answer === 'boolean' ? answer : undefined;
  }
  const { op, of } = condition.parts();
  const inner = of.map((part) => constantOf(part, context));
  if (op === 'not') return inner[0] === undefined ? undefined : !inner[0];
  if (op === 'and') return inner.includes(false) ? false : all(inner, true);
  if (op === 'or') return inner.includes(true) ? true : all(inner, false);
  if (op !== 'choice') return undefined;
  const [which, one, other] = inner;
  if (which !== undefined) return which ? one : other;
  return one === other ? one : undefined;
}

function all(inner: readonly (boolean | undefined)[], value: boolean): boolean | undefined {
  return inner.every((one) => one === value) ? value : undefined;
}
