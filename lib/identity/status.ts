/**
 * What the Workload API's statuses mean to a client (Workload Endpoint section 6 and appendix A),
 * in one table. CANCELLED is here because a server that is forced to stop sends it: only our own
 * signal says that a call was cancelled by us.
 */
import { status } from '@grpc/grpc-js';
import { Fault } from '../base/fault.ts';
import type { Code } from '../base/fault.ts';
import { quoted } from '../spiffe/trust-domain.ts';

interface StatusRow {
  readonly code: Code;
  /** Asking again with the same request cannot help (section 6: SHOULD NOT retry). */
  readonly final: boolean;
  /** What was supplied by the stream may no longer be used. */
  readonly withdraws: boolean;
  readonly hint: string;
}

const UNAVAILABLE: StatusRow = {
  code: 'workload-api-unavailable',
  final: false,
  withdraws: false,
  hint: 'is the SPIRE agent running, and is this its socket? (on a laptop: chaperone dev)',
};

const ROWS: ReadonlyMap<number, StatusRow> = new Map([
  [
    status.PERMISSION_DENIED,
    {
      code: 'workload-api-denied',
      final: false,
      withdraws: true,
      hint:
        'no registration entry matches this process; compare its selectors with those ' +
        'of the entry',
    },
  ],
  [
    status.INVALID_ARGUMENT,
    {
      code: 'workload-api-refused',
      final: true,
      withdraws: false,
      hint: 'it does not take what we ask as we ask it',
    },
  ],
  [
    status.UNIMPLEMENTED,
    {
      // A server that is half started, or another one on its path; X.509 is no optional profile.
      ...UNAVAILABLE,
      hint: 'what listens there does not offer this; is it a Workload API at all?',
    },
  ],
]);

function codeOf(cause: unknown): number | undefined {
  if (typeof cause !== 'object' || cause === null || !('code' in cause)) return undefined;
  return typeof cause.code === 'number' ? cause.code : undefined;
}

function rowOf(fault: Fault): StatusRow {
  return ROWS.get(codeOf(fault.cause) ?? status.UNKNOWN) ?? UNAVAILABLE;
}

/** A failed call as a Fault that keeps the status; `what` is the method's name. */
export function callFault(failure: unknown, what: string): Fault {
  if (failure instanceof Fault) return failure;
  const number = codeOf(failure) ?? status.UNKNOWN;
  const { code, hint } = ROWS.get(number) ?? UNAVAILABLE;
  const details =
    failure instanceof Error
      ? 'details' in failure
        ? String(failure.details)
        : failure.message
      : '';
  const away = unreached(details);
  if (away !== undefined)
    return new Fault(code, `the Workload API is not reached (${statusName(number)}): ${away}`, {
      hint,
      cause: failure,
    });
  return new Fault(
    code,
    `the Workload API answered ${what} with ${statusName(number)}: ${quoted(details)}`,
    {
      hint,
      cause: failure,
    },
  );
}

/** By the system's code, what it means for a socket that was dialled. */
const AWAY: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such socket',
  ECONNREFUSED: 'nobody listens there',
  EACCES: 'this user may not enter its folder, or use the socket',
  ENOTDIR: 'part of the path is no folder',
};

/** In place of what the gRPC library says of a connection that it could not make. */
function unreached(details: string): string | undefined {
  const [, code = '', at = ''] = /connect (E[A-Z]+) (\S+)/.exec(details) ?? [];
  const words = AWAY[code];
  return words === undefined ? undefined : `${quoted(at.replace(/\.$/, ''))}: ${words} (${code})`;
}

/** The end of a stream that should have stayed open. */
export function endFault(what: string): Fault {
  return new Fault('workload-api-unavailable', `the Workload API closed the stream of ${what}`, {
    hint: UNAVAILABLE.hint,
    cause: { code: status.OK },
  });
}

function statusName(number: number): string {
  return status[number] ?? `status ${number}`;
}

/**
 * The gRPC status that a Fault of a call came from, such as `UNAVAILABLE`; `OK` for a stream that
 * ended; for metrics.
 */
export function statusOf(fault: Fault): string {
  return statusName(codeOf(fault.cause) ?? status.UNKNOWN);
}

/** Whether to stop asking (InvalidArgument). */
export function isFinal(fault: Fault): boolean {
  return rowOf(fault).final;
}

/** Whether what the stream supplied may no longer be used (PermissionDenied). */
export function withdraws(fault: Fault): boolean {
  return rowOf(fault).withdraws;
}
