/**
 * JSON text to a value, strictly (RFC 8259, I-JSON of RFC 7493), in steps: a long text is read some
 * characters at a time, so that who reads it can give way in between. Rules:
 * - one reading: two members of one object whose names are equal, or differ in letter case alone
 *   (`ſ` and the Kelvin sign included), are refused, as parsers disagree about which of them counts
 *   (the latter can be asked for);
 * - bounded: 64 levels, so many members of one object, numbers of 128 characters that a double can
 *   hold (in data that nothing is decided by 512 levels, and any number: its text goes on); UTF-8
 *   without a byte order mark; no lone surrogate, no NUL in a name;
 * - nothing of a value appears in a message.
 */
import { isUtf8 } from 'node:buffer';
import { Fault } from '../base/fault.ts';
import { type Json, JsonNumber, type ReadOptions, foldName, isPlainName } from './json.ts';

const MAX_DEPTH = 64;
/**
 * Of data that nothing is decided by; the deepest that readers of other make take is about a
 * thousand.
 */
const MAX_DATA_DEPTH = 512;
const MAX_NUMBER = 128;
/** Members of one object; names have to be sorted, and held against one another. */
const MAX_MEMBERS = 65_536;

/** Throws a Fault `bad-json` that names the offset. */
export function parseJson(bytes: Uint8Array, options: ReadOptions = {}): Json {
  return parseText(textOf(bytes), options);
}

/** The same, of text. */
export function parseText(text: string, options: ReadOptions = {}): Json {
  return new JsonReader(text, options).read(Infinity) ?? null;
}

/** Bytes as text. Throws a Fault `bad-json` where they are not UTF-8. */
export function textOf(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw bad('the text is not UTF-8', 0);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8');
}

function bad(what: string, at: number): Fault {
  return new Fault('bad-json', `${what}, at character ${at} of the JSON text`, { at: 'body' });
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;

/**
 * A string literal whose quotes, and control characters outside of escapes, are known to be right.
 */
function unescaped(literal: string, at: number, onBroken?: () => void): string {
  let value: string;
  try {
    value = JSON.parse(literal) as string;
  } catch {
    throw bad('an escape that is none', at);
  }
  if (value.isWellFormed()) return value;
  if (onBroken === undefined) throw bad('a string with half of a surrogate pair', at);
  onBroken();
  return value.toWellFormed();
}

/** What is being read: a list, or an object with the name whose value comes next. */
class Frame {
  readonly items: Json[] | undefined;
  readonly members: Map<string, Json> | undefined;
  name = '';
  nameAt = 0;
  /** Of names, in one letter case: those that are not so already. */
  folded: Set<string> | undefined;

  constructor(isObject: boolean) {
    this.items = isObject ? undefined : [];
    this.members = isObject ? new Map<string, Json>() : undefined;
  }

  get close(): number {
    return this.items === undefined ? 0x7d : 0x5d;
  }
}

export class JsonReader {
  readonly #text: string;
  readonly #data: boolean;
  readonly #onBroken: (() => void) | undefined;
  readonly #places: number[] | undefined;
  #at = 0;
  /** What is open, outermost first. */
  readonly #open: Frame[] = [];

  constructor(text: string, { data = false, onBroken, places }: ReadOptions = {}) {
    this.#text = text;
    this.#data = data;
    this.#onBroken = onBroken;
    this.#places = places;
  }

  /** Reads on for about so many characters. undefined: there is more to be read. */
  read(most: number): Json | undefined {
    const until = this.#at + most;
    while (this.#at < until) {
      this.#space();
      this.#places?.push(this.#at);
      const value = this.#value();
      if (value === undefined) continue;
      const whole = this.#put(value);
      if (whole !== undefined) return whole;
    }
    return undefined;
  }

  /** A value where it stands; undefined where it is one of several members, which come next. */
  #value(): Json | undefined {
    switch (this.#text.charCodeAt(this.#at)) {
      case QUOTE:
        return this.#string();
      case 0x7b:
        return this.#enter(new Frame(true));
      case 0x5b:
        return this.#enter(new Frame(false));
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

  /** Where the value belongs, and all that ends behind it; the whole value at the end. */
  #put(one: Json): Json | undefined {
    let value = one;
    for (;;) {
      this.#space();
      const frame = this.#open.at(-1);
      if (frame === undefined) {
        if (this.#at < this.#text.length) throw bad('something follows the value', this.#at);
        return value;
      }
      if (frame.items === undefined) this.#member(frame, value);
      else frame.items.push(value);
      const code = this.#text.charCodeAt(this.#at);
      if (code === 0x2c) {
        this.#at += 1;
        if (frame.members !== undefined) this.#name(frame);
        return undefined;
      }
      if (code !== frame.close) throw bad('neither a comma nor an end', this.#at);
      this.#at += 1;
      this.#open.pop();
      value = frame.items ?? frame.members ?? null;
    }
  }

  #member({ members, name, nameAt }: Frame, value: Json): void {
    if (members === undefined) return;
    const before = members.size;
    members.set(name, value);
    if (members.size === before) throw bad('a member name that is there twice', nameAt);
    if (before >= MAX_MEMBERS) throw bad(`an object of more than ${MAX_MEMBERS} members`, nameAt);
  }

  #enter(frame: Frame): Json | undefined {
    this.#at += 1;
    const most = this.#data ? MAX_DATA_DEPTH : MAX_DEPTH;
    if (this.#open.length === most) throw bad(`nested deeper than ${most} levels`, this.#at);
    this.#space();
    if (this.#text.charCodeAt(this.#at) === frame.close) {
      this.#at += 1;
      return frame.items ?? frame.members;
    }
    this.#open.push(frame);
    if (frame.members !== undefined) this.#name(frame);
    return undefined;
  }

  /** The name of a member and its colon. */
  #name(frame: Frame): void {
    this.#space();
    const at = this.#at;
    if (this.#text.charCodeAt(at) !== QUOTE) throw bad('no member name', at);
    this.#places?.push(at);
    const name = this.#string();
    if (frame.folded !== undefined || !isPlainName(name)) this.#oddName(frame, name, at);
    this.#space();
    if (this.#text.charCodeAt(this.#at) !== 0x3a) throw bad('no colon', this.#at);
    this.#at += 1;
    frame.name = name;
    frame.nameAt = at;
  }

  /** Names are held against one another as they come: nothing is left for the end. */
  #oddName(frame: Frame, name: string, at: number): void {
    if (name.includes('\0')) throw bad('a member name with NUL', at);
    if (this.#data) return;
    const folded = foldName(name);
    const known = (frame.folded ??= new Set());
    const taken = known.has(folded) || (folded !== name && frame.members?.has(folded) === true);
    if (taken && frame.members?.has(name) !== true)
      throw bad('a member name that differs from another in letter case alone', at);
    known.add(folded);
  }

  #space(): void {
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) return;
      this.#at += 1;
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
    if (!this.#data) this.#judge(text);
    this.#at += text.length;
    return new JsonNumber(text);
  }

  /** Conditions and digests mean a double: what is none has no one meaning. */
  #judge(number: string): void {
    if (number.length > MAX_NUMBER)
      throw bad(`a number of more than ${MAX_NUMBER} characters`, this.#at);
    if (!Number.isFinite(Number(number))) throw bad('a number that no double can hold', this.#at);
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

  /**
   * A string that has an escape at `at`: its end is found here, its escapes are read by the engine,
   * which knows the same ones (RFC 8259 section 7).
   */
  #escaped(start: number, at: number): string {
    const text = this.#text;
    for (let i = at; ; i += 1) {
      const code = text.charCodeAt(i);
      if (code === BACKSLASH) i += 1;
      else if (code === QUOTE) {
        this.#at = i + 1;
        return unescaped(text.slice(start - 1, i + 1), start, this.#onBroken);
      } else if (!(code >= 0x20)) throw this.#unfinished(code, i);
    }
  }

  #unfinished(code: number, at: number): Fault {
    return Number.isNaN(code)
      ? bad('a string without its end', at)
      : bad('a control character in a string', at);
  }
}
