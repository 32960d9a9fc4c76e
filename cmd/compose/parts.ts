/** What the parts of a sidecar share while they are put together. */
import type { Audit } from '../../lib/audit/log.ts';
import type { LifecycleRecord } from '../../lib/audit/record.ts';
import type { Cell } from '../../lib/base/cell.ts';
import type { Clock } from '../../lib/base/clock.ts';
import type { Config } from '../../lib/config/load/load.ts';
import type { IdentitySource } from '../../lib/identity/source.ts';
import type { Interception } from '../../lib/interception/authority.ts';
import type { Proxy } from '../../lib/listen/proxy.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { Tasks } from '../../lib/tasks/registry.ts';
import type { Drops } from '../../lib/telemetry/drops.ts';
import type { Logger } from '../../lib/telemetry/logger.ts';
import type { Readiness } from '../../lib/telemetry/readiness.ts';
import type { Budget } from './budget.ts';

/** What the parts share while they are put together. */
export interface Parts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  readonly readiness: Readiness;
  readonly policy: Cell<Policy>;
  readonly audit: Audit;
  readonly budget: Budget;
  readonly drops: Drops;
  /** Records on their way to metrics and log. */
  readonly tell: (event: LifecycleRecord['event'], detail?: LifecycleRecord['detail']) => void;
}

/** Parts that metrics read and that are made after them. */
export interface Late {
  drops?: Drops;
  proxy?: Proxy;
  identity?: IdentitySource;
  audit?: Audit;
  reload?: Reload;
  tasks?: Tasks;
  /** How often each event came. */
  taskEvents?: ReadonlyMap<string, number>;
  interception?: Interception | undefined;
}

export interface Reload extends AsyncDisposable {
  now(): Promise<void>;
  status(): ReloadStatus;
}

interface ReloadStatus {
  readonly policy: number;
  readonly policyDigest: string;
  /** Why the newest configuration is not in force. */
  readonly degraded: string | undefined;
  /** For how many seconds it has not been. */
  readonly stale: number;
}
