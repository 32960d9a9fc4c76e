/** A request once it is read: the facts that are judged, and what its protocol keeps to send it. */
import type { Fault } from '../base/fault.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Facts } from '../policy/model/facts.ts';

export interface Described {
  readonly facts: Facts;
  /** The policy by which it was read; undefined: no policy bears on how it is read. */
  readonly policy?: Pick<Policy, 'find'> | undefined;
  /** Why it cannot be decided: it is known well enough to be refused in its own protocol. */
  readonly fault?: Fault | undefined;
}

/** Reads again what was described, where another policy than that judges it. */
export interface Reader {
  /** @throws Fault for what that policy lets nobody send */
  reread(described: Described, policy: Policy): Facts;
}
