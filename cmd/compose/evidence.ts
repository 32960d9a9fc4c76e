/** Whether evidence can be written, as /readyz says it: without it every request is refused. */
import type { Audit } from '../../lib/audit/log.ts';
import type { Fault } from '../../lib/base/fault.ts';
import type { Pending, Readiness } from '../../lib/telemetry/readiness.ts';
import type { Parts } from './parts.ts';

/**
 * How often a record is tried while none is taken, in milliseconds: agents that were refused may
 * not come back.
 */
const RETRY_MS = 2000;

export interface EvidenceState {
  /** For the log, which tells when records begin to fail and when they are taken again. */
  readonly changed: (failure: Fault | undefined) => void;
  /** Tries a record now and then while none is taken; returns how to stop that. */
  retry(parts: Pick<Parts, 'clock' | 'recordEvent'>, audit: Pick<Audit, 'failures'>): () => void;
}

/** Where a failure lets requests pass (`continue`) the sidecar stays ready. */
export function evidenceState(readiness: Readiness, onFailure: 'deny' | 'continue'): EvidenceState {
  let failing = false;
  let pending: Pending | undefined;
  return {
    changed(failure) {
      failing = failure !== undefined;
      if (onFailure === 'continue') return;
      if (failure === undefined) pending?.done();
      else if (pending === undefined) pending = readiness.pending('evidence', failure.message);
      else pending.undone(failure.message);
    },
    retry: ({ clock, recordEvent }, audit) => {
      let cancel = (): void => {};
      const next = (): void => {
        if (failing) recordEvent('evidence-resumed', { failures: audit.failures() });
        cancel = clock.after(RETRY_MS, next);
      };
      cancel = clock.after(RETRY_MS, next);
      return () => cancel();
    },
  };
}
