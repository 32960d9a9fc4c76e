/** A question whose conditions are evaluated over its facts: their scope is made by the first. */
import type { SpiffeId } from '../../spiffe/id.ts';
import { ConditionContext } from '../conditions/scope.ts';
import type { Answer, Condition } from '../model/condition.ts';
import type { Facts } from '../model/facts.ts';
import type { Question } from '../model/question.ts';
import type { Destination, Service } from '../protocols/index.ts';

export class Evaluation implements Question<Service> {
  readonly destination: Destination;
  readonly facts: Facts;
  readonly #self: SpiffeId | undefined;
  #context: ConditionContext | undefined;

  /** `self`: our own SPIFFE ID; undefined while there is none. */
  constructor(destination: Destination, facts: Facts, self: SpiffeId | undefined) {
    this.destination = destination;
    this.facts = facts;
    this.#self = self;
  }

  ask(condition: Condition): Answer {
    this.#context ??= new ConditionContext(this.facts, this.destination, this.#self);
    return condition.evaluate(this.#context);
  }
}
