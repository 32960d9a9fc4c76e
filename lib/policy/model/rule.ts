/**
 * A rule of a destination: what it is called, what it says, and when. What it is about is added by
 * each protocol (lib/policy/protocols).
 */
import type { Condition } from './condition.ts';

export type Effect = 'allow' | 'deny';

export interface RuleBase {
  readonly name: string;
  readonly effect: Effect;
  /** `read`, `write`, `admin`, `execute` or the user's own; undefined on deny rules. */
  readonly action: string | undefined;
  /** What must hold besides; undefined: nothing. */
  readonly when: Condition | undefined;
  /** What the calls that it allows may take; at an MCP destination each tool for itself. */
  readonly limits?: RuleLimits | undefined;
}

export interface RuleLimits {
  /** Exchanges at one time; undefined: as many as the destination has. */
  readonly concurrent: number | undefined;
  readonly rate: Rate | undefined;
}

/** So many in so many milliseconds, and so many at once after a rest. */
export interface Rate {
  readonly count: number;
  readonly per: number;
  readonly burst: number;
  /** As it was written. */
  readonly text: string;
}
