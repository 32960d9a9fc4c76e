/**
 * The kinds of sinks, by their key in `audit.sinks`: a kind is one row here and one file beside it.
 */
import type { Clock } from '../../base/clock.ts';
import { fileKind } from './file.ts';
import type { Sink, SinkKind } from './sink.ts';
import { stdoutKind } from './stdout.ts';

export const SINKS = Object.freeze({ file: fileKind, stdout: stdoutKind });

type Kinds = typeof SINKS;
type ValueOf<K> = K extends SinkKind<infer V> ? V : never;

/** A sink of a configuration. */
export type SinkSpec = {
  readonly [K in keyof Kinds]: { readonly kind: K; readonly value: ValueOf<Kinds[K]> };
}[keyof Kinds];

export function openSink({ kind, value }: SinkSpec, clock: Clock): Promise<Sink> {
  return (SINKS[kind] as SinkKind<unknown>).open(value, clock);
}

/** The sink with paths of its document made absolute. */
export function absoluteSink(spec: SinkSpec, absolute: (path: string) => string): SinkSpec {
  const row = SINKS[spec.kind] as SinkKind<unknown>;
  return Object.freeze({ ...spec, value: row.absolute(spec.value, absolute) }) as SinkSpec;
}
