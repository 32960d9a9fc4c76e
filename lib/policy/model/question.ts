/** One exchange put to the protocol of its destination. */
import type { Answer, Condition } from './condition.ts';
import type { AnyService, DestinationOf } from './destination.ts';
import type { Facts } from './facts.ts';

export interface Question<S extends AnyService = AnyService> {
  readonly destination: DestinationOf<S>;
  readonly facts: Facts;
  /** Evaluates a condition; all conditions of one question share what work they may do. */
  ask(condition: Condition): Answer;
}
