/** `audit.sinks` of a Sidecar document, decoded by the table of sinks. */
import { SINKS, type SinkSpec } from '../../audit/sinks/index.ts';
import type { SinkKind } from '../../audit/sinks/sink.ts';
import { list, optional, record, refine, type Refusal } from '../../schema/decode.ts';

const KINDS = Object.entries(SINKS) as unknown as readonly (readonly [
  SinkSpec['kind'],
  SinkKind<unknown>,
])[];

const sink = refine(
  record(Object.fromEntries(KINDS.map(([kind, row]) => [kind, optional(row.schema, row.doc)]))),
  (written): { readonly value: SinkSpec } | Refusal => {
    const [kind, ...more] = KINDS.map(([name]) => name).filter(
      (name) => written[name] !== undefined,
    );
    if (kind !== undefined && more.length === 0 && written[kind] !== false)
      return { value: Object.freeze({ kind, value: written[kind] }) as SinkSpec };
    const examples = KINDS.map(([, { example }]) => example);
    return { message: 'a sink is one place', fix: `write ${examples.join(' or ')}` };
  },
);

export const sinks = list(sink, { least: 1, most: 8, unique: keyOf });

function keyOf({ kind, value }: SinkSpec): string {
  return typeof value === 'string' ? value : kind;
}
