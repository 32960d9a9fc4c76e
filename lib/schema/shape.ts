/**
 * What a schema says about itself, as data: messages, the reference pages and a JSON Schema are
 * made from it.
 */
import { type Tree, scalarTree } from './tree.ts';

/** A default as it would be written. */
export type Plain =
  string | number | boolean | readonly Plain[] | { readonly [key: string]: Plain };

export type Shape =
  | {
      readonly kind: 'text';
      readonly is: string;
      readonly example: string;
      /**
       * What every good text matches and some bad ones may too: what editors can check. A regular
       * expression of ECMA-262.
       */
      readonly pattern: string | undefined;
    }
  | {
      readonly kind: 'choice';
      readonly values: readonly string[];
      readonly later: readonly string[];
    }
  | { readonly kind: 'integer'; readonly least: number; readonly most: number }
  | { readonly kind: 'flag' }
  | { readonly kind: 'any'; readonly example: string }
  | {
      readonly kind: 'list';
      readonly item: Shape;
      readonly least: number;
      readonly most: number;
      /** Two equal items are refused. */
      readonly unique: boolean;
    }
  | RecordShape;

export interface RecordShape {
  readonly kind: 'record';
  readonly fields: Readonly<Record<string, FieldShape>>;
  /** Keys of the design that are not built yet: refused by name. */
  readonly later: readonly string[];
}

export interface FieldShape {
  readonly shape: Shape;
  readonly doc: string;
  readonly presence: 'required' | 'optional' | 'default';
  readonly initial: Plain | undefined;
}

/** The name of what is wanted, for messages: `a duration such as 5s`. */
export function wanted(shape: Shape): string {
  switch (shape.kind) {
    case 'text':
      return `${shape.is} such as ${shape.example}`;
    case 'choice':
      return shape.values.length === 1
        ? (shape.values[0] ?? '')
        : `one of ${shape.values.join(', ')}`;
    case 'integer':
      return `a whole number from ${shape.least} to ${shape.most}`;
    case 'flag':
      return 'true or false';
    case 'any':
      return `any value such as ${shape.example}`;
    case 'list':
      return `a list ([a, b]) of ${shape.item.kind === 'record' ? 'maps' : wanted(shape.item)}`;
    case 'record':
      return `a map with the keys ${Object.keys(shape.fields).join(', ')}`;
  }
}

export function plainTree(plain: Plain, holder: Tree): Tree {
  const { at } = holder;
  if (typeof plain !== 'object') return scalarTree(plain, at);
  if (isList(plain))
    return { kind: 'list', at, items: plain.map((item) => plainTree(item, holder)) };
  const entries = Object.entries(plain).map(
    ([key, value]) => [key, { key, keyAt: at, value: plainTree(value, holder) }] as const,
  );
  return { kind: 'map', at, entries: new Map(entries) };
}

function isList(plain: Plain): plain is readonly Plain[] {
  return Array.isArray(plain);
}
