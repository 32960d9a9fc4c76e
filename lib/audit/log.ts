/**
 * The evidence log: group commit over one or more sinks. Rules:
 * - records are written in the order of `write`, those of one turn of the event loop (and those
 *   that came while a write was under way) with one write;
 * - at most one write is under way per sink; a record is settled when every sink has it, and fails
 *   when one could not take it;
 * - a failure concerns the records of its batch alone: the next batch tries again, so the log
 *   recovers by itself;
 * - a sink that does not take a batch in its time has failed; until it has taken it, every record
 *   fails at once.
 * Whether a failure refuses the request is decided by who writes (`onFailure`).
 */
import type { Clock } from '../base/clock.ts';
import { Fault } from '../base/fault.ts';
import { ignore } from '../base/signal.ts';
import { encodeRecord } from './encode.ts';
import type { AuditLog } from './record.ts';
import { openSink, type SinkSpec } from './sinks/index.ts';
import type { Sink } from './sinks/sink.ts';

export interface AuditOptions extends LogOptions {
  /** At least one; each must take every record. */
  readonly sinks: readonly SinkSpec[];
}

export interface LogOptions {
  readonly clock: Clock;
  /** Milliseconds in which the sinks must take a batch. */
  readonly timeout: number;
  /** Told when records begin to fail, with why, and with undefined when they are taken again. */
  readonly onChange?: (failure: Fault | undefined) => void;
}

export interface Audit extends AuditLog, AsyncDisposable {
  /** Opens the files anew, after what was written before (SIGHUP). */
  reopen(): Promise<void>;
  /** Bytes of incomplete records that a killed process had left and that were cut off at start. */
  readonly truncatedBytes: number;
  /** Bytes of incomplete records that stay, because their file may only be appended to. */
  readonly incompleteBytes: number;
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
export async function openAudit({ sinks: specs, ...options }: AuditOptions): Promise<Audit> {
  const { clock } = options;
  if (specs.length === 0) throw new TypeError('an audit log needs a sink');
  const sinks: Sink[] = [];
  try {
    for (const spec of specs) sinks.push(await openSink(spec, clock));
  } catch (error) {
    await Promise.all(sinks.map((sink) => sink[Symbol.asyncDispose]()));
    throw error;
  }
  return auditLog(sinks, options);
}

/** A log over sinks that are open, which it owns from here. */
export function auditLog(sinks: readonly Sink[], options: LogOptions): Audit {
  let waiting: Batch | undefined;
  let failures = 0;
  let written = 0;
  let closing: Promise<void> | undefined;
  const limit = stalling(options);

  const then = inTurn();
  const commit = (): Promise<void> | undefined => {
    const batch = waiting;
    waiting = undefined;
    if (batch === undefined) return undefined;
    const failure = limit.stalled() ?? appendAll(sinks, Buffer.from(batch.lines));
    if (failure instanceof Promise)
      return limit.inTime(failure).then((late) => settle(batch, late));
    settle(batch, failure);
    return undefined;
  };
  const changed = onlyChanges(options);
  const settle = (batch: Batch, failure: Fault | undefined): void => {
    changed(failure);
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
      if (closing !== undefined)
        return Promise.reject(new Fault('audit-unavailable', 'the evidence log is closed'));
      if (waiting === undefined) {
        waiting = { lines: '', records: 0, done: Promise.withResolvers<void>() };
        setImmediate(() => ignore(then(commit), 'commit settles its records itself'));
      }
      waiting.lines += encodeRecord(record);
      waiting.records += 1;
      return waiting.done.promise;
    },
    reopen: () => then(async () => throwFirst(await settled(sinks.map((sink) => sink.reopen())))),
    truncatedBytes: sinks.reduce((bytes, sink) => bytes + sink.truncatedBytes, 0),
    incompleteBytes: sinks.reduce((bytes, sink) => bytes + sink.incompleteBytes, 0),
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

/** Runs one act after another, each when the one before it is settled, whatever came of it. */
function inTurn(): (act: () => Promise<void> | undefined) => Promise<void> {
  let chain: Promise<void> = Promise.resolve();
  return (act) => {
    const result = chain.then(act);
    chain = result.then(
      () => {},
      () => {},
    );
    return result;
  };
}

/** Told of every batch, tells when they begin to fail and when they are taken again. */
function onlyChanges({ onChange }: LogOptions): (failure: Fault | undefined) => void {
  let failing = false;
  return (failure) => {
    if (failing === (failure !== undefined)) return;
    failing = failure !== undefined;
    onChange?.(failure);
  };
}

interface Stalling {
  /** Why records fail while a batch that took too long is still under way. */
  stalled(): Fault | undefined;
  /** What came of a batch, or that it takes too long. */
  inTime(append: Promise<Fault | undefined>): Promise<Fault | undefined>;
}

function stalling({ clock, timeout }: LogOptions): Stalling {
  let stalled: Fault | undefined;
  return {
    stalled: () => stalled,
    inTime: (append) =>
      new Promise((resolve) => {
        const cancel = clock.after(timeout, () => resolve((stalled = tooSlow(timeout))), true);
        const settled = append.finally(() => {
          cancel();
          stalled = undefined;
        });
        ignore(settled.then(resolve), 'failures are values here');
      }),
  };
}

function tooSlow(timeout: number): Fault {
  return new Fault(
    'audit-unavailable',
    `a sink of evidence took no records for ${timeout / 1000} s`,
    {
      hint:
        'see who reads it, and its disk; records are taken again as soon as it is done with ' +
        'those before',
    },
  );
}

/**
 * The first failure of a sink, after all of them settled; at once where none has to be waited for.
 */
function appendAll(
  sinks: readonly Sink[],
  lines: Buffer,
): Fault | undefined | Promise<Fault | undefined> {
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
