/**
 * JSON as values: what lib/schema/json-reader.ts reads and lib/schema/json-writer.ts writes. What
 * was read is what is written: members keep their order, numbers their text.
 */

export type Json = null | boolean | string | JsonNumber | JsonArray | JsonObject;
export type JsonArray = readonly Json[];
export type JsonObject = ReadonlyMap<string, Json>;

/** A number as it was written. */
export class JsonNumber {
  readonly text: string;

  constructor(text: string) {
    this.text = text;
  }

  /** The nearest double. */
  get value(): number {
    return Number(this.text);
  }
}

export const EMPTY: JsonObject = new Map();

export function isObject(value: Json | undefined): value is JsonObject {
  return value instanceof Map;
}

/** Whether two names of an object differ in letter case alone. */
export function hasVariants(object: JsonObject): boolean {
  return new Set(Array.from(object.keys(), foldName)).size < object.size;
}

/** The name in one letter case, for finding names that some parsers take for equal. */
export function foldName(name: string): string {
  return isPlainName(name) ? name : name.toUpperCase().toLowerCase();
}

const PLAIN = /^[a-z0-9_$/.-]*$/;

/** Whether a name is in its letter case already, and needs no escape. */
export function isPlainName(name: string): boolean {
  return PLAIN.test(name);
}

export interface ReadOptions {
  /**
   * It is data that nothing is decided by: deep nesting, numbers that no double holds and names
   * that differ in letter case alone are taken; who decides by an object of it asks `hasVariants`
   * first.
   */
  readonly data?: boolean;
  /**
   * Called where half of a surrogate pair was replaced by U+FFFD; without it such a string is
   * refused.
   */
  readonly onBroken?: () => void;
  /** Gets the place of each value and each name, in the order in which they are read. */
  readonly places?: number[];
}
