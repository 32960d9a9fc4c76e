/** What a sink of evidence is, and what a kind of sink is to the configuration. */
import type { Clock } from '../../base/clock.ts';
import { Fault } from '../../base/fault.ts';
import type { Schema } from '../../schema/schema.ts';

export interface Sink extends AsyncDisposable {
  /** Bytes of an incomplete record that were cut off when it was opened first. */
  readonly truncatedBytes: number;
  /** Bytes of one that may not be cut off. */
  readonly incompleteBytes: number;
  /**
   * Appends whole lines; undefined when it has done so already. Throws or rejects with a Fault
   * `audit-unavailable`. Never called again before it settled.
   */
  append(lines: Buffer): Promise<void> | undefined;
  /** Opens the path anew, where there is one. */
  reopen(): Promise<void>;
}

/** One kind of sink: its key in `audit.sinks`, and what opens it. */
export interface SinkKind<V> {
  /** Of the value under its key. */
  readonly schema: Schema<V>;
  readonly doc: string;
  /** As it is written in a document, for messages. */
  readonly example: string;
  /** The value with a path of the document made absolute. */
  absolute(value: V, absolute: (path: string) => string): V;
  /** @throws Fault `audit-unavailable` where it cannot be opened */
  open(value: V, clock: Clock): Promise<Sink>;
}

export const LINE_END = 0x0a;
export const CLOSED = new Fault('audit-unavailable', 'the evidence log is closed');

export function unavailable(name: string, error: unknown): Fault {
  const code = error instanceof Error && 'code' in error ? String(error.code) : '';
  const hint =
    code === 'ENOSPC' || code === 'EDQUOT'
      ? 'make room: requests are allowed again as soon as records can be written'
      : 'check the path, its folder and who may write there';
  const reason = error instanceof Error ? error.message : String(error);
  return new Fault('audit-unavailable', `cannot write evidence to ${name}: ${reason}`, {
    hint,
    cause: error,
  });
}
