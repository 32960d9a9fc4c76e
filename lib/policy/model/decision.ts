/** What decide() says. */
import type { Destination } from './destination.ts';
import type { Elevation } from './grant.ts';
import type { RuleLimits } from './rule.ts';

/** Why, for machines. Stable names. */
export type DecisionCode =
  | 'allowed'
  | 'reported' // mode: report let through what enforce would deny
  | 'unlisted' // no destination has this host and port
  | 'unlisted-reported' // the same, marked for suggest because unlisted is report
  | 'denied-by-rule'
  | 'no-rule-matched'
  | 'condition-failed' // the condition of a deny rule could not be evaluated
  | 'not-grpc' // no call, at a gRPC destination
  | 'not-mcp' // no message of MCP at the endpoint of an MCP destination
  // a tool is not what it was when it was first seen, or what the policy pins was not seen yet
  | 'definition-changed'
  | 'wrong-entry' // the access matrix does not serve this destination here
  | 'misdirected' // a local listener was asked for another host
  | 'task-required' // the destination is for tasks, and there is none
  | 'outside-grant' // the task was not granted this
  | 'uses-spent' // the task has made all its calls
  // the agent has made all the calls that it may make for now, over all its tasks of the purpose
  | 'quota-spent'
  | 'step-up' // the action waits for an approval
  | 'not-approvable';

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
  readonly elevation: Elevation | undefined;
  readonly policyGeneration: number;
}
