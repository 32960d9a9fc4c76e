/**
 * The evidence log: group commit over one or more sinks. Rules:
 * - records are written in the order of `write`, those of one turn of the event loop (and those that came while a write was under way) with one write;
 * - at most one write is under way per sink; a record is settled when every sink has it, and fails when one could not take it;
 * - a failure concerns the records of its batch alone: the next batch tries again, so the log recovers by itself.
 * Whether a failure refuses the request is decided by who writes (`onFailure`).
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import { encodeRecord } from './encode.ts';
import type { AuditLog } from './record.ts';
import { fileSink, stdoutSink, type Sink } from './sink.ts';

export type SinkSpec = { readonly file: string } | { readonly stdout: true };

export interface AuditOptions {
  /** At least one; each must take every record. */
  readonly sinks: readonly SinkSpec[];
  readonly clock: Clock;
}

export interface Audit extends AuditLog, AsyncDisposable {
  /** Opens the files anew, after what was written before (SIGHUP). */
  reopen(): Promise<void>;
  /** Bytes of half lines that a killed process had left and that were cut off at start. */
  readonly halfLine: number;
  /** Records that could not be written since the start. */
  failures(): number;
  /** Records written since the start. */
  written(): number;
}

interface Batch {
  lines: string;
  records: number;
  readonly done: PromiseWithResolvers<void>;
}

/** Throws a Fault `audit-unavailable` when a sink cannot be opened. */
export async function openAudit({ sinks: specs, clock }: AuditOptions): Promise<Audit> {
  if (specs.length === 0) throw new TypeError('an audit log needs a sink');
  const sinks: Sink[] = [];
  try {
    for (const spec of specs) sinks.push('file' in spec ? await fileSink(spec.file, clock) : stdoutSink(clock));
  } catch (error) {
    await Promise.all(sinks.map((sink) => sink[Symbol.asyncDispose]()));
    throw error;
  }
  return auditLog(sinks);
}

/** A log over sinks that are open, which it owns from here. */
export function auditLog(sinks: readonly Sink[]): Audit {
  let waiting: Batch | undefined;
  /** What is under way; each link begins when the one before it is settled, and never rejects. */
  let chain: Promise<void> = Promise.resolve();
  let failures = 0;
  let written = 0;
  let closing: Promise<void> | undefined;

  const then = (act: () => Promise<void> | undefined): Promise<void> => {
    const result = chain.then(act);
    chain = result.then(
      () => {},
      () => {},
    );
    return result;
  };
  const commit = (): Promise<void> | undefined => {
    const batch = waiting;
    waiting = undefined;
    if (batch === undefined) return undefined;
    const failure = appendAll(sinks, Buffer.from(batch.lines));
    if (failure instanceof Promise) return failure.then((late) => settle(batch, late));
    settle(batch, failure);
    return undefined;
  };
  const settle = (batch: Batch, failure: Fault | undefined): void => {
    if (failure === undefined) {
      written += batch.records;
      batch.done.resolve();
    } else {
      failures += batch.records;
      batch.done.reject(failure);
    }
  };
  return {
    write(record) {
      if (closing !== undefined) return Promise.reject(new Fault('audit-unavailable', 'the evidence log is closed'));
      if (waiting === undefined) {
        waiting = { lines: '', records: 0, done: Promise.withResolvers<void>() };
        setImmediate(() => ignore(then(commit), 'commit settles its records itself'));
      }
      waiting.lines += encodeRecord(record);
      waiting.records += 1;
      return waiting.done.promise;
    },
    reopen: () => then(async () => throwFirst(await settled(sinks.map((sink) => sink.reopen())))),
    halfLine: sinks.reduce((bytes, sink) => bytes + sink.halfLine, 0),
    failures: () => failures,
    written: () => written,
    [Symbol.asyncDispose]() {
      closing ??= then(commit).then(async () =>
        throwFirst(await settled(sinks.map(async (sink) => sink[Symbol.asyncDispose]()))),
      );
      return closing;
    },
  };
}

/** The first failure of a sink, after all of them settled; at once where none has to be waited for. */
function appendAll(sinks: readonly Sink[], lines: Buffer): Fault | undefined | Promise<Fault | undefined> {
  const waits: Promise<void>[] = [];
  let first: Fault | undefined;
  for (const sink of sinks) {
    try {
      const wait = sink.append(lines);
      if (wait !== undefined) waits.push(wait);
    } catch (failure) {
      first ??= Fault.from(failure, 'audit-unavailable');
    }
  }
  if (waits.length === 0) return first;
  return settled(waits).then(([failure]) =>
    failure === undefined ? first : (first ?? Fault.from(failure, 'audit-unavailable')),
  );
}

/** Why those that rejected did. */
async function settled(waits: readonly Promise<void>[]): Promise<unknown[]> {
  const results = await Promise.allSettled(waits);
  return results.filter((result) => result.status === 'rejected').map(({ reason }) => reason);
}

function throwFirst([failure]: readonly unknown[]): void {
  if (failure !== undefined) throw Fault.from(failure, 'audit-unavailable');
}
