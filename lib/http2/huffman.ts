/**
 * The Huffman code of HPACK (RFC 7541 appendix B), for one question: whether every character of a
 * string is of a class. The code is canonical, so that the lengths of its 257 words say all of it.
 */

/**
 * One letter a symbol, 0 to 255 and the end: its position in ALPHABET is the length of the symbol's
 * word in bits.
 */
const LENGTHS =
  'mwBBBBBBBxDBBDBBBBBBBBDBBBBBBBBBfjjlmfhkjjhkhfffeeefffffffghofljmfgggggggggggggggggggggghghmsmnfoefefefffeggfffefgfeefgggggoknmB' +
  'tvttvvvwvwwwwwxwxxvwxwwwwuvwvwwxvutvvwwuwvvxuvwwuuvuwvwwtvvvwvvwzztsvwvyzzzAAzxysuzAAzAxuuzzBAAAtxtuvuuwvvyyxxzwzAzzAAAAABAAAAAzD';
const ALPHABET = '`abcdefghijklmnopqrstuvwxyzABCD';
const END = 256;

/** The code as a tree: two cells a node, each the next node, or a symbol as its complement. */
const TREE = tree();

function tree(): Int16Array {
  const words = LENGTHS.split('').map((letter, symbol) => ({
    symbol,
    length: ALPHABET.indexOf(letter),
  }));
  words.sort((a, b) => a.length - b.length || a.symbol - b.symbol);
  const cells = [0, 0];
  let code = 0;
  let last = words[0]?.length ?? 0;
  for (const { symbol, length } of words) {
    code *= 2 ** (length - last);
    last = length;
    let node = 0;
    for (let bit = length - 1; bit > 0; bit--) {
      const cell = node + (Math.floor(code / 2 ** bit) % 2);
      if (cells[cell] === 0) {
        cells[cell] = cells.length;
        cells.push(0, 0);
      }
      node = cells[cell] as number;
    }
    cells[node + (code % 2)] = ~symbol;
    code++;
  }
  return Int16Array.from(cells);
}

/**
 * Calls `each` with every symbol of the coded bytes; false when a call says false, or when the end
 * symbol is among them. Padding is not looked at.
 */
export function eachSymbol(
  bytes: Buffer,
  from: number,
  to: number,
  each: (symbol: number) => boolean,
): boolean {
  let node = 0;
  for (let at = from; at < to; at++) {
    const byte = bytes[at] as number;
    for (let bit = 7; bit >= 0; bit--) {
      const next = TREE[node + ((byte >> bit) & 1)] as number;
      if (next >= 0) node = next;
      else {
        if (~next === END || !each(~next)) return false;
        node = 0;
      }
    }
  }
  return true;
}
