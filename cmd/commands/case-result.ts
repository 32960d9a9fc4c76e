/** What came of one case of a PolicyTest. */
import type { PolicyCase } from '../../lib/config/load/policy-tests.ts';
import type { Decision } from '../../lib/policy/decision/decision.ts';

export interface CaseResult {
  readonly from: PolicyCase;
  /** Why it failed; undefined: it did not. */
  readonly failure: string | undefined;
  /** undefined when it was refused unread. */
  readonly decision: Decision | undefined;
}
