/** The sources that every exchange reads, each once. */
import type { Cell } from '../base/cell.ts';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import type { Turns } from '../base/turns.ts';
import type { Policy } from '../policy/decision/policy.ts';
import type { Tasks } from '../tasks/tasks.ts';
import type { Identities } from '../upstream/identities.ts';
import type { Evidence } from './evidence.ts';
import type { LiveSet } from './live-set.ts';

export interface ExchangeContext {
  readonly policy: Cell<Policy>;
  readonly identity: Identities;
  readonly clock: Clock;
  readonly live: LiveSet;
  readonly evidence: Evidence;
  /** Bounds what is decided in one turn of the event loop. */
  readonly turns: Turns;
  /** undefined: no task can be open. */
  readonly tasks: Pick<Tasks, 'authenticate' | 'claim' | 'stepUps'> | undefined;
}

/** @throws Fault `shutting-down` before the first policy is loaded */
export function currentPolicy({ policy }: Pick<ExchangeContext, 'policy'>): Policy {
  const current = policy.get();
  if (current !== undefined) return current;
  throw new Fault('shutting-down', 'no policy is loaded yet', {
    hint: 'see /readyz for what is awaited',
  });
}
