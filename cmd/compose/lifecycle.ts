/** Events of the sidecar itself, in its log and its evidence. */
import type { AddressInfo } from 'node:net';
import type { Audit } from '../../lib/audit/log.ts';
import type { AuditLog, LifecycleRecord } from '../../lib/audit/record.ts';
import type { Clock } from '../../lib/base/clock.ts';
import { ignore } from '../../lib/base/signal.ts';
import type { Level, Logger } from '../../lib/telemetry/logger.ts';
import { placesOf } from './pages.ts';
import type { Parts } from './parts.ts';

/** Events whose part has logged them already, in more words. */
const LOGGED_BY_ITS_PART: ReadonlySet<LifecycleRecord['event']> = new Set([
  'identity-updated',
  'identity-withdrawn',
  'policy-rejected',
]);
const LEVELS: Partial<Readonly<Record<LifecycleRecord['event'], Level>>> = {
  'identity-expired': 'error',
};

export function eventRecorder(audit: AuditLog, clock: Clock, log: Logger): Parts['recordEvent'] {
  return (event, detail = {}) => {
    if (!LOGGED_BY_ITS_PART.has(event)) log.log(LEVELS[event] ?? 'info', 'sidecar', event, detail);
    const record: LifecycleRecord = {
      kind: 'lifecycle',
      time: new Date(clock.now()).toISOString(),
      event,
      detail,
    };
    ignore(
      audit.write(record),
      'the audit log counts its failures, and requests are refused by them',
    );
  };
}

/** Says where it listens and what it has begun with. */
export function announce(
  { audit, budget: { reduced }, config: { policy, sidecar }, log, recordEvent }: Parts,
  addresses: ReadonlyMap<string, AddressInfo>,
): void {
  log.log('info', 'sidecar', `listening: ${placesOf(addresses, sidecar).join(', ')}`);
  if (reduced !== undefined)
    log.log('warn', 'listeners', reduced, { hint: 'raise it: ulimit -n, LimitNOFILE' });
  const left = whatAKillLeft(audit, log);
  const { generation, digest } = policy;
  recordEvent('started', { policy: generation, policyDigest: digest, ...left });
}

function whatAKillLeft(
  { truncatedBytes, incompleteBytes }: Audit,
  log: Logger,
): LifecycleRecord['detail'] {
  const left = 'that a killed process had left';
  if (incompleteBytes > 0) {
    const hint = 'the file may only be appended to; that line does not parse';
    log.log('warn', 'audit', `kept an incomplete record of ${incompleteBytes} bytes ${left}`, {
      hint,
    });
  }
  if (truncatedBytes > 0)
    log.log('warn', 'audit', `cut off an incomplete record of ${truncatedBytes} bytes ${left}`);
  return {
    ...(truncatedBytes > 0 && { truncatedBytes }),
    ...(incompleteBytes > 0 && { incompleteBytes }),
  };
}
