/** A protocol as documents say it: one row of the table in protocols.ts. */
import type { Service } from '../../policy/protocols/index.ts';
import type { CheckOf } from './finding.ts';
import type { Conditions } from './rule.ts';

/** `Spec`: what of a Destination it reads. */
export interface ProtocolDocument<Spec, Served extends Service = Service> {
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
  says(rule: SaidKeys): boolean;
  /** What a rule allows of which nobody can be shown all; undefined: nothing. */
  unread(rule: UnreadKeys): string | undefined;
  compile(spec: Spec, conditions: Conditions): Served;
}

export type SaidKeys = Readonly<Partial<Record<'http' | 'mcp' | 'grpc', object | undefined>>>;

export interface UnreadKeys {
  readonly http?: { readonly websocket: boolean } | undefined;
  readonly grpc?: { readonly streaming: boolean } | undefined;
}
