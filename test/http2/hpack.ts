/** Huffman-coded text as text, by the tree of lib/http2. */
import { eachSymbol } from '../../lib/http2/huffman.ts';

export function wordsOf(bytes: Buffer): string {
  let text = '';
  eachSymbol(bytes, 0, bytes.length, (symbol) => {
    text += String.fromCharCode(symbol);
    return true;
  });
  return text;
}
