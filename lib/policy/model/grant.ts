/** Rights of a task, as values: the ceiling of a TaskPolicy, the grant of a task, an approval. */
import type { Condition } from './condition.ts';
import type { HostTargets } from './targets.ts';

/** Which calls of an action wait for an approval, and what the approval is good for. */
export interface StepUpPolicy {
  readonly actions: ReadonlySet<string>;
  /**
   * Who may approve: the operator's door, a webhook, or the policy itself (the asking alone, which
   * leaves its record).
   */
  readonly approvers: ReadonlySet<Approver>;
  /** Milliseconds that an approval holds at the most. */
  readonly ttl: number;
  /** Calls; Infinity: any number, of things in which no calls are counted too. */
  readonly maxCalls: number;
  /** An approval covers the call that was shown, and no other. */
  readonly bound: boolean;
  /** Bytes of content that are read whole so that they can be shown and approved. */
  readonly maxBody: number;
}

/** So many in any span of so many milliseconds. */
export interface Quota {
  readonly count: number;
  readonly per: number;
  /** As it was written. */
  readonly text: string;
}

export type Approver = 'operator' | 'webhook' | 'policy';

/** A TaskPolicy document: the most that a task of its purposes may be granted. */
export interface TaskPolicy {
  readonly name: string;
  readonly purposes: readonly string[];
  /** Who may own such a task; undefined: anyone. */
  readonly owners: ReadonlySet<string> | undefined;
  /** Names of the agents that may open one; undefined: all. */
  readonly agents?: ReadonlySet<string> | undefined;
  readonly destinations: ReadonlySet<string>;
  readonly actions: ReadonlySet<string>;
  readonly dataClasses: ReadonlySet<string>;
  /** Milliseconds. */
  readonly lifetime: number;
  readonly maxCalls: number;
  /** For each agent and purpose, over all its tasks. */
  readonly quotas: { readonly tasks?: Quota | undefined; readonly calls?: Quota | undefined };
  /** Tasks under one root, itself counted, at one time. */
  readonly maxOpenTasks: number;
  /** How deep tasks may be derived: 0 is not at all. */
  readonly depth: number;
  /** A task may ask for a history of its own. */
  readonly isolated: boolean;
  readonly stepUp: readonly StepUpPolicy[];
  /** What must hold for a task to be opened or derived; one that cannot be evaluated does not. */
  readonly when: Condition | undefined;
  readonly at: string;
}

/** Intent ∩ ceiling. Frozen; narrowed only by being replaced. */
export interface Grant {
  readonly purpose: string;
  readonly destinations: ReadonlySet<string>;
  /** What of them, where the intent named hosts. */
  readonly hosts?: HostTargets;
  /** What may be done at once. */
  readonly actions: ReadonlySet<string>;
  /** What may be done after a step-up. */
  readonly stepUp: ReadonlyMap<string, StepUpPolicy>;
  readonly dataClasses: ReadonlySet<string>;
  /** Calls in all. */
  readonly maxCalls: number;
}

/** An approved step-up, as a call sees it. */
export interface Approval {
  readonly id: string;
  readonly action: string;
  readonly destination: string;
  /** undefined for a connection, which no rule allows. */
  readonly rule: string | undefined;
  /** `sha-256:` and base64url of the parameters it was approved for; undefined: any. */
  readonly digest: string | undefined;
  /** Only supposed, for tests of policy: of every call of the action. */
  readonly supposed?: true;
}

/** What a decision knows of the task that a request belongs to: one snapshot. */
export interface TaskFacts {
  readonly id: string;
  readonly purpose: string;
  readonly owner: string;
  readonly onBehalfOf: string | undefined;
  readonly depth: number;
  readonly grant: Grant;
  readonly approvals: readonly Approval[];
  /** Calls made so far. */
  readonly uses: number;
  /** What the agent has used up for now, over all its tasks of this purpose. */
  readonly spent?: { readonly quota: string; readonly retryAfter: number } | undefined;
  /**
   * The highest data class that the agent session has read, and written; `none` before the first.
   */
  readonly read: string;
  readonly wrote: string;
  readonly actions: readonly string[];
  readonly destinations: readonly string[];
}
