/** What decide() says. */
import type { Destination } from '../protocols/index.ts';
import type { Approval } from '../model/grant.ts';
import type { RuleLimits } from '../model/rule.ts';
import type { DecisionCode } from '../model/verdict.ts';

export interface Decision {
  readonly effect: 'allow' | 'deny';
  readonly code: DecisionCode;
  /** One sentence for people: the same words in the 403 body, in the record and in `explain`. */
  readonly reason: string;
  readonly hint: string | undefined;
  /** Seconds after which it may be decided otherwise. */
  readonly retryAfter?: number | undefined;
  readonly destination: Destination | undefined;
  /** Name of the rule that decided. */
  readonly rule: string | undefined;
  readonly action: string | undefined;
  /** It belongs to a conversation and takes no use of a task: handshake, lists, streams. */
  readonly unused?: boolean | undefined;
  /**
   * Rules whose conditions could not be evaluated, and why, whatever came of it; never a value of
   * the request.
   */
  readonly policyError: string | undefined;
  /** What an approval of this call is bound to: it needs one, or lives on one. */
  readonly parameters?: string | undefined;
  /** Content of up to so many bytes must be read before this can be decided. */
  readonly unread?: number | undefined;
  /** What calls of the rule that allowed it may take. */
  readonly limits: RuleLimits | undefined;
  /** The approved step-up that it lives on. */
  readonly approval: Approval | undefined;
  readonly policyGeneration: number;
}
