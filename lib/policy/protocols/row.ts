/**
 * A protocol as one row: everything that the house must know of it, so that nothing else asks which
 * protocol a destination has. The table is in index.ts. Methods take the service of their own
 * protocol: a destination is only ever given to the row that its service names.
 */
import type { MatrixRow } from '../model/access-matrix.ts';
import type { Condition, Phase } from '../model/condition.ts';
import type { AnyService, DestinationOf } from '../model/destination.ts';
import type { Facts } from '../model/facts.ts';
import type { Observation, ProposedRule } from '../model/observation.ts';
import type { Permission, Permitted } from '../model/permission.ts';
import type { Question } from '../model/question.ts';
import type { RuleBase } from '../model/rule.ts';
import type { Verdict } from '../model/verdict.ts';

export interface ProtocolRow<S extends AnyService, R extends RuleBase = RuleBase> {
  readonly name: S['protocol'];
  /** Variables of the conditions of its rules, or of its connections. */
  readonly phase: Phase;
  /** Its upstream is spoken to in HTTP/2, whatever the document says. */
  readonly http2: boolean;
  /** Its upstream may be the first to speak. */
  readonly upstreamGreets: boolean;
  /** Its rows of the access matrix. */
  readonly entries: readonly MatrixRow[];
  /** What the destination says of what is asked; the task is asked afterwards. */
  judge(question: Question<S>): Verdict;
  rules(service: S): readonly R[];
  /** What must hold for a connection. */
  condition(service: S): Condition | undefined;
  /** Whether a rule could allow content on a GET, which is refused as malformed otherwise. */
  mayAllowContentOnGet(service: S): boolean;
  /** Why the rule is not about what is asked, its condition apart; undefined: it is. */
  mismatch(rule: R, facts: Facts): string | undefined;
  /** A deny rule about nothing in particular is about all; an allow rule about nothing. */
  permissionsOf(rule: R): readonly Permission[];
  /** What the destination lets through. */
  permitted(destination: DestinationOf<S>): readonly Permitted[];
  /** How data leaves by an allow rule; undefined: it does not, or nobody knows. */
  outflow(rule: R): Outflow | undefined;
  /** A deny rule that leaves out nothing by which data could leave. */
  stopsOutflow(rule: R): boolean;
  /** In words what a change of its service loosens; undefined: nothing. */
  loosened(before: S, after: S): string | undefined;
  /** What is sound and still may surprise; undefined: nothing. */
  note(destination: DestinationOf<S>): Note | undefined;
  /** The least that would allow what was seen. */
  suggest(service: S, seen: readonly Observation[]): readonly ProposedRule[];
}

export interface Outflow {
  /** `GET or HEAD, whose path and query carry` */
  readonly words: string;
  /** What a deny rule against it says it is about: `http: {}`. */
  readonly guard: string;
}

export interface Note {
  readonly message: string;
  readonly fix: string;
}
