/** An audit log in memory, and what its records are read for. */
import type { AuditLog, AuditRecord } from '../../lib/audit/record.ts';
import type { Fault } from '../../lib/base/fault.ts';

/** Keeps records; `fail` makes writing fail as a full disk does. */
export interface MemoryAudit extends AuditLog {
  readonly records: readonly AuditRecord[];
  fail: Fault | undefined;
  /** Resolves before each write when set. */
  before: Promise<void> | undefined;
  /** Of exchanges of agents. */
  of(kind: AuditRecord['kind']): readonly AuditRecord[];
  /** Of what the sidecar itself asked upstreams. */
  own(): readonly AuditRecord[];
}

export function memoryAudit(): MemoryAudit {
  const records: AuditRecord[] = [];
  const isOwn = (record: AuditRecord): boolean =>
    'exchange' in record &&
    records.some(
      (one) =>
        one.kind === 'decided' && one.exchange === record.exchange && one.asker !== undefined,
    );
  return {
    records,
    fail: undefined,
    before: undefined,
    of: (kind) => records.filter((record) => record.kind === kind && !isOwn(record)),
    own: () => records.filter(isOwn),
    async write(record) {
      if (this.fail !== undefined) throw this.fail;
      records.push(record);
      await this.before;
    },
  };
}

/** Whether each exchange has one opening and one closing record. */
export function unpaired(records: readonly AuditRecord[]): readonly string[] {
  const counts = new Map<string, string>();
  for (const record of records) {
    if (
      record.kind === 'lifecycle' ||
      record.kind === 'redecided' ||
      record.kind === 'task' ||
      record.kind === 'refusals'
    )
      continue;
    counts.set(
      record.exchange,
      (counts.get(record.exchange) ?? '') + (record.kind === 'ended' ? 'E' : 'D'),
    );
  }
  return [...counts].filter(([, kinds]) => kinds !== 'DE').map(([id, kinds]) => `${id} ${kinds}`);
}
