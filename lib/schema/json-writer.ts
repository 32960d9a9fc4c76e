/**
 * JSON values to text, without white space; a long text in pieces, so that who writes can give way.
 */
import {
  isObject,
  isPlainName,
  type Json,
  type JsonArray,
  JsonNumber,
  type JsonObject,
} from './json.ts';

/** JSON text that reads as the same value. */
export function writeJson(value: Json): string {
  return new JsonWriter(value, 'as it is').write(Infinity);
}

/**
 * The one text of all texts that mean the same (RFC 8785): members sorted by UTF-16 code units,
 * numbers as ECMAScript writes them, save those with more digits than a double keeps or past all
 * doubles, which stay as they are so that no two of them are taken for equal.
 */
export function canonicalJson(value: Json): string {
  return new JsonWriter(value, 'canonical').write(Infinity);
}

/** A list or object that is being written. */
class Frame {
  readonly list: JsonArray | undefined;
  readonly object: JsonObject | undefined;
  readonly names: readonly string[];
  readonly count: number;
  at = 0;

  constructor(value: JsonArray | JsonObject, canonical: boolean) {
    this.object = isObject(value) ? value : undefined;
    this.list = isObject(value) ? undefined : value;
    this.names = isObject(value) ? namesOf(value, canonical) : [];
    this.count = this.list?.length ?? this.names.length;
  }

  get open(): string {
    return this.list === undefined ? '{' : '[';
  }

  /** The next member, and what stands before it. */
  next(): readonly [string, Json] {
    const at = this.at;
    this.at += 1;
    const comma = at === 0 ? '' : ',';
    if (this.list !== undefined) return [comma, this.list[at] ?? null];
    const name = this.names[at] ?? '';
    return [comma + nameText(name), this.object?.get(name) ?? null];
  }
}

export class JsonWriter {
  readonly #canonical: boolean;
  readonly #open: Frame[] = [];
  /** Not begun yet. */
  #root: Json | undefined;

  constructor(value: Json, form: 'as it is' | 'canonical') {
    this.#root = value;
    this.#canonical = form === 'canonical';
  }

  /** About so many characters more; '' when all is written. */
  write(most: number): string {
    let text = '';
    if (this.#root !== undefined) text = this.#begin(this.#root);
    this.#root = undefined;
    for (let frame = this.#open.at(-1); frame !== undefined; frame = this.#open.at(-1)) {
      const depth = this.#open.length;
      while (frame.at < frame.count && this.#open.length === depth) {
        if (text.length >= most) return text;
        const [before, value] = frame.next();
        text += before + this.#begin(value);
      }
      if (this.#open.length > depth) continue;
      this.#open.pop();
      text += frame.list === undefined ? '}' : ']';
    }
    return text;
  }

  /** A scalar, or the beginning of what has members. */
  #begin(value: Json): string {
    if (typeof value === 'string') return JSON.stringify(value);
    if (value === null || typeof value === 'boolean') return String(value);
    if (value instanceof JsonNumber)
      return this.#canonical ? canonicalNumber(value.text) : value.text;
    const frame = new Frame(value, this.#canonical);
    this.#open.push(frame);
    return frame.open;
  }
}

function nameText(name: string): string {
  return isPlainName(name) ? `"${name}":` : `${JSON.stringify(name)}:`;
}

function namesOf(object: JsonObject, sorted: boolean): readonly string[] {
  const names = [...object.keys()];
  if (!sorted) return names;
  // Texts compare by UTF-16 code units, in `<` and in sort() alike.
  for (let i = 1; i < names.length; i += 1)
    if ((names[i - 1] ?? '') > (names[i] ?? '')) return names.sort();
  return names;
}

const SHORT_INTEGER = /^(?:0|-?[1-9]\d{0,14})$/;

function canonicalNumber(text: string): string {
  if (SHORT_INTEGER.test(text)) return text;
  const digits = text
    .replace(/[eE].*$/, '')
    .replace(/\D/g, '')
    .replace(/^0+/, '');
  const value = Number(text);
  return digits.length > 15 || !Number.isFinite(value) ? text : JSON.stringify(value);
}
