/**
 * JSON text to a value and back, strictly (RFC 8259, I-JSON of RFC 7493). Rules:
 * - one reading: two members of one object whose names are equal, or differ in letter case alone (`ſ` and the Kelvin sign included), are refused, as
 *   parsers disagree about which of them counts (the latter can be asked for);
 * - what was read is what is written: members keep their order, numbers their text;
 * - bounded: 64 levels, numbers of 128 characters that a double can hold; UTF-8 without a byte order mark; no lone surrogate, no NUL in a name;
 * - nothing of a value appears in a message.
 */
import { isUtf8 } from 'node:buffer';
import { Fault } from '../base/fault.ts';

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

export const MOST_DEPTH = 64;
const LONGEST_NUMBER = 128;
export const EMPTY: JsonObject = new Map();

/**
 * Throws a Fault `bad-json` that names the offset. `cases`: names that differ in letter case alone are taken, as in data that nothing is decided by; who decides by
 * an object of it asks `hasVariants` first.
 */
export function parseJson(bytes: Uint8Array, { cases = false }: { readonly cases?: boolean } = {}): Json {
  if (!isUtf8(bytes)) throw bad('the text is not UTF-8', 0);
  return new Reader(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8'), cases).whole();
}

/** Whether two names of an object differ in letter case alone. */
export function hasVariants(object: JsonObject): boolean {
  return new Set(Array.from(object.keys(), foldName)).size < object.size;
}

export function isObject(value: Json | undefined): value is JsonObject {
  return value instanceof Map;
}

/** The name in one letter case, for finding names that some parsers take for equal. */
export function foldName(name: string): string {
  return LOWER.test(name) ? name : name.toUpperCase().toLowerCase();
}

const LOWER = /^[a-z0-9_$/.-]*$/;

function bad(what: string, at: number): Fault {
  return new Fault('bad-json', `${what}, at character ${at} of the JSON text`, { at: 'body' });
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
/** A string literal whose quotes, and control characters outside of escapes, are known to be right. */
function unescaped(literal: string, at: number): string {
  let value: string;
  try {
    value = JSON.parse(literal) as string;
  } catch {
    throw bad('an escape that is none', at);
  }
  if (!value.isWellFormed()) throw bad('a string with half of a surrogate pair', at);
  return value;
}

class Reader {
  readonly #text: string;
  readonly #cases: boolean;
  #at = 0;
  #depth = 0;

  constructor(text: string, cases: boolean) {
    this.#text = text;
    this.#cases = cases;
  }

  whole(): Json {
    const value = this.#value();
    this.#space();
    if (this.#at < this.#text.length) throw bad('something follows the value', this.#at);
    return value;
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at += 1;
    }
  }

  #value(): Json {
    this.#space();
    switch (this.#text.charCodeAt(this.#at)) {
      case QUOTE:
        return this.#string();
      case 0x7b:
        return this.#object();
      case 0x5b:
        return this.#array();
      case 0x74:
        return this.#word('true', true);
      case 0x66:
        return this.#word('false', false);
      case 0x6e:
        return this.#word('null', null);
      default:
        return this.#number();
    }
  }

  #word<T>(word: string, value: T): T {
    if (!this.#text.startsWith(word, this.#at)) throw bad('no JSON value', this.#at);
    this.#at += word.length;
    return value;
  }

  #number(): JsonNumber {
    const start = this.#at;
    const short = this.#shortInteger(start);
    if (short > start) {
      this.#at = short;
      return new JsonNumber(this.#text.slice(start, short));
    }
    NUMBER.lastIndex = this.#at;
    const text = NUMBER.exec(this.#text)?.[0];
    if (text === undefined) throw bad('no JSON value', this.#at);
    if (text.length > LONGEST_NUMBER) throw bad(`a number of more than ${LONGEST_NUMBER} characters`, this.#at);
    if (!Number.isFinite(Number(text))) throw bad('a number that no double can hold', this.#at);
    this.#at += text.length;
    return new JsonNumber(text);
  }

  /** Where a whole number of 1 to 15 digits without a sign ends; `start` where there is none. */
  #shortInteger(start: number): number {
    const text = this.#text;
    let at = start;
    let code = text.charCodeAt(at);
    if (code === 0x30) return start;
    while (code >= 0x30 && code <= 0x39) code = text.charCodeAt((at += 1));
    const more = code === 0x2e || code === 0x65 || code === 0x45;
    return more || at - start > 15 ? start : at;
  }

  #string(): string {
    const start = this.#at + 1;
    for (let at = start; ; at += 1) {
      const code = this.#text.charCodeAt(at);
      if (code === QUOTE) {
        this.#at = at + 1;
        return this.#text.slice(start, at);
      }
      if (code === BACKSLASH) return this.#escaped(start, at);
      if (!(code >= 0x20)) throw this.#unfinished(code, at);
    }
  }

  /** A string that has an escape at `at`: its end is found here, its escapes are read by the engine, which knows the same ones (RFC 8259 section 7). */
  #escaped(start: number, at: number): string {
    const text = this.#text;
    for (let i = at; ; i += 1) {
      const code = text.charCodeAt(i);
      if (code === BACKSLASH) i += 1;
      else if (code === QUOTE) {
        this.#at = i + 1;
        return unescaped(text.slice(start - 1, i + 1), start);
      } else if (!(code >= 0x20)) throw this.#unfinished(code, i);
    }
  }

  #unfinished(code: number, at: number): Fault {
    return Number.isNaN(code) ? bad('a string without its end', at) : bad('a control character in a string', at);
  }

  #enter(): void {
    this.#at += 1;
    this.#depth += 1;
    if (this.#depth > MOST_DEPTH) throw bad(`nested deeper than ${MOST_DEPTH} levels`, this.#at);
    this.#space();
  }

  /** Whether the bracket or brace that was entered ends here. */
  #leaves(close: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== close) return false;
    this.#at += 1;
    this.#depth -= 1;
    return true;
  }

  /** Behind a value: the end, or a comma and what follows it. */
  #more(close: number): boolean {
    this.#space();
    if (this.#leaves(close)) return false;
    if (this.#text.charCodeAt(this.#at) !== 0x2c) throw bad('neither a comma nor an end', this.#at);
    this.#at += 1;
    return true;
  }

  #array(): JsonArray {
    this.#enter();
    const items: Json[] = [];
    if (this.#leaves(0x5d)) return items;
    do items.push(this.#value());
    while (this.#more(0x5d));
    return items;
  }

  #object(): JsonObject {
    this.#enter();
    const members = new Map<string, Json>();
    if (this.#leaves(0x7d)) return members;
    let cased = false;
    do {
      this.#space();
      const at = this.#at;
      if (this.#text.charCodeAt(at) !== QUOTE) throw bad('no member name', at);
      const name = this.#string();
      if (!LOWER.test(name)) {
        cased = true;
        if (name.includes('\0')) throw bad('a member name with NUL', at);
      }
      this.#space();
      if (this.#text.charCodeAt(this.#at) !== 0x3a) throw bad('no colon', this.#at);
      this.#at += 1;
      const before = members.size;
      members.set(name, this.#value());
      if (members.size === before) throw bad('a member name that is there twice', at);
    } while (this.#more(0x7d));
    if (cased && !this.#cases && hasVariants(members))
      throw bad('two member names that differ in letter case alone, in the object that ends', this.#at);
    return members;
  }
}

/** JSON text that reads as the same value, without white space. */
export function writeJson(value: Json): string {
  if (typeof value === 'string') return JSON.stringify(value);
  if (value === null || typeof value === 'boolean') return String(value);
  if (value instanceof JsonNumber) return value.text;
  if (!isObject(value)) return writeArray(value, writeJson);
  let text = '';
  for (const [name, member] of value) text += `${text === '' ? '{' : ','}${nameText(name)}:${writeJson(member)}`;
  return text === '' ? '{}' : `${text}}`;
}

function writeArray(values: JsonArray, write: (value: Json) => string): string {
  let text = '[';
  for (const value of values) text += text === '[' ? write(value) : `,${write(value)}`;
  return `${text}]`;
}

function nameText(name: string): string {
  return LOWER.test(name) ? `"${name}"` : JSON.stringify(name);
}

/**
 * The one text of all texts that mean the same (RFC 8785): members sorted by UTF-16 code units, numbers as ECMAScript writes them, save those with more
 * digits than a double keeps, which stay as they are so that no two of them are taken for equal.
 */
export function canonicalJson(value: Json): string {
  if (value instanceof JsonNumber) return canonicalNumber(value.text);
  if (isObject(value)) {
    let text = '';
    for (const name of sortedNames(value))
      text += `${text === '' ? '{' : ','}${nameText(name)}:${canonicalJson(value.get(name) ?? null)}`;
    return text === '' ? '{}' : `${text}}`;
  }
  return isArray(value) ? writeArray(value, canonicalJson) : writeJson(value);
}

function isArray(value: Json): value is JsonArray {
  return Array.isArray(value);
}

function sortedNames(object: JsonObject): readonly string[] {
  const names = [...object.keys()];
  for (let i = 1; i < names.length; i += 1) if ((names[i - 1] ?? '') > (names[i] ?? '')) return names.sort(byCodeUnit);
  return names;
}

const SHORT_INTEGER = /^(?:0|-?[1-9]\d{0,14})$/;

function canonicalNumber(text: string): string {
  if (SHORT_INTEGER.test(text)) return text;
  const digits = text
    .replace(/[eE].*$/, '')
    .replace(/\D/g, '')
    .replace(/^0+/, '');
  return digits.length > 15 ? text : JSON.stringify(Number(text));
}

function byCodeUnit(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}

/** A value as plain data, for conditions. */
export type Plain = null | boolean | string | number | bigint | readonly Plain[] | { readonly [name: string]: Plain };

/** Objects without a prototype; integers that a double does not hold exactly are a bigint. */
export function plainJson(value: Json): Plain {
  if (value instanceof JsonNumber) {
    const { text, value: double } = value;
    return Number.isSafeInteger(double) || !/^-?\d+$/.test(text) ? double : BigInt(text);
  }
  if (isObject(value)) {
    const result: Record<string, Plain> = Object.create(null) as Record<string, Plain>;
    for (const [name, member] of value) result[name] = plainJson(member);
    return result;
  }
  return Array.isArray(value) ? value.map(plainJson) : (value as null | boolean | string);
}
