/** A schema: data that says what is wanted, and reads a tree into a typed value. */
import { quote } from '../net/host.ts';
import type { Problems } from './problem.ts';
import { type FieldShape, type Shape, wanted } from './shape.ts';
import { type Step, type Tree, pathText } from './tree.ts';

/** A value, or undefined when there was a problem (which has been added). */
type Outcome<T> = { readonly value: T } | undefined;

export interface Schema<T> {
  readonly shape: Shape;
  read(tree: Tree, reading: Reading): Outcome<T>;
}

/** Where the decoder is and whom it tells. */
export interface Reading {
  readonly problems: Problems;
  readonly steps: readonly Step[];
}

export interface Field<T> {
  readonly shape: FieldShape;
  /** `tree` is undefined when the key is not there; `holder` is the map. */
  read(tree: Tree | undefined, holder: Tree, reading: Reading): Outcome<T>;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;

export type Read<F extends Fields> = {
  readonly [K in keyof F]: F[K] extends Field<infer T> ? T : never;
};

export type Infer<S> = S extends Schema<infer T> ? T : never;

/** Adds a problem at a node; the outcome is none. */
export function fail(
  { problems, steps }: Reading,
  at: Tree,
  message: string,
  fix: string,
): undefined {
  problems.add({ at: at.at, path: pathText(steps), message, fix });
  return undefined;
}

export function below(reading: Reading, step: Step): Reading {
  return { problems: reading.problems, steps: [...reading.steps, step] };
}

/** What stands there, for messages. */
export function shown(tree: Tree): string {
  if (tree.kind === 'map') return 'a map';
  if (tree.kind === 'list') return 'a list';
  if (tree.value === null) return 'nothing';
  return typeof tree.value === 'string' ? quote(tree.value) : (tree.plain ?? String(tree.value));
}

export function mismatch(reading: Reading, tree: Tree, shape: Shape): undefined {
  return fail(reading, tree, `${shown(tree)} is not what is wanted here`, `write ${wanted(shape)}`);
}
