/**
 * Every call to the development Workload API passes here first: it is counted, its security header
 * is checked as SPIRE does (exactly one value, `true`), and the faults of transport that a test or
 * a demo switched on befall it. The injector can end a call that is under way with any status.
 */
import {
  type Metadata,
  ServerInterceptingCall,
  type ServerInterceptor,
  status,
} from '@grpc/grpc-js';
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';

type Method =
  'FetchX509SVID' | 'FetchX509Bundles' | 'FetchJWTSVID' | 'FetchJWTBundles' | 'ValidateJWTSVID';

type StatusName = keyof typeof status;

/** How a call ends. `code` is gRPC's name of the status. */
export interface CallStatus {
  readonly code: StatusName;
  readonly details: string;
}

interface FailNext {
  readonly code: StatusName;
  /** Default: what SPIRE says with that code. */
  readonly details?: string;
  /** How many calls; default 1. Infinity until `heal`. */
  readonly calls?: number;
  /** Default all. */
  readonly method?: Method;
}

/** Switches for what goes wrong with calls. */
export interface CallFaults {
  /** Off: calls without the security header are answered too. */
  checkHeader(on: boolean): void;
  failNext(failure: FailNext): void;
  /** The first response of every later call waits this long, ms; 0 ends it. */
  slowFirst(ms: number): void;
  /** Ends the open calls, of one method or of all; `OK` is a clean end of the stream. */
  endCalls(end: CallStatus, method?: Method): void;
  /** Takes back `failNext`, `slowFirst` and `checkHeader(false)`. */
  heal(): void;
  /** Calls received so far, the refused ones included. */
  calls(method?: Method): number;
  /** Calls open now. */
  open(method?: Method): number;
}

/** A call under way, as its handler sees it. */
interface InterceptedCall {
  /** Aborts when the call has ended, whoever ended it. */
  readonly ended: AbortSignal;
  end(end: CallStatus): void;
}

export interface FaultInjector {
  readonly faults: CallFaults;
  readonly interceptor: ServerInterceptor;
  /** The call that came with this metadata object. */
  callOf(metadata: Metadata): InterceptedCall;
}

const HEADER = 'workload.spiffe.io';

const MISSING_HEADER: CallStatus = {
  code: 'INVALID_ARGUMENT',
  details: 'security header missing from request',
};
export const NO_IDENTITY: CallStatus = { code: 'PERMISSION_DENIED', details: 'no identity issued' };

const DETAILS: Partial<Record<StatusName, string>> = {
  INVALID_ARGUMENT: MISSING_HEADER.details,
  PERMISSION_DENIED: NO_IDENTITY.details,
  UNAVAILABLE: 'workload attestation failed',
  UNIMPLEMENTED: 'method not implemented',
  CANCELLED: 'context canceled',
};

interface OpenCall extends InterceptedCall {
  readonly method: Method;
}

export function faultInjector(clock: Clock): FaultInjector {
  const open = new Set<OpenCall>();
  const byMetadata = new WeakMap<Metadata, OpenCall>();
  const counts = new Map<Method, number>();
  const faults = callFaults(open, counts);
  const interceptor: ServerInterceptor = ({ path }, call) => {
    const method = path.slice(path.lastIndexOf('/') + 1) as Method;
    const controller = new AbortController();
    const leave = (): void => {
      open.delete(current);
      if (!controller.signal.aborted)
        controller.abort(new Fault('aborted', `the call of ${method} has ended`));
    };
    const current: OpenCall = {
      method,
      ended: controller.signal,
      end({ code, details }) {
        if (controller.signal.aborted) return;
        leave();
        call.sendStatus({ code: status[code], details, metadata: null });
      },
    };
    open.add(current);
    counts.set(method, (counts.get(method) ?? 0) + 1);
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata(metadata, proceed) {
            byMetadata.set(metadata, current);
            const refusal = faults.judge(method, metadata);
            if (refusal !== undefined) current.end(refusal);
            else if (faults.delay() === 0) proceed(metadata);
            else clock.after(faults.delay(), () => !controller.signal.aborted && proceed(metadata));
          },
          onCancel: leave,
        }),
      sendStatus(end, next) {
        leave();
        next(end);
      },
    });
  };
  return { faults, interceptor, callOf: (metadata) => byMetadata.get(metadata) ?? unknownCall() };
}

interface Judge extends CallFaults {
  judge(method: Method, metadata: Metadata): CallStatus | undefined;
  delay(): number;
}

function callFaults(open: ReadonlySet<OpenCall>, counts: ReadonlyMap<Method, number>): Judge {
  let headerChecked = true;
  let delay = 0;
  let failures: (FailNext & { left: number })[] = [];
  const ofMethod = (method: Method | undefined): OpenCall[] =>
    [...open].filter((call) => method === undefined || call.method === method);
  return {
    checkHeader: (on) => void (headerChecked = on),
    failNext: (failure) => void failures.push({ ...failure, left: failure.calls ?? 1 }),
    slowFirst: (ms) => void (delay = ms),
    endCalls(end, method) {
      for (const call of ofMethod(method)) call.end(end);
    },
    heal() {
      headerChecked = true;
      delay = 0;
      failures = [];
    },
    calls: (method) =>
      method === undefined
        ? [...counts.values()].reduce((sum, count) => sum + count, 0)
        : (counts.get(method) ?? 0),
    open: (method) => ofMethod(method).length,
    delay: () => delay,
    judge(method, metadata) {
      if (headerChecked && !hasHeader(metadata)) return MISSING_HEADER;
      const failure = failures.find((rule) => rule.left > 0 && (rule.method ?? method) === method);
      if (failure === undefined) return undefined;
      failure.left -= 1;
      return {
        code: failure.code,
        details: failure.details ?? DETAILS[failure.code] ?? failure.code,
      };
    },
  };
}

function hasHeader(metadata: Metadata): boolean {
  const values = metadata.get(HEADER);
  return values.length === 1 && values[0] === 'true';
}

function unknownCall(): never {
  throw new TypeError('this call did not come through the injector');
}
