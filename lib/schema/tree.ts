/**
 * A document as plain nodes with places: what lib/schema/yaml.ts makes and decoders read. Keys are
 * strings, each once.
 */
import type { Place } from './problem.ts';

export interface Entry {
  readonly key: string;
  readonly keyAt: Place;
  readonly value: Tree;
}

export type Scalar = string | number | boolean | null;

export type Tree =
  | { readonly kind: 'map'; readonly at: Place; readonly entries: ReadonlyMap<string, Entry> }
  | { readonly kind: 'list'; readonly at: Place; readonly items: readonly Tree[] }
  | {
      readonly kind: 'scalar';
      readonly at: Place;
      readonly value: Scalar;
      /** As written, when it was written without quotes. */
      readonly plain: string | undefined;
    };

export type Step = string | number;

/** The node at the end of the steps; the deepest one on the way when it is not there. */
export function locate(tree: Tree, steps: readonly Step[]): Tree {
  let node = tree;
  for (const step of steps) {
    const next = child(node, step);
    if (next === undefined) return node;
    node = next;
  }
  return node;
}

function child(node: Tree, step: Step): Tree | undefined {
  if (node.kind === 'map')
    return typeof step === 'string' ? node.entries.get(step)?.value : undefined;
  return node.kind === 'list' && typeof step === 'number' ? node.items[step] : undefined;
}

/** `spec.rules[2].http` */
export function pathText(steps: readonly Step[]): string {
  return steps.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${step}]`;
    return text === '' ? step : `${text}.${step}`;
  }, '');
}

/** Canonical JSON: keys sorted, places gone. Equal documents, equal text. */
export function canonicalJson(tree: Tree): string {
  switch (tree.kind) {
    case 'scalar':
      return JSON.stringify(tree.value);
    case 'list':
      return `[${tree.items.map(canonicalJson).join(',')}]`;
    case 'map': {
      const entries = [...tree.entries.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
      return `{${entries.map(({ key, value }) => `${JSON.stringify(key)}:${canonicalJson(value)}`).join(',')}}`;
    }
  }
}

export function scalarTree(value: Scalar, at: Place): Tree {
  return { kind: 'scalar', at, value, plain: undefined };
}
