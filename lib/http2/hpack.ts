/**
 * A walk over a header block (RFC 7541 section 6) that looks at every literal in it. The engine
 * behind decodes the block as well, but it drops a field whose name or value is not allowed without
 * a word: what was sent and what is judged would differ. Nothing is remembered from block to block:
 * an indexed field was a literal once.
 */
import { OBS_TEXT, TOKEN, UPPER, VALUE, classes } from '../http/grammar.ts';
import { eachSymbol } from './huffman.ts';

const COLON = 58;

const valueByte = (code: number): boolean => (classes(code) & (VALUE | OBS_TEXT)) !== 0;
const nameByte = (code: number): boolean => {
  const kind = classes(code);
  return code === COLON || ((kind & TOKEN) !== 0 && (kind & UPPER) === 0);
};

/**
 * How many fields a whole block has, or what is wrong with a literal of it. A block that cannot be
 * walked is left to the engine, which ends the connection. The number is held against what the
 * engine shows: it has more reasons to drop a field than a walk without its tables can know (blanks
 * at an end, characters of Host).
 */
export function fieldsOfBlock(block: Buffer): number | 'name' | 'value' {
  const walk = new Walk(block);
  let fields = 0;
  while (walk.at < block.length) {
    const first = block[walk.at] as number;
    if (first >= 0x20 && first < 0x40) {
      walk.integer(5);
      continue;
    }
    fields += 1;
    if (first >= 0x80) walk.integer(7);
    else {
      const named = walk.integer(first >= 0x40 ? 6 : 4) > 0;
      if (!named && !walk.string(nameByte)) return 'name';
      if (!walk.string(valueByte)) return 'value';
    }
  }
  return fields;
}

/**
 * A header block of literals that neither reads nor changes the state of a connection's encoder
 * (RFC 7541 section 6.2.2); values are bytes as latin1.
 */
export function literalBlock(fields: readonly string[]): Buffer {
  return Buffer.concat(
    fields.flatMap((text, i) => {
      const bytes = Buffer.from(text, 'latin1');
      const length = lengthOf(bytes.length);
      return i % 2 === 0 ? [Buffer.from([0]), length, bytes] : [length, bytes];
    }),
  );
}

/** RFC 7541 section 5.1, with a prefix of seven bits. */
function lengthOf(length: number): Buffer {
  if (length < 127) return Buffer.from([length]);
  const bytes = [127];
  let left = length - 127;
  for (; left >= 128; left >>= 7) bytes.push((left & 127) | 128);
  return Buffer.from([...bytes, left]);
}

class Walk {
  at = 0;
  readonly #block: Buffer;

  constructor(block: Buffer) {
    this.#block = block;
  }

  /** RFC 7541 section 5.1. What is longer than any block ends the walk at its end. */
  integer(prefix: number): number {
    const most = 2 ** prefix - 1;
    let value = (this.#block[this.at++] ?? 0) & most;
    if (value < most) return value;
    for (let scale = 1; scale <= 2 ** 21; scale *= 128) {
      const byte = this.#block[this.at++] ?? 0;
      value += (byte & 127) * scale;
      if (byte < 128) return value;
    }
    this.at = this.#block.length;
    return value;
  }

  /** RFC 7541 section 5.2. */
  string(allowed: (code: number) => boolean): boolean {
    const coded = ((this.#block[this.at] ?? 0) & 0x80) !== 0;
    const length = this.integer(7);
    const from = this.at;
    const to = Math.min(from + length, this.#block.length);
    this.at = to;
    if (coded) return eachSymbol(this.#block, from, to, allowed);
    for (let i = from; i < to; i++) if (!allowed(this.#block[i] as number)) return false;
    return true;
  }
}
