/** A task that is asked for, as the condition of its TaskPolicy sees it. */
import type { Grant } from '../model/grant.ts';
import { CONDITION_LIMITS } from './variables.ts';

export interface IntentFacts {
  readonly owner: string | undefined;
  readonly onBehalfOf: string | undefined;
  /** What is left of it: the condition judges what would be granted. */
  readonly grant: Grant;
  /** Milliseconds. */
  readonly lifetime: number;
  readonly isolated: boolean;
  readonly depth: number;
  /** Wall clock, milliseconds. */
  readonly time: number;
}

export class IntentView {
  readonly purpose: string;
  readonly owner: string;
  readonly onBehalfOf: string;
  readonly destinations: readonly string[];
  readonly actions: readonly string[];
  readonly dataClasses: readonly string[];
  readonly lifetime: bigint;
  readonly maxCalls: bigint;
  readonly isolated: boolean;
  readonly depth: bigint;
  readonly time: Date;

  constructor({ owner, onBehalfOf, grant, lifetime, isolated, depth, time }: IntentFacts) {
    this.purpose = grant.purpose;
    this.owner = owner ?? '';
    this.onBehalfOf = onBehalfOf ?? '';
    this.destinations = [...grant.destinations];
    this.actions = [...grant.actions, ...grant.stepUp.keys()];
    this.dataClasses = [...grant.dataClasses];
    // Whole seconds, and no less than it is: a limit is never passed by a part of one.
    this.lifetime = BigInt(Math.ceil(lifetime / 1000));
    this.maxCalls = BigInt(grant.maxCalls);
    this.isolated = isolated;
    this.depth = BigInt(depth);
    this.time = new Date(time);
  }
}

export class IntentContext {
  /** What is left of the work of its conditions. */
  work: number = CONDITION_LIMITS.work;
  readonly intent: IntentView;

  constructor(facts: IntentFacts) {
    this.intent = new IntentView(facts);
  }
}
