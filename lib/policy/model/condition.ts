/** A compiled condition, as those see it who ask it. */
import type { Fields } from '../../http/message.ts';
import type { JsonObject } from '../../schema/json.ts';

/** When a condition is asked, which is what decides what is known. */
export type Phase = 'connect' | 'request' | 'mcp' | 'grpc' | 'intent';

/** Names of header fields in lower case; of parameters as they are. */
export interface NamesRead {
  readonly exact: Set<string>;
  /** What is looked for inside of names. */
  readonly parts: Set<string>;
  /** Names that are not written out decide too. */
  loose: boolean;
}

/** Members of the arguments of a tool. */
export interface ArgsRead {
  readonly names: Map<string, ArgsRead>;
  /** Of each member of a list. */
  each: ArgsRead | undefined;
  /** Its keys are looped over, or computed. */
  loose: boolean;
}

export interface Reads {
  readonly fields: NamesRead;
  readonly params: NamesRead;
  readonly args: ArgsRead;
  /** What keys of arguments are compared with, where they are looped over. */
  readonly keys: NamesRead;
}

export type Operator = 'and' | 'or' | 'not' | 'choice' | 'leaf';

/** Why there is no answer. */
export interface NoAnswer {
  readonly problem: string;
}

export type Answer = boolean | NoAnswer;

/**
 * What a condition is evaluated over: lib/policy/conditions makes it from facts or an intent. All
 * conditions of one decision share it, and with it what is left of their work.
 */
export interface ConditionScope {
  /** Units. */
  work: number;
}

export interface Condition {
  readonly text: string;
  readonly phase: Phase;
  /** Variables it reads. */
  readonly variables: ReadonlySet<string>;
  /** Names of fields, parameters and arguments that it reads. */
  readonly reads: Reads;
  /** It reads what was done before (`task.read` and its like). */
  readonly history: boolean;
  evaluate(scope: ConditionScope): Answer;
  /** What it is made of; for explanations. */
  parts(): Parts;
}

export interface Parts {
  readonly op: Operator;
  /** Conditions of their own; [] for one that is not made of others. */
  readonly of: readonly Condition[];
}

/** Each throws a Fault `ambiguous`, which names what is read and nothing that was sent. */
export interface Spellings {
  fields(fields: Fields): void;
  /** `query` with its leading `?`, or ''. */
  params(query: string): void;
  args(args: JsonObject): void;
}
