/**
 * Decoders: a schema is data that says what is wanted (shape) and reads a tree into a typed value.
 * A decoder never throws; it adds every problem it finds, with place and fix, and goes on, so that
 * one run names them all. Only this file and its callers in this folder turn unknown into typed.
 */
import { Fault } from '../base/fault.ts';
import { nearest } from '../base/nearest.ts';
import { quote } from '../net/host.ts';
import { MAX_SHOWN } from './problem.ts';
import { RENAMED } from './renamed.ts';
import {
  type Field,
  type Fields,
  type Read,
  type Reading,
  type Schema,
  below,
  fail,
  mismatch,
  shown,
} from './schema.ts';
import { type Plain, type RecordShape, type Shape, plainTree, wanted } from './shape.ts';
import { type Tree, scalarTree } from './tree.ts';

/** Words that other readers of YAML take for booleans. */
const AMBIGUOUS = /^(?:y|yes|n|no|on|off)$/i;

/** Text that is text for every reader of YAML. */
function textOf(tree: Tree, reading: Reading, shape: Shape): string | undefined {
  if (tree.kind !== 'scalar' || tree.value === null) return mismatch(reading, tree, shape);
  if (typeof tree.value !== 'string') {
    return fail(
      reading,
      tree,
      `${shown(tree)} is a ${typeof tree.value}, not text`,
      `write ${wanted(shape)}, in quotes if it is text`,
    );
  }
  if (tree.plain !== undefined && AMBIGUOUS.test(tree.plain)) {
    return fail(
      reading,
      tree,
      `${tree.plain} without quotes is a boolean to some readers of YAML`,
      `put it in quotes: "${tree.plain}"`,
    );
  }
  return tree.value;
}

interface TextOptions<T> {
  /** With its article: `a duration`. */
  readonly is: string;
  readonly example: string;
  /** Throws a Fault whose message says what is wrong and whose hint says the fix. */
  readonly parse: (text: string) => T;
  /** What every text that parses matches, for editors. */
  readonly grammar?: RegExp;
}

/** Text with a grammar. */
export function text<T>({ is, example, parse, grammar }: TextOptions<T>): Schema<T> {
  const shape: Shape = Object.freeze({ kind: 'text', is, example, pattern: grammar?.source });
  return {
    shape,
    read(tree, reading) {
      const written = textOf(tree, reading, shape);
      if (written === undefined) return undefined;
      try {
        return { value: parse(written) };
      } catch (error) {
        const { message, hint } = Fault.from(error, 'config');
        return fail(reading, tree, message, hint ?? `write ${wanted(shape)}`);
      }
    },
  };
}

/** One of a few words; `later` are words of the design that are not built yet. */
export function choice<const V extends string>(
  values: readonly V[],
  later: readonly string[] = [],
): Schema<V> {
  const shape: Shape = Object.freeze({ kind: 'choice', values, later });
  return {
    shape,
    read(tree, reading) {
      const written = textOf(tree, reading, shape);
      if (written === undefined) return undefined;
      const value = values.find((one) => one === written);
      if (value !== undefined) return { value };
      if (later.includes(written))
        return fail(reading, tree, `${written} is not supported yet`, `write ${wanted(shape)}`);
      const near = nearest(written, values);
      const fix =
        near === undefined
          ? `write ${wanted(shape)}`
          : `did you mean ${near}? Wanted is ${wanted(shape)}`;
      return fail(reading, tree, `${quote(written)} is not known here`, fix);
    },
  };
}

export function integer(least: number, most: number): Schema<number> {
  const shape: Shape = Object.freeze({ kind: 'integer', least, most });
  return {
    shape,
    read(tree, reading) {
      if (tree.kind !== 'scalar' || typeof tree.value !== 'number')
        return mismatch(reading, tree, shape);
      const decimal = tree.plain === undefined || /^(?:0|-?[1-9]\d*)$/.test(tree.plain);
      const fits =
        decimal && Number.isSafeInteger(tree.value) && tree.value >= least && tree.value <= most;
      return fits ? { value: tree.value } : mismatch(reading, tree, shape);
    },
  };
}

export function flag(): Schema<boolean> {
  const shape: Shape = Object.freeze({ kind: 'flag' });
  return {
    shape,
    read(tree, reading) {
      if (tree.kind === 'scalar' && typeof tree.value === 'boolean') return { value: tree.value };
      return mismatch(reading, tree, shape);
    },
  };
}

interface ListOptions<T> {
  readonly least?: number;
  readonly most?: number;
  /** Two items with one key are refused. */
  readonly unique?: (item: T) => string;
}

export function list<T>(
  item: Schema<T>,
  { least = 0, most = 10_000, unique }: ListOptions<T> = {},
): Schema<readonly T[]> {
  const shape: Shape = Object.freeze({
    kind: 'list',
    item: item.shape,
    least,
    most,
    unique: unique !== undefined,
  });
  return {
    shape,
    read(tree, reading) {
      if (tree.kind !== 'list') {
        const fix =
          tree.kind === 'scalar' && tree.value !== null
            ? `write [${shown(tree)}]`
            : `write ${wanted(shape)}`;
        return fail(reading, tree, `${shown(tree)} is not what is wanted here`, fix);
      }
      const { items } = tree;
      if (items.length < least)
        fail(reading, tree, 'the list is too short', `write at least ${least}`);
      if (items.length > most)
        fail(reading, tree, `the list has ${items.length} items`, `write at most ${most}`);
      const keys = new Set<string>();
      const outcomes = items.slice(0, most).map((one, i) => {
        const outcome = item.read(one, below(reading, i));
        const key = outcome && unique?.(outcome.value);
        if (key === undefined) return outcome;
        if (keys.has(key))
          return fail(below(reading, i), one, `${quote(key)} is there twice`, 'keep one');
        keys.add(key);
        return outcome;
      });
      const values = outcomes.flatMap((outcome) => (outcome === undefined ? [] : [outcome.value]));
      const whole = values.length === items.length && items.length >= least && items.length <= most;
      return whole ? { value: Object.freeze(values) } : undefined;
    },
  };
}

/** A map of known keys. Unknown ones and ones that are not built yet are problems. */
export function record<const F extends Fields>(
  fields: F,
  later: readonly string[] = [],
): Schema<Read<F>> {
  const shapes = Object.fromEntries(
    Object.entries(fields).map(([name, field]) => [name, field.shape]),
  );
  const shape: RecordShape = Object.freeze({ kind: 'record', fields: shapes, later });
  return {
    shape,
    read(tree, reading) {
      if (tree.kind !== 'map') return mismatch(reading, tree, shape);
      let whole = knownKeys(tree, shape, reading);
      const result: Record<string, unknown> = {};
      for (const [name, field] of Object.entries(fields)) {
        const outcome = field.read(tree.entries.get(name)?.value, tree, below(reading, name));
        if (outcome === undefined) whole = false;
        else result[name] = outcome.value;
      }
      return whole ? { value: Object.freeze(result) as Read<F> } : undefined;
    },
  };
}

function knownKeys(
  tree: Extract<Tree, { kind: 'map' }>,
  shape: RecordShape,
  reading: Reading,
): boolean {
  const names = Object.keys(shape.fields);
  let known = true;
  for (const { key, keyAt } of tree.entries.values()) {
    if (names.includes(key)) continue;
    known = false;
    const at = scalarTree(null, keyAt);
    const inside = below(reading, key);
    if (shape.later.includes(key)) {
      fail(
        inside,
        at,
        `the key ${key} is not supported yet`,
        'remove it: it would not be enforced',
      );
      continue;
    }
    const renamed = RENAMED.get(key);
    if (renamed !== undefined && names.includes(renamed)) {
      fail(inside, at, `${key} is called ${renamed} now`, `write ${renamed}`);
      continue;
    }
    // Past what is shown nobody is helped by a likely name, which is costly to find.
    const near =
      reading.problems.size < MAX_SHOWN ? nearest(key, [...names, ...shape.later]) : undefined;
    const fix = near === undefined ? `known here are ${names.join(', ')}` : `did you mean ${near}?`;
    fail(reading, at, `unknown key ${quote(key)}`, fix);
  }
  return known;
}

/** A key that must be there. */
export function required<T>(schema: Schema<T>, doc: string): Field<T> {
  return {
    shape: { shape: schema.shape, doc, presence: 'required', initial: undefined },
    read(tree, holder, reading) {
      if (tree !== undefined) return schema.read(tree, reading);
      return fail(reading, holder, 'the key is missing', `write ${wanted(schema.shape)}`);
    },
  };
}

/** A key that may be left out; undefined then. */
export function optional<T>(schema: Schema<T>, doc: string): Field<T | undefined> {
  return {
    shape: { shape: schema.shape, doc, presence: 'optional', initial: undefined },
    read: (tree, _holder, reading) =>
      tree === undefined ? { value: undefined } : schema.read(tree, reading),
  };
}

/** A key with a default, given as it would be written. */
export function defaulted<T>(schema: Schema<T>, initial: Plain, doc: string): Field<T> {
  return {
    shape: { shape: schema.shape, doc, presence: 'default', initial },
    read: (tree, holder, reading) => schema.read(tree ?? plainTree(initial, holder), reading),
  };
}

/**
 * A schema whose values go through `step`, which may find another problem: it returns the value, or
 * message and fix.
 */
export function refine<T, U>(
  schema: Schema<T>,
  step: (value: T) => { readonly value: U } | Refusal,
): Schema<U> {
  return {
    shape: schema.shape,
    read(tree, reading) {
      const outcome = schema.read(tree, reading);
      if (outcome === undefined) return undefined;
      const next = step(outcome.value);
      return 'value' in next ? next : fail(reading, tree, next.message, next.fix);
    },
  };
}

export interface Refusal {
  readonly message: string;
  readonly fix: string;
}
