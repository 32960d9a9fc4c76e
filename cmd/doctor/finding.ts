/**
 * What a check of `chaperone doctor` finds, and what it is given to look at. A check never throws
 * and contacts nothing that the operator did not name.
 */
import type { Clock } from '../../lib/base/clock.ts';
import type { Config } from '../../lib/config/load/load.ts';
import type { Endpoint } from '../../lib/identity/address.ts';

export const CHECKS = Object.freeze([
  'configuration',
  'socket',
  'identity',
  'clock',
  'ports',
  'audit',
  'admin',
  'dns',
  'egress',
] as const);

export type CheckName = (typeof CHECKS)[number];

export interface Finding {
  readonly check: CheckName;
  readonly state: 'ok' | 'warn' | 'fail';
  /** One sentence. */
  readonly what: string;
  readonly why?: string;
  /** What to do about it. */
  readonly fix?: string;
}

/** A finding without the name of its check. */
export type Verdict = Omit<Finding, 'check'>;

export interface Patient {
  /** undefined when it cannot be loaded, which is a finding of its own. */
  readonly config: Config | undefined;
  /** undefined when it is not known, which is a finding of its own. */
  readonly endpoint: Endpoint | undefined;
  /** Where the agent should not get to: `host:port` or names of destinations. */
  readonly egress: readonly string[];
  /** Milliseconds for whatever has to be waited for. */
  readonly patience: number;
  readonly clock: Clock;
}

export type Check = (patient: Patient) => Promise<readonly Verdict[]>;

export const ok = (what: string): Verdict => ({ state: 'ok', what });
export const warn = (what: string, why: string, fix: string): Verdict => ({
  state: 'warn',
  what,
  why,
  fix,
});
export const fail = (what: string, why: string, fix: string): Verdict => ({
  state: 'fail',
  what,
  why,
  fix,
});

/** Node's code of an error, or its message. */
export function codeOf(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  return 'code' in failure ? String(failure.code) : failure.message;
}
