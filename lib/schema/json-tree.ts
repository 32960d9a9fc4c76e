/**
 * JSON text to a tree, for the decoders of documents: bodies of APIs are read by the reader that
 * reads messages, whose work is a matter of their length alone, and never as YAML, which is for
 * files.
 */
import { Fault } from '../base/fault.ts';
import { isObject, type Json, JsonNumber } from './json.ts';
import { parseText } from './json-reader.ts';
import type { Place } from './problem.ts';
import type { Entry, Tree } from './tree.ts';

/** @throws Fault `malformed` with the place, for what is no JSON text */
export function parseJsonTree(source: string, text: string): Tree {
  const places: number[] = [];
  return new Planter(source, text, places).tree(valueOf(source, text, places));
}

function valueOf(source: string, text: string, places: number[]): Json {
  try {
    return parseText(text, { places });
  } catch (failure) {
    const { message } = Fault.from(failure, 'malformed');
    throw new Fault('malformed', `${source}: ${message}`, {
      hint: 'send one JSON object (RFC 8259)',
    });
  }
}

/** Goes over the value in the order in which it was read. */
class Planter {
  readonly #file: string;
  readonly #places: readonly number[];
  /** Where each line begins. */
  readonly #lines: readonly number[];
  #next = 0;

  constructor(file: string, text: string, places: readonly number[]) {
    this.#file = file;
    this.#places = places;
    this.#lines = [0, ...Array.from(text.matchAll(/\n/g), ({ index }) => index + 1)];
  }

  tree(value: Json): Tree {
    const at = this.#place();
    if (isObject(value)) {
      const entries = new Map<string, Entry>();
      for (const [key, member] of value) {
        const keyAt = this.#place();
        entries.set(key, { key, keyAt, value: this.tree(member) });
      }
      return { kind: 'map', at, entries };
    }
    if (value instanceof JsonNumber)
      return { kind: 'scalar', at, value: value.value, plain: value.text };
    if (typeof value === 'object' && value !== null)
      return { kind: 'list', at, items: value.map((item) => this.tree(item)) };
    return { kind: 'scalar', at, value, plain: undefined };
  }

  #place(): Place {
    const at = this.#places[this.#next] ?? 0;
    this.#next += 1;
    let [low, high] = [0, this.#lines.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lines[middle] ?? 0) <= at) low = middle;
      else high = middle - 1;
    }
    return { file: this.#file, line: low + 1, column: at - (this.#lines[low] ?? 0) + 1 };
  }
}
