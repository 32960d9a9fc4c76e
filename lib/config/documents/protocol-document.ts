/** A protocol as documents say it: one row of the table in protocols.ts. */
import type { AnyService } from '../../policy/model/destination.ts';
import type { CheckOf } from './finding.ts';
import type { Conditions } from './rule.ts';

/** `Spec`: what of a Destination it reads. */
export interface ProtocolDocument<
  Spec extends { readonly rules: readonly unknown[] },
  Served extends AnyService,
> {
  /** Keys of a rule that it has. */
  readonly keys: readonly string[];
  /** What to write in a rule that says nothing. */
  readonly example: string;
  /** Its requests have paths that are judged. */
  readonly hasPaths: boolean;
  /** `upstream.http` may be written. */
  readonly choosesHttp: boolean;
  /** Rules over several keys, besides those of every destination. */
  readonly checks: readonly CheckOf<Spec>[];
  /** Whether the rule says what it is about. */
  says(rule: Spec['rules'][number]): boolean;
  /** What a rule allows of which nobody can be shown all; undefined: nothing. */
  unread(rule: Spec['rules'][number]): string | undefined;
  compile(spec: Spec, conditions: Conditions): Served;
}
