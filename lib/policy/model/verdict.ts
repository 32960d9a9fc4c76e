/** What is said of one exchange before its task is asked: the answer of a protocol. */
import type { RuleBase } from './rule.ts';

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

export interface Verdict {
  readonly code: DecisionCode;
  readonly reason: string;
  readonly hint?: string | undefined;
  readonly rule?: RuleBase | undefined;
  /** The action in place of the rule's. */
  readonly action?: string | undefined;
  /** Rules whose conditions could not be evaluated, and why. */
  readonly policyError?: string | undefined;
  /** Part of a conversation: reads what the server says in it, or answers it. */
  readonly conversation?: 'reads' | 'answers' | undefined;
  /** Sends more than one message, so that nobody reads it whole. */
  readonly streams?: boolean | undefined;
}

export function isAllowed({ code }: Pick<Verdict, 'code'>): boolean {
  return code === 'allowed' || code === 'reported';
}
