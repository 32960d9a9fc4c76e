/** What the parts of a sidecar share while they are put together. */
import type { TaskFeed } from '../../lib/api/task-feed.ts';
import type { Audit } from '../../lib/audit/log.ts';
import type { LifecycleRecord } from '../../lib/audit/record.ts';
import type { Cell } from '../../lib/base/cell.ts';
import type { Clock } from '../../lib/base/clock.ts';
import type { Config } from '../../lib/config/load/load.ts';
import type { IdentitySource } from '../../lib/identity/source.ts';
import type { Interception } from '../../lib/interception/authority.ts';
import type { Proxy } from '../../lib/listen/proxy.ts';
import type { Policy } from '../../lib/policy/decision/policy.ts';
import type { Tasks } from '../../lib/tasks/tasks.ts';
import type { Drops } from '../../lib/telemetry/drops.ts';
import type { Logger } from '../../lib/telemetry/logger.ts';
import type { Readiness } from '../../lib/telemetry/readiness.ts';
import type { Budget } from './budget.ts';

export interface ComposeOptions {
  /** Configuration files and folders. */
  readonly paths: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  readonly clock: Clock;
  /** The operational log, made once its level is known. */
  readonly logger: (level: Config['sidecar']['log']['level']) => Logger;
}

/** What is opened first, and read by all that is opened after it. */
export interface Parts {
  readonly config: Config;
  readonly clock: Clock;
  readonly log: Logger;
  readonly readiness: Readiness;
  readonly policy: Cell<Policy>;
  readonly audit: Audit;
  readonly budget: Budget;
  readonly drops: Drops;
  /** Empty until all of them serve. */
  readonly services: Cell<Services>;
  /** Empty until there is one. */
  readonly interception: Cell<Interception>;
  /** Writes an event of the sidecar to log and evidence. */
  readonly recordEvent: (
    event: LifecycleRecord['event'],
    detail?: LifecycleRecord['detail'],
  ) => void;
}

/** What does the work, once all of it serves. */
export interface Services extends TaskParts {
  readonly identity: IdentitySource;
  readonly audit: Audit;
  readonly proxy: Proxy;
  readonly reload: Reload;
}

export interface TaskParts {
  readonly tasks: Tasks;
  readonly feed: TaskFeed;
  /** How often each event of tasks came. */
  readonly taskEvents: ReadonlyMap<string, number>;
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
