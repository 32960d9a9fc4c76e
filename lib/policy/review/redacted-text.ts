/**
 * Text and JSON of a call as they may be shown: bounded, without the values that secrets travel
 * in, and without what steers a terminal.
 */
import { type Json, JsonNumber, type JsonObject, isObject } from '../../schema/json.ts';

/**
 * Characters: of one text, of all JSON or content together; and members of a list or an object,
 * pairs of a query.
 */
export const VIEW_LIMITS = Object.freeze({
  text: 1024,
  content: 16_384,
  members: 100,
  parsed: 65_536,
});

const SECRET = new RegExp(
  'pass(?:word|wd|phrase|code)|secret|token|(?:api|access|private)[-_]?key|authorization|' +
    'credential|cookie|session|signature|jwt|bearer|^(?:pin|otp|cvv|cvc|sig|key|auth)$',
  'i',
);

const ASSIGNED =
  /([\w-]{1,64})(["']?\s{0,8}[:=]\s{0,8})("[^"\n]*"|(?:bearer |basic )?[^\s,;&"'}]+)/gi;

/**
 * What steers a terminal or a reader's eye: control, format, private and unassigned characters,
 * line separators.
 */
const STEERING = /[\p{Cc}\p{Cf}\p{Co}\p{Cn}\p{Cs}\p{Zl}\p{Zp}]/gu;

export function visible(text: string): string {
  return text.replace(STEERING, (one) =>
    one === '\n' ? '\\n' : `\\u{${(one.codePointAt(0) ?? 0).toString(16)}}`,
  );
}

/** What is shown of one call, and what was left out of it. */
export class Shown {
  readonly leftOut: string[] = [];
  #left: number = VIEW_LIMITS.content;

  text(text: string, what: string): string {
    const { text: most } = VIEW_LIMITS;
    if (text.length <= most) return visible(text);
    const [head, tail] = [text.slice(0, most / 2), text.slice(text.length - most / 4)];
    const gone = text.length - head.length - tail.length;
    this.leftOut.push(`${gone} characters within ${what}`);
    return `${visible(head)} […${gone} characters left out…] ${visible(tail)}`;
  }

  value(name: string, value: string, what: string): string {
    if (!SECRET.test(name)) return this.text(value, what);
    this.leftOut.push(`the value of ${what} (${value.length} characters, redacted)`);
    return `[redacted: ${value.length} characters]`;
  }

  json(value: Json, what: string): string {
    const parts: string[] = [];
    const before = this.#left;
    this.#write(value, what, parts);
    if (this.#left <= 0 && before > 0)
      this.leftOut.push(`what follows in ${what}, over ${before} characters`);
    else if (before <= 0) this.leftOut.push(`all of ${what}`);
    return parts.join('');
  }

  /** Bounded content that is no JSON. */
  content(text: string, what: string): string {
    const most = Math.max(0, this.#left);
    this.#left -= text.length;
    if (text.length <= most) return visible(text);
    this.leftOut.push(`${text.length - most} characters at the end of ${what}`);
    return `${visible(text.slice(0, most))} […${text.length - most} characters left out]`;
  }

  #put(parts: string[], text: string): void {
    this.#left -= text.length;
    parts.push(text);
  }

  #write(value: Json, path: string, parts: string[]): void {
    if (this.#left <= 0) return this.#put(parts, '…');
    if (typeof value === 'string') return this.#put(parts, JSON.stringify(this.text(value, path)));
    if (value instanceof JsonNumber) return this.#put(parts, this.text(value.text, path));
    if (isObject(value)) return this.#object(value, path, parts);
    if (!Array.isArray(value)) return this.#put(parts, JSON.stringify(value));
    this.#put(parts, '[');
    for (const [i, one] of value.slice(0, VIEW_LIMITS.members).entries()) {
      if (i > 0) this.#put(parts, ', ');
      this.#write(one, `${path}[${i}]`, parts);
    }
    this.#more(value.length, path, parts);
    this.#put(parts, ']');
  }

  #object(value: JsonObject, path: string, parts: string[]): void {
    this.#put(parts, '{');
    let i = 0;
    for (const [name, one] of value) {
      if (i >= VIEW_LIMITS.members || this.#left <= 0) break;
      if (i > 0) this.#put(parts, ', ');
      i += 1;
      const at = `${path}.${this.text(name, `a name in ${path}`)}`;
      this.#put(parts, `${JSON.stringify(visible(name.slice(0, VIEW_LIMITS.text)))}: `);
      if (SECRET.test(name) && typeof one !== 'boolean' && one !== null)
        this.#put(parts, this.#secret(one, at));
      else this.#write(one, at, parts);
    }
    this.#more(value.size, path, parts);
    this.#put(parts, '}');
  }

  #secret(value: Json, path: string): string {
    const size = typeof value === 'string' ? `${value.length} characters` : 'not a text';
    this.leftOut.push(`the value of ${path} (${size}, redacted)`);
    return JSON.stringify(`[redacted: ${size}]`);
  }

  #more(size: number, path: string, parts: string[]): void {
    if (size <= VIEW_LIMITS.members) return;
    this.leftOut.push(`${size - VIEW_LIMITS.members} members of ${path}`);
    this.#put(parts, `, …${size - VIEW_LIMITS.members} more`);
  }
}

/** `name: value` and `name=value` in text that has no form that could be read. */
export function withoutSecrets(text: string, shown: Shown): string {
  return text.replace(ASSIGNED, (all, name: string, between: string, value: string) => {
    if (!SECRET.test(name)) return all;
    shown.leftOut.push(
      `the value of ${visible(name)} in the content (${value.length} characters, redacted)`,
    );
    return `${name}${between}[redacted: ${value.length} characters]`;
  });
}
